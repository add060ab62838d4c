"""One libtorrent member of a shaped swarm. Prints the seconds since T0 when it has everything.

usage: python -m benchmarks.libtorrent_member NUMBER COUNT FILE OUT TORRENT T0   (number 0 seeds)
"""

import os
import random
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=DeprecationWarning)
import libtorrent as lt  # noqa: E402

from benchmarks.namespaces import address  # noqa: E402

PORT = 6881


def main() -> None:
    """Take part until killed."""
    number, count = int(sys.argv[1]), int(sys.argv[2])
    path, out, torrent, start = Path(sys.argv[3]), sys.argv[4], sys.argv[5], float(sys.argv[6])
    session = lt.session(
        {
            "listen_interfaces": f"{address(number)}:{PORT}",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "alert_mask": 0,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "in_enc_policy": 2,
            "out_enc_policy": 2,
            "unchoke_slots_limit": 8,
            "connections_limit": 200,
        }
    )
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    if number == 0:
        parameters.save_path = str(path.parent)
        parameters.flags |= lt.torrent_flags.seed_mode
    else:
        parameters.save_path = out
        os.makedirs(out, exist_ok=True)
    handle = session.add_torrent(parameters)
    time.sleep(max(0.0, start - time.time()))
    if number:
        others = [k for k in range(1, count + 1) if k != number]
        for other in [0, *random.sample(others, min(len(others), 30))]:
            handle.connect_peer((address(other), PORT))
        while not handle.status().is_seeding:
            time.sleep(0.02)
        print(time.time() - start, flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()

"""One libtorrent process, tuned for speed: seed a file or folder, or fetch it. For the comparisons here.

usage: python -m benchmarks.libtorrent_peer seed|get PATH OUT PORT SEED_PORT PIECE_BYTES
Plaintext TCP on loopback. `get` prints a JSON object: wall and CPU seconds, peak memory in MiB.
"""

import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", category=DeprecationWarning)
import libtorrent as lt  # noqa: E402

HOST = "127.0.0.1"


def session(port: int) -> Any:
    """A session without discovery, limits and encryption."""
    return lt.session(
        {
            "listen_interfaces": f"{HOST}:{port}",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "allow_multiple_connections_per_ip": True,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "alert_mask": 0,
            "in_enc_policy": 2,
            "out_enc_policy": 2,
            "max_out_request_queue": 2000,
            "request_queue_time": 3,
            "send_buffer_watermark": 4 << 20,
            "send_buffer_low_watermark": 1 << 20,
            "max_allowed_in_request_queue": 4000,
            "max_queued_disk_bytes": 64 << 20,
            "aio_threads": 4,
            "hashing_threads": 2,
            "unchoke_slots_limit": 64,
            "connections_limit": 500,
            "mixed_mode_algorithm": 0,
            "rate_limit_ip_overhead": False,
            "peer_turnover": 0,
            "no_connect_privileged_ports": False,
        }
    )


def make_torrent(path: Path, torrent: Path, piece_bytes: int) -> None:
    """A v1 torrent with the piece size that we use."""
    storage = lt.file_storage()
    lt.add_files(storage, str(path))
    creator = lt.create_torrent(storage, piece_bytes, flags=64)
    lt.set_piece_hashes(creator, str(path.parent))
    torrent.write_bytes(lt.bencode(creator.generate()))


def main() -> None:
    """Seed until killed, or get and report."""
    role, path, out, port, seed_port, piece_bytes = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:7]
    torrent = Path(str(path) + f".{piece_bytes}.torrent")
    if not torrent.exists():
        make_torrent(path, torrent, int(piece_bytes))
    peer = session(int(port))
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(str(torrent))
    if role == "seed":
        parameters.save_path = str(path.parent)
        parameters.flags |= lt.torrent_flags.seed_mode
        peer.add_torrent(parameters)
        print("ready", flush=True)
        while True:
            time.sleep(1)
    parameters.save_path = out
    handle = peer.add_torrent(parameters)
    begun = time.perf_counter()
    handle.connect_peer((HOST, int(seed_port)))
    while not handle.status().is_seeding:
        time.sleep(0.01)
    wall = time.perf_counter() - begun
    # Leaving earlier could lose what is queued for the disk.
    handle.flush_cache()
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "rss_mib": used.ru_maxrss / 1024}
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

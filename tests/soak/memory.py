"""A large seed with a full house: two hundred peers that ask for all they may and read as they like.

Bar, for 100 GiB: the seed's peak memory, hashing included, under 300 MiB. The file is sparse: what is in it
does not matter to the memory, and it takes no room.
"""

import subprocess
import sys
from pathlib import Path

from peer.limits import LINKS_MAX, LINKS_SPARE
from tests.real.commands import PATIENCE_S, environment
from tests.soak.processes import heard_sharing, peak_memory

GIB = 1 << 30
MIB = 1 << 20
STAY_S = 30.0
PEAK_MAX = 300 * MIB


def run(work: Path, count: int, seed: int) -> int:
    """Of so many GiB; 1 if the bar was missed, or if more peers are out than a full house keeps free."""
    source = work / "file.bin"
    with source.open("wb") as file:
        file.truncate(count * GIB)
    with heard_sharing(source, work / "share-home") as sharer:
        before = peak_memory(sharer.process.pid)
        command = [sys.executable, "-m", "tests.soak.guests", sharer.link, str(LINKS_MAX), str(STAY_S)]
        told = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, env=environment()
        ).stdout.split()
        peak = peak_memory(sharer.process.pid)
    linked, received = int(told[0]), int(told[1])
    print(
        f"{linked} of {LINKS_MAX} peers linked to a seed of {count} GiB, {received / MIB:.0f} MiB sent: "
        f"peak {peak / MIB:.0f} MiB, before them {before / MIB:.0f} MiB",
        flush=True,
    )
    return int(linked < LINKS_MAX - LINKS_SPARE or not received or peak >= PEAK_MAX)

"""`python -m tests.soak`: see the package."""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.cli import stop
from tests import soak
from tests.soak import fulldisk, hostile, kills, memory, mutations, symlinks

Scenario = Callable[[Path, int, int], int]
"""Runs in a folder, so many times or seconds, from a seed; gives the number of failures."""

SCENARIOS: dict[str, tuple[Scenario, int, str]] = {
    "kills": (kills.run, 200, "kill -9 at so many random points of a transfer"),
    "hostile": (hostile.run, 10_000, "so many hostile connections while an honest transfer runs"),
    "memory": (memory.run, 100, "two hundred peers at one seed of so many GiB"),
    "mutations": (mutations.run, 100, "change a shared file so many times while it is fetched"),
    "symlinks": (symlinks.run, 60, "swap folders for symbolic links for so many seconds"),
    "full": (fulldisk.run, 1, "fill a small disk so many times while it is fetched to, and free it"),
}


def main() -> int:
    """Run what was asked for; 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=(soak.__doc__ or "").splitlines()[0])
    for name, (_, usual, text) in SCENARIOS.items():
        parser.add_argument(
            f"--{name}", type=int, nargs="?", const=usual, metavar="N", help=f"{text} ({usual})"
        )
    parser.add_argument("--seed", type=int, default=1)
    arguments = vars(parser.parse_args())
    seed = arguments.pop("seed")
    chosen = {name: count for name, count in arguments.items() if count is not None}
    failures = 0
    for name, count in (chosen or {name: usual for name, (_, usual, _) in SCENARIOS.items()}).items():
        if count:
            with tempfile.TemporaryDirectory(prefix=f"manyhands-soak-{name}-") as work:
                failures += SCENARIOS[name][0](Path(work), count, seed)
    return 1 if failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: no sharer stays behind
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as error:
        sys.exit(f"soak: {error}")

"""``python -m lab.servers.serve_measured NAME SIZES``: one server under measurement, see `start.measured`.

SIZES is a JSON object of files and their bytes; what is in them is made here.
"""

import json
import os
import sys

from lab.servers.library import Library
from lab.servers.roster import serve_of
from lab.servers.start import measured


def main() -> None:
    name, sizes = sys.argv[1], json.loads(sys.argv[2])
    measured(serve_of(name), Library({file: content(size) for file, size in sizes.items()}))


def content(size: int) -> bytes:
    """Memory that really exists: a run of zeros would be one page of the kernel, mapped over and over."""
    block = os.urandom(min(size, 1 << 20))
    return (block * (size // len(block) + 1))[:size] if size else b""


if __name__ == "__main__":
    main()

"""A full catalogue: memory, and how long a search keeps the tracker busy.

usage: python -m benchmarks.catalogue [--names 100000] [--hostile]

Names like those of an archive (a few words, a year, a number), or with --hostile the dearest that are legal:
as long as can be, of as many different words as are indexed. A search is timed as the tracker answers it,
question by question; those that need several are given as the sum and as the longest single one.
"""

import argparse
import gc
import time
import tracemalloc
from random import Random

from benchmarks.machine import describe
from peer.ids import ShareId
from peer.limits import CATALOGUE_BYTES_MAX, CATALOGUE_NAMES_MAX, CATALOGUE_WORDS_PER_NAME_MAX, NAME_BYTES_MAX
from peer.published import NOBODY, PublishedShare
from peer.wire.messages import PublishCode, Search
from tracker.catalogue import Catalogue

SUBJECTS = (
    "atlas",
    "archive",
    "lectures",
    "photos",
    "debian",
    "fedora",
    "climate",
    "genome",
    "music",
    "letters",
)
KINDS = ("full", "daily", "source", "binary", "dataset", "backup", "edition", "volume", "mirror", "release")


def ordinary(rng: Random, number: int) -> str:
    """A name as people give them."""
    return f"{rng.choice(SUBJECTS)}-{rng.choice(KINDS)} {rng.randrange(1990, 2030)} no {number:06}"


def hostile(rng: Random, number: int) -> str:
    """As long as can be, with as many words as are indexed, none of them anybody else's."""
    count = CATALOGUE_WORDS_PER_NAME_MAX
    length = NAME_BYTES_MAX // count - 1
    return " ".join(f"{rng.getrandbits(80):x}{number:x}"[-length:] for _ in range(count))


def fill(names: int, *, nasty: bool) -> tuple[Catalogue, float, int]:
    """A catalogue with so many names; seconds for each publication, bytes that all of it takes."""
    rng = Random(1)
    make = hostile if nasty else ordinary
    gc.collect()
    tracemalloc.start()
    catalogue = Catalogue(1)
    spent = 0.0
    for number in range(names):
        publisher = number // 500
        key = publisher.to_bytes(32, "big")
        entry = PublishedShare(
            make(rng, number),
            ShareId(rng.randbytes(32)),
            rng.getrandbits(40),
            1 + number,
            key,
            rng.randbytes(64),
        )
        node, host = entry.node, f"10.{publisher // 250}.{publisher % 250}.1"
        begun = time.perf_counter()
        answer = catalogue.publish(entry, node, host, 0.0)
        spent += time.perf_counter() - begun
        assert answer.code is PublishCode.LISTED, answer
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return catalogue, spent / names, taken


def search(catalogue: Catalogue, words: tuple[str, ...], most: int) -> tuple[int, int, float, float]:
    """Found, questions, seconds in all, seconds of the longest question."""
    found, questions, after, total, longest = 0, 0, 0, 0.0, 0.0
    while True:
        question = Search(1, words, "", NOBODY, after, 100)
        begun = time.perf_counter()
        page = catalogue.search(question, 1.0, lambda share: (1, 0))
        took = time.perf_counter() - begun
        found, questions, after = found + len(page.listings), questions + 1, page.next
        total, longest = total + took, max(longest, took)
        if not page.more or found >= most:
            return found, questions, total, longest


def main() -> None:
    """Fill, then ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--names", type=int, default=CATALOGUE_NAMES_MAX, help="(default: %(default)s)")
    parser.add_argument("--hostile", action="store_true", help="the dearest names that are legal")
    arguments = parser.parse_args()
    print(describe())
    catalogue, each, taken = fill(arguments.names, nasty=arguments.hostile)
    print(f"names                  {len(catalogue)}")
    print(f"memory                 {taken / 2**20:.0f} MiB (named: {CATALOGUE_BYTES_MAX / 2**20:.0f} MiB)")
    print(f"one publication        {each * 1e6:.0f} us (while memory is traced)")
    questions = {
        "one name": (("000777",), 100),
        "two words, first 100": (("debian", "2011"), 100),
        "a beginning, first 100": (("cl",), 100),
        "everywhere, first 100": (("no",), 100),
        "nowhere": (("nonesuch",), 100),
        "common, never together": (("debian", "fedora"), 100),
        "eight beginnings, never": (("no", "2", "0", "no", "2", "0", "1", "x"), 100),
        "everything, all pages": ((), 10**9),
    }
    for what, (words, most) in questions.items():
        count, asked, total, longest = min(
            (search(catalogue, words, most) for _ in range(3)), key=lambda result: result[2]
        )
        times = f"{total * 1e3:7.2f} ms, longest {longest * 1e3:6.2f} ms"
        print(f"{what:24} {times}, {asked:5} asked, {count} found")


if __name__ == "__main__":
    main()

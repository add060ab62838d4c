"""What the tests of a download's place on disk share: what is downloaded, and its beginning."""

from peer.limits import KIB
from peer.sim.files import SimFolder
from peer.store.incoming import IncomingStore, open_incoming
from tests.store_kit import NAME, Share, random_share

PART = NAME + ".part"
SHARE = random_share(
    1,
    {
        ("a",): 16 * KIB * 3 + 10,
        ("b", "c"): 5000,
        ("b", "d"): 9000,
        ("e",): 0,
        ("f",): 16 * KIB,
        ("g",): 6000,
        ("h", "i", "j"): 13_000,
    },
    folders=[("k", "l"), ("m",)],
    executable=[("a",), ("b", "d"), ("e",)],
)
# Pieces: 0-3 are a, 4 is f, 5 has b/c, b/d and the first 2384 of g, 6 the rest of g and h/i/j up to 12768.
assert SHARE.layout.piece_count == 8


def begin(folder: SimFolder, share: Share = SHARE) -> IncomingStore:
    return open_incoming(folder, NAME, share.manifest)


def names(folder: SimFolder) -> list[str]:
    return [entry.name for entry in folder.entries(())]

"""Whether bytes are what their hash says: BLAKE3-256, as `b3sum` computes it.

Blocking and fast, 5 to 6 GB/s on one core; the interpreter lock is released meanwhile, so whole pieces belong
into a worker thread.
"""

from hmac import compare_digest

from blake3 import blake3


def piece_digest(data: bytes | bytearray | memoryview) -> bytes:
    """BLAKE3-256 of the bytes."""
    return blake3(data).digest()


def piece_matches(data: bytes | bytearray | memoryview, digest: bytes) -> bool:
    """Whether the bytes hash to the digest. A digest of another length matches nothing."""
    return compare_digest(blake3(data).digest(), digest)

"""The hash is plain BLAKE3: the official test vectors, and nothing else matches."""

import pytest

from peer.store.verify import piece_digest, piece_matches

# github.com/BLAKE3-team/BLAKE3, test_vectors.json: input bytes are 0, 1, ... 250, 0, 1, ...
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize(("length", "digest"), VECTORS.items())
def test_official_vectors(length: int, digest: str) -> None:
    data = bytes(i % 251 for i in range(length))
    assert piece_digest(data).hex() == digest
    assert piece_matches(bytearray(data), bytes.fromhex(digest))
    assert piece_matches(memoryview(data), bytes.fromhex(digest))


def test_every_flipped_bit_is_noticed() -> None:
    data = bytearray(b"many hands")
    digest = piece_digest(data)
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        assert not piece_matches(data, digest)
        data[bit // 8] ^= 1 << bit % 8
    assert piece_matches(data, digest)


def test_wrong_lengths_match_nothing() -> None:
    digest = piece_digest(b"x")
    assert not piece_matches(b"x", digest[:-1])
    assert not piece_matches(b"x", b"")
    assert not piece_matches(b"x\0", digest)

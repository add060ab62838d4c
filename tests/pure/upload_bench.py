"""What the tests of the upload policy share: an upload, and links that ask and are sent to."""

from peer.errors import RejectCode
from peer.ids import LinkId, PieceIndex, RequestId
from peer.swarm.upload import Chunk, NextChunk, Upload

KIB = 1024
PIECE = 64 * KIB


class Bench:
    """An upload with pieces of 64 KiB, links a, b, c... that are unchoked, and names short enough to read."""

    def __init__(self, links: int = 2, pieces: int = 100, window: int = 64, available: str = "") -> None:
        self.now = 0.0
        self.available = [int(c) for c in available]
        self.upload = Upload(
            lambda piece: PIECE,
            pieces,
            range(pieces),
            available=lambda piece: self.available[piece] if piece < len(self.available) else 0,
        )
        self.requests = 0
        for link in range(links):
            self.upload.joined(LinkId(link), window, 0.0)
            self.upload.unchoke(LinkId(link))

    def ask(self, link: int, *pieces: int) -> list[RequestId]:
        ids = []
        for piece in pieces:
            self.requests += 1
            ids.append(RequestId(self.requests))
            code = self.upload.asked(LinkId(link), ids[-1], PieceIndex(piece), self.now)
            if code is RejectCode.ELSEWHERE:  # who asks again is served
                code = self.upload.asked(LinkId(link), ids[-1], PieceIndex(piece), self.now)
            assert code is None
        self.upload.check_invariants()
        return ids

    def refuse(self, link: int, piece: int) -> RejectCode | None:
        self.requests += 1
        return self.upload.asked(LinkId(link), RequestId(self.requests), PieceIndex(piece), self.now)

    def next(self, link: int, bytes_max: int | None = None) -> NextChunk:
        chunk = self.upload.next_chunk(LinkId(link), self.now, bytes_max)
        self.upload.check_invariants()
        return chunk

    def chunk(self, link: int) -> Chunk:
        chunk = self.next(link)
        assert isinstance(chunk, Chunk)
        return chunk

    def send(self, link: int, seconds: float = 0.0) -> int:
        """Send a whole answer, in that time; the piece that it was."""
        while not (chunk := self.chunk(link)).last:
            self.now += seconds * chunk.length / chunk.total
        self.now += seconds * chunk.length / chunk.total
        assert chunk.piece is not None
        return chunk.piece

    def run_dry(self, link: int) -> list[int]:
        pieces = []
        while self.upload.has_work(LinkId(link)):
            pieces.append(self.send(link, 0.1))
        return pieces

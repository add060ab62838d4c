"""The requests that one side of a connection has open.

A request is open from its `Request` to its last `Data` or its `Reject`. A cancel does not close it, because
the answer may be on its way already: freeing the slot at once would let the asker overrun the window of a
peer that did nothing wrong. Answers may come in any order but do not interleave, so a connection needs memory
for one answer at a time.
"""

from dataclasses import dataclass

from peer.ids import PieceIndex, RequestId
from peer.limits import REQUEST_ID_MAX


class RuleError(Exception):
    """Somebody may not say this now; whose fault that is, is for the session to say. Nothing has changed."""


@dataclass(slots=True)
class Answer:
    """A request and how much of its answer has passed. total: 0 until it is known."""

    piece: PieceIndex | None
    total: int = 0
    done: int = 0
    cancelled: bool = False
    buffer: memoryview | None = None


class OpenRequests:
    """The requests of one side, and the order of what answers them."""

    def __init__(self) -> None:
        self._open: dict[RequestId, Answer] = {}
        self._next_id = 0
        self._current: RequestId | None = None  # whose answer has begun and has not ended

    def __len__(self) -> int:
        return len(self._open)

    @property
    def next_id(self) -> RequestId:
        """An id that was not used before."""
        return RequestId(self._next_id)

    def open(self, request: RequestId, answer: Answer) -> None:
        """A request is made. Ids only grow; they may skip."""
        if not self._next_id <= request <= REQUEST_ID_MAX:
            raise RuleError(f"request id {request} is not above those before")
        self._next_id = request + 1
        self._open[request] = answer

    def get(self, request: RequestId) -> Answer:
        """An open request."""
        try:
            return self._open[request]
        except KeyError:
            raise RuleError(f"request {request} is not open") from None

    def has_ended(self, request: RequestId) -> bool:
        """Whether it was made and is answered."""
        return request < self._next_id and request not in self._open

    def cancel(self, request: RequestId) -> Answer | None:
        """The asker loses interest; None if the answer has already ended."""
        answer = self._open.get(request)
        if answer is None:
            if self.has_ended(request):
                return None
            raise RuleError(f"request {request} was never made")
        if answer.cancelled:
            raise RuleError(f"request {request} is cancelled twice")
        answer.cancelled = True
        return answer

    def begin_data(self, request: RequestId, offset: int, total: int, payload: int) -> Answer:
        """A part of an answer is about to come."""
        answer = self.get(request)
        if self._current is not None and self._current != request:
            raise RuleError(f"data for request {request} in the middle of the answer to {self._current}")
        if answer.total and total != answer.total:
            raise RuleError(f"an answer of {total} bytes in total where {answer.total} are due")
        if offset != answer.done:
            raise RuleError(f"data from offset {offset} where {answer.done} is due")
        if offset + payload > total:
            raise RuleError(f"data to offset {offset + payload} of {total}")
        self._current = request
        answer.total = total
        return answer

    def add_data(self, request: RequestId, count: int) -> bool:
        """That much of the part has come; True if this completes the answer, which closes the request."""
        answer = self._open[request]
        answer.done += count
        if answer.done < answer.total:
            return False
        self.close(request)
        return True

    def close(self, request: RequestId) -> Answer:
        """The request ends, by its last data or by a reject."""
        answer = self.get(request)
        del self._open[request]
        if self._current == request:
            self._current = None
        return answer

    def close_all(self) -> list[Answer]:
        """The connection ends."""
        answers = list(self._open.values())
        self._open.clear()
        self._current = None
        return answers

    def check_invariants(self) -> None:
        """Raise AssertionError if the books do not balance."""
        assert self._current is None or self._current in self._open
        for request, answer in self._open.items():
            assert request < self._next_id
            assert answer.done == 0 or request == self._current, "an answer was left in the middle"
            assert answer.done == 0 or answer.done < answer.total, "a complete answer is still open"
            if answer.buffer is not None:
                assert request == self._current, "memory is held for an answer that has not begun"
                assert len(answer.buffer) == answer.total

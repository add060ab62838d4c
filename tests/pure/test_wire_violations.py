"""What the other side must not do while a conversation is open, and what comes near it and is allowed."""

import pytest

from peer.errors import ByeCode, LocalProtocolError, RejectCode, RemoteProtocolError
from peer.ids import RequestId
from peer.limits import REQUEST_ID_MAX
from peer.wire.messages import Bye, Ping, Pong, Reject, Request
from peer.wire.session import Answered, DataProgress, PingReceived, PongReceived, Rejected, RequestReceived
from tests.pure.wire_helpers import PIECE, SPLITS, Splits, feed, one_of, open_pair, wire
from tests.pure.wire_violations import VIOLATIONS, asked_session, data


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str, split: Splits) -> None:
    us, _ = asked_session()
    stream, text = VIOLATIONS[name]
    with pytest.raises(RemoteProtocolError, match=text):
        feed(us, stream, split)
    us.check_invariants()
    # It stays broken, but a goodbye can be said.
    with pytest.raises(RemoteProtocolError, match=text):
        us.get_buffer()
    with pytest.raises(RemoteProtocolError, match=text):
        us.eof()
    us.send(Bye(ByeCode.PROTOCOL, text))
    us.close()
    with pytest.raises(RemoteProtocolError, match=text):
        us.get_buffer()


def test_answers_do_not_interleave() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 8)
    stream = data(0, 8, b"x", first) + data(0, 8, b"x", second)
    with pytest.raises(RemoteProtocolError, match="request 1 in the middle of the answer to 0"):
        feed(us, stream)


def test_another_answer_may_begin_after_a_reject_in_the_middle() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 2)
    stream = data(0, 8, b"x", first) + wire(Reject(first, RejectCode.UNREADABLE)) + data(0, 2, b"ok", second)
    events = feed(us, stream)
    assert one_of(events, Rejected) == Rejected(first, PIECE, RejectCode.UNREADABLE)
    assert one_of(events, Answered).buffer == b"ok"


def test_other_requests_may_be_rejected_in_the_middle_of_an_answer() -> None:
    us, first = asked_session()
    second, _ = us.request(PIECE, 8)
    reject = wire(Reject(second, RejectCode.CHOKED))
    stream = data(0, 8, b"12", first) + reject + data(2, 8, b"345678", first)
    events = feed(us, stream)
    assert one_of(events, Rejected).id == second
    assert one_of(events, Answered).buffer == b"12345678"


@pytest.mark.parametrize("total", [101, 2**25])
def test_a_manifest_may_not_be_endless(total: int) -> None:
    us, _ = asked_session()
    us.request_manifest()
    with pytest.raises(RemoteProtocolError, match=f"a manifest of {total} bytes is too long"):
        feed(us, data(0, total, b"x", request=1))


def test_a_manifest_may_be_as_long_as_we_would_take() -> None:
    us, _ = asked_session()
    us.request_manifest()
    assert one_of(feed(us, data(0, 100, bytes(100), request=1)), Answered).buffer == bytes(100)


def test_events_before_a_violation_are_not_lost() -> None:
    us, _ = asked_session()
    stream = wire(Ping(1)) + data(0, 8, b"12345678") + wire(Pong(9)) + wire(Ping(2))
    buffer = us.get_buffer()
    buffer[: len(stream)] = stream
    events = us.buffer_updated(len(stream))
    assert [type(event) for event in events] == [PingReceived, DataProgress, Answered]
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="pong"):
            us.get_buffer()
    with pytest.raises(RemoteProtocolError, match="pong"):
        us.buffer_updated(0)


def test_the_last_request_id_may_be_used_once() -> None:
    us, _ = asked_session()
    last = wire(Request(RequestId(REQUEST_ID_MAX), PIECE))
    assert feed(us, last) == [RequestReceived(RequestId(REQUEST_ID_MAX), PIECE)]
    with pytest.raises(RemoteProtocolError, match="is not above those before"):
        feed(us, last)


def test_inside_a_header_is_from_its_first_byte_to_its_last() -> None:
    us, request = asked_session()
    header = data(0, 8, b"12345678", request)[:-8]
    for at in range(len(header)):
        assert us.inside_header == (at > 0)
        feed(us, header[at : at + 1])
    assert not us.inside_header, "its payload is due"
    feed(us, b"12345678")
    assert not us.inside_header


def test_pongs_come_in_order() -> None:
    a, b = open_pair()
    feed(b, a.send(Ping(5)) + a.send(Ping(6)))
    with pytest.raises(LocalProtocolError):
        b.send(Pong(6))
    assert feed(a, b.send(Pong(5)) + b.send(Pong(6))) == [PongReceived(5), PongReceived(6)]

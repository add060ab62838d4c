"""A command's talk with a daemon that goes away, says nothing, or answers somebody else."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from peer.control.client import ControlClient, DaemonError
from peer.control.protocol import Answer, Body, Done, Failed, Progress, Status, encode_answer
from peer.errors import ConnectionLost, ExitCode, RemoteProtocolError
from peer.limits import CONTROL_ANSWER_S


async def ask(said: bytes, *, hang_up: bool = True, told: list[Body] | None = None) -> Body:
    """Ask a daemon that says just this."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(said)
    if hang_up:
        await theirs.send_eof()
    async with ControlClient(ours) as client:
        return await client.ask(Status(), None if told is None else told.append)


def words(*answers: Answer) -> bytes:
    return b"".join(map(encode_answer, answers))


@pytest.mark.parametrize("said", [b"", words(Progress(1, {})), words(Done(1, {}))[:-1]])
async def test_a_daemon_that_goes_away_is_one_line(said: bytes) -> None:
    with pytest.raises(ConnectionLost, match="has gone away"):
        await ask(said)


async def test_a_daemon_that_says_nothing_is_given_up(autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectionLost, match="has not answered"):
        await ask(b"", hang_up=False)
    assert trio.current_time() >= CONTROL_ANSWER_S


async def test_progress_is_told_and_what_is_for_another_request_is_not() -> None:
    told: list[Body] = []
    others = (Progress(7, {"n": 7}), Failed(7, ExitCode.USAGE, "not ours"), Done(7, {"n": 8}))
    said = words(*others, Progress(1, {"n": 1}), Progress(1, {"n": 2}), Done(1, {"n": 3}))
    assert await ask(said, told=told) == {"n": 3}
    assert told == [{"n": 1}, {"n": 2}]
    assert await ask(said) == {"n": 3}, "nobody has to listen"


@pytest.mark.parametrize("number", [0, 1])
async def test_an_error_has_the_code_of_the_daemon(number: int) -> None:
    with pytest.raises(DaemonError, match=r"^no room$") as caught:
        await ask(words(Failed(number, ExitCode.USAGE, "no room")))
    assert caught.value.exit_code is ExitCode.USAGE
    with pytest.raises(DaemonError) as caught:
        await ask(words(Failed(number, 200, "of a later version")))
    assert caught.value.exit_code is ExitCode.INTERNAL


async def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        await ask(b"\xff\xff\xff\xff")

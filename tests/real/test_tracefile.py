"""What `--trace` writes into: nothing that it names makes a node wait."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.cli.tracefile import TraceFile
from peer.errors import UsageError
from peer.limits import TRACE_BACKLOG_BYTES_MAX
from tests.real.commands import run

LINE = f'{{"event":"{"x" * 985}"}}\n'
LINKS_TO_NOBODY = f"magnet:?xt=urn:blake3:{'ab' * 32}"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def reader(pipe: Path) -> Iterator[int]:
    """Somebody who has the pipe open and reads when told to."""
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """What is in the pipe now."""
    found = b""
    while True:
        try:
            part = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return found
        if not part:
            return found
        found += part


def test_a_pipe_that_nobody_reads_is_refused_at_once(pipe: Path) -> None:
    """It was waited for, for ever and without a word."""
    with pytest.raises(UsageError, match=r"--trace .*pipe: nobody reads this pipe: start its reader first"):
        TraceFile(pipe)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's whole path may be too long for it
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(UsageError, match="it is a socket"):
            TraceFile(Path("socket"))


def test_a_command_refuses_it_with_one_line(pipe: Path, tmp_path: Path) -> None:
    result = run("peer", "get", LINKS_TO_NOBODY, "--home", tmp_path / "home", "--trace", pipe)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "nobody reads this pipe" in result.err


def test_a_reader_that_pauses_misses_nothing(pipe: Path, reader: int) -> None:
    file = TraceFile(pipe)
    lines = [f"{number}\n" for number in range(50_000)]  # more than a pipe holds, less than is kept
    for line in lines:
        file.write(line)
    found = b""
    while more := read_all(reader):
        found += more
        file.write("")  # as each event does: what was kept goes first
    file.close()
    assert found.decode() == "".join(lines)


def test_a_reader_that_stays_away_ends_the_trace_and_not_the_node(
    pipe: Path, reader: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = TraceFile(pipe)
    for _ in range(2 * TRACE_BACKLOG_BYTES_MAX // len(LINE)):
        file.write(LINE)
    file.close()
    assert capsys.readouterr().err == f"the trace {pipe} ends here: its reader is too slow; a file keeps up\n"
    assert read_all(reader).startswith(LINE.encode())


def test_a_reader_that_goes_ends_the_trace_and_not_the_node(
    pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = TraceFile(pipe)
    file.write(LINE)
    os.close(reader)
    file.write(LINE)
    file.write(LINE)
    file.close()
    assert capsys.readouterr().err == f"the trace {pipe} ends here: nobody reads it any more\n"


def test_the_end_does_not_wait_for_who_stays_away(
    pipe: Path, reader: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = TraceFile(pipe)
    for _ in range(TRACE_BACKLOG_BYTES_MAX // len(LINE) // 2):
        file.write(LINE)
    file.close(patience_s=0.0)
    assert "its reader has not taken the rest" in capsys.readouterr().err
    assert read_all(reader).startswith(LINE.encode())


def test_a_file_has_each_line_as_soon_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("of another run, and longer\n" * 10)
    file = TraceFile(tmp_path / "trace")
    assert not (tmp_path / "trace").read_text()
    file.write("1\n")
    file.write("a name that is no text: \udcff\n")
    assert (tmp_path / "trace").read_text() == "1\na name that is no text: \\udcff\n"
    file.close()
    file.write("2\n")
    assert (tmp_path / "trace").stat().st_size == len("1\na name that is no text: \\udcff\n")

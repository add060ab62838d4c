"""The `tracker` program and the tracker over real sockets, on this machine's loopback only."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from peer.discovery.tracker import TrackerClient
from peer.errors import ExitCode
from peer.ids import Address, NodeId, ShareId
from peer.net.channel import MessageChannel
from peer.net.tcp import TcpTransport
from peer.wire.messages import Announce, Announced, AnnounceEvent, KnownPeer
from tests.loopback import HOSTS
from tests.real.commands import PATIENCE_S
from tracker.server import TrackerServer

ROOT = Path(__file__).parents[2]
SHARE = ShareId(b"s" * 32)


ENDLESS = """
from peer import limits
limits.TRACKER_HANDSHAKE_S = limits.TRACKER_REQUEST_S = 1e9
from tracker.cli import main
main()
"""
"""A tracker that sends nobody away for being silent."""


def command(*arguments: str, descriptors: int = 0) -> list[str]:
    tracker = [sys.executable, "-m", "tracker", *arguments]
    if descriptors:
        tracker[1:3] = ["-c", ENDLESS]  # no deadline comes to help
        return ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *tracker]
    return tracker


@contextmanager
def tracker(*arguments: str, descriptors: int = 0) -> Iterator[tuple["subprocess.Popen[str]", Address]]:
    """A running tracker process and the address that it says it listens on."""
    words = command("--port", "0", *arguments, descriptors=descriptors)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stderr=pipe, stdout=pipe, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            match = re.fullmatch(r"listening on (\S+)\n", line)
            assert match is not None, line + process.stderr.read()
            yield process, Address.parse(match[1])
        finally:
            process.kill()


async def ask(address: Address, node: int) -> Announced:
    channel = MessageChannel(await TcpTransport().dial(address))
    await channel.send(Announce(1, SHARE, NodeId(bytes([node]) * 32), 7701, AnnounceEvent.STARTED, 1, 50))
    answer = await channel.receive()
    await channel.aclose()
    assert isinstance(answer, Announced)
    return answer


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_listens_answers_and_ends_with_zero(host: str, number: signal.Signals) -> None:
    with tracker("--host", host) as (process, address):
        assert address.host == host
        with trio.fail_after(PATIENCE_S):
            assert (await ask(address, 1)).peers == ()
            assert [peer.address for peer in (await ask(address, 2)).peers] == [Address(host, 7701)]
            idle = await TcpTransport().dial(address)
            process.send_signal(number)
            assert await idle.receive_some() == b"", "nobody keeps it from ending"
            await idle.aclose()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (0, "")
        assert err == "stopped; questions answered: 2, at the end members: 2, swarms: 1, published names: 0\n"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_a_taken_port_is_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--host", "127.0.0.1", "--port", str(port))
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr == f"tracker: port {port} is already taken: name another with --port\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--port", "x"],
        ["--frobnicate"],
        ["--host", "192.0.2.1"],
    ],
)
def test_misuse_is_said_without_a_traceback(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip()


def test_help_is_there_without_loading_the_machinery() -> None:
    """What makes `--help` instant is what it does not import; a clock would only measure this machine."""
    script = (
        "import sys\n"
        "sys.argv = ['tracker', '--help']\n"
        "from tracker.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'trio', 'msgpack', 'cryptography', 'rich', 'peer.limits', 'peer.net'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--port" in ended.stdout
    assert "7700" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "0 []"


async def test_garbage_and_silence_over_real_sockets_harm_nobody() -> None:
    with tracker("--host", "127.0.0.1") as (_, address), trio.fail_after(PATIENCE_S):
        crowd = [await TcpTransport().dial(address) for _ in range(30)]
        for number, stream in enumerate(crowd):
            await stream.send_all([b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\x00\x00"][number % 3])
        await ask(address, 1)
        for stream in crowd:
            await stream.aclose()
        assert len((await ask(address, 2)).peers) == 1


async def test_client_and_server_over_tcp() -> None:
    """Both ends in one process: the informant is the observed address, and stopping is heard."""
    server = TrackerServer(TcpTransport(), Random(1))
    (address,) = await server.listen("127.0.0.1", 0)
    found: list[tuple[list[KnownPeer], Address]] = []
    heard = trio.Event()

    def on_found(peers: list[KnownPeer], informant: Address) -> None:
        found.append((peers, informant))
        heard.set()

    client = TrackerClient(
        TcpTransport(),
        [Address("localhost", address.port), Address("127.0.0.1", 1)],
        share=SHARE,
        node=NodeId(b"c" * 32),
        port=7701,
        left=lambda: 1,
        found=on_found,
        rng=Random(2),
    )
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            await ask(address, 9)
            async with trio.open_nursery() as client_nursery:
                client_nursery.start_soon(client.run)
                await heard.wait()
                client_nursery.cancel_scope.cancel()
            assert [(len(peers), informant) for peers, informant in found] == [(1, address)]
            assert "refused" in (client.statistics()[1].error or "")
            statistics = server.statistics()
            assert statistics.registry.announces[AnnounceEvent.STOPPED] == 1
            assert statistics.registry.members == 1
            server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="needs the whole of 127.0.0.0/8")
async def test_a_silent_crowd_larger_than_the_descriptors_locks_nobody_out() -> None:
    with (
        tracker("--host", "127.0.0.1", descriptors=64) as (process, address),
        ExitStack() as crowd,
        trio.fail_after(PATIENCE_S),
    ):
        for number in range(100):
            source = (f"127.0.1.{number % 20 + 1}", 0)
            crowd.enter_context(socket.create_connection(("127.0.0.1", address.port), source_address=source))
        assert (await ask(address, 1)).leechers == 1
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(("home", "code", "what"), [("/proc/nowhere", 5, "/proc/nowhere"), ("", 2, "empty")])
def test_a_home_that_cannot_be_is_said_in_a_line(home: str, code: int, what: str) -> None:
    """It was a traceback, or the key in the working folder."""
    done = subprocess.run(
        command("--port", "0", "--home", home), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert what in done.stderr.splitlines()[-1]

"""What an encrypted connection costs over loopback: time to its first byte, and memory while it is idle.

    python -m benchmarks.handshake [--connections 300]

Bars: 15 ms from the dial to the first byte (median); 64 KiB a connection for everything that a node keeps of
an idle peer, beyond what TLS itself takes. `bare` is the transport alone, `node` a whole node with a greeted
link for each connection; both accept in a process of their own. Keys and hellos are all different, as in a
swarm.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import trio

from benchmarks.machine import describe
from peer.bitfield import Bitfield
from peer.buffers import BufferPool
from peer.greeting import greet
from peer.holding import Holding
from peer.identity import Identity
from peer.ids import Address, ShareId
from peer.limits import KIB, PROTOCOL_VERSION, WINDOW_DEFAULT
from peer.manifest import FileEntry, Manifest
from peer.member import Member
from peer.net.swarmca import SwarmAuthority
from peer.net.tcp import TcpTransport
from peer.net.tls import TlsTransport
from peer.net.transport import Stream, Transport
from peer.node import Node
from peer.store.files import open_folder
from peer.store.layout import Layout
from peer.store.outgoing import SourceStore
from peer.swarm.door import DoorBounds
from peer.wire.messages import Hello
from peer.wire.session import Session
from peer.workers import ThreadWorkers

TIME_BAR_MS = 15.0
MEMORY_BAR_KIB = 64.0
LINKS_MAX = 5000
"""More than are measured: the node's own limit would end the run early."""
PAUSE_S = 0.006
"""Between two connections, so that the door's own limit is not what is measured."""

MANIFEST = Manifest(16 * KIB, (FileEntry((), 1, bytes(32), False),), (), bytes(32))


def transport(mode: str) -> Transport:
    if mode == "plain":
        return TcpTransport()
    return TlsTransport(Identity.generate(), SwarmAuthority.public())


# --- the accepting process


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def accept(mode: str) -> None:
    """Say the port; then, for each line on stdin, the memory in use."""
    async with trio.open_nursery() as nursery:
        port = await (accept_node(nursery) if mode == "node" else accept_bare(mode, nursery))
        print(port, flush=True)
        async for _ in trio.wrap_file(sys.stdin):
            print(resident_bytes(), flush=True)
        nursery.cancel_scope.cancel()


async def accept_bare(mode: str, nursery: trio.Nursery) -> int:
    """The transport alone: one byte to whoever comes, and then nothing."""
    side = transport(mode)
    (listener,) = await side.listen("127.0.0.1", 0)
    kept: list[Stream] = []

    async def receive(stream: Stream) -> None:
        ready = await side.accept(stream)
        kept.append(ready)
        await ready.send_all(b"!")
        with suppress(trio.BrokenResourceError):  # as a link does, it listens for what never comes
            await ready.receive_into(memoryview(bytearray(1)))

    async def serve() -> None:
        while True:
            nursery.start_soon(receive, await listener.accept())

    nursery.start_soon(serve)
    return listener.address.port


async def accept_node(nursery: trio.Nursery) -> int:
    """A whole node that shares something."""
    identity = Identity.generate()
    side = TlsTransport(identity, SwarmAuthority.public())
    node = Node(
        identity.node_id,
        side,
        ThreadWorkers(),
        Random(1),
        bounds=DoorBounds(connections=LINKS_MAX),
        links_max=LINKS_MAX,
    )
    (address,) = await node.listen("127.0.0.1", 0)
    folder = open_folder(".")
    store = SourceStore(folder, MANIFEST, [()], [folder.state(("pyproject.toml",))])
    layout = Layout(MANIFEST.piece_bytes, [1])
    holding = Holding(MANIFEST, MANIFEST.encode(), layout, store, Bitfield(1, full=True))
    nursery.start_soon(node.run)
    nursery.start_soon(node.take_part, Member(MANIFEST.share_id, node.services, holding=holding))
    return address.port


# --- the dialling process


async def connect(mode: str, address: Address, share: ShareId) -> tuple[float, Stream]:
    """Seconds from the dial to the first byte of the other side, and the stream."""
    identity = Identity.generate()
    side = TcpTransport() if mode == "plain" else TlsTransport(identity, SwarmAuthority.public())
    began = time.perf_counter()
    stream = await side.dial(address)
    if mode == "node":
        hello = Hello(PROTOCOL_VERSION, share, identity.node_id, WINDOW_DEFAULT, 1)
        await greet(stream, Session(buffers=BufferPool()), hello, None)
    else:
        await stream.receive_some(1)
    return time.perf_counter() - began, stream


async def measure(mode: str, count: int) -> tuple[float, float]:
    """Median milliseconds to the first byte, and bytes of memory of each connection on the accepting side."""
    command = [sys.executable, "-m", "benchmarks.handshake", "--accept", mode]
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs meanwhile
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        address = Address("127.0.0.1", int(other.stdout.readline()))

        def memory() -> int:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write("\n")
            other.stdin.flush()
            return int(other.stdout.readline())

        share = MANIFEST.share_id
        streams = []
        for _ in range(20):  # what is made once is made now
            streams.append((await connect(mode, address, share))[1])
            await trio.sleep(PAUSE_S)
        before, times = memory(), []
        for _ in range(count):
            seconds, stream = await connect(mode, address, share)
            times.append(seconds)
            streams.append(stream)
            await trio.sleep(PAUSE_S)
        each = (memory() - before) / count
        for stream in streams:
            await trio.aclose_forcefully(stream)
        other.stdin.close()
    return 1000 * statistics.median(times), each


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=300, help="of each kind (default: %(default)s)")
    parser.add_argument("--accept", choices=("plain", "bare", "node"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.accept:
        trio.run(accept, arguments.accept)
        return
    print(describe("trio", "cryptography"))
    results = {}
    for mode in ("plain", "bare", "node"):
        milliseconds, each = results[mode] = trio.run(measure, mode, arguments.connections)
        print(
            f"{mode:6} first byte after {milliseconds:6.2f} ms (median), {each / KIB:6.1f} KiB a connection"
        )
    milliseconds, each = results["node"]
    beyond = (each - results["bare"][1]) / KIB
    print(f"first byte of a node: {verdict(milliseconds, TIME_BAR_MS)} ms, bar {TIME_BAR_MS:g} ms")
    print(
        f"a node's own memory of an idle connection: {verdict(beyond, MEMORY_BAR_KIB)} KiB,"
        f" bar {MEMORY_BAR_KIB:g} KiB"
    )


def verdict(value: float, bar: float) -> str:
    return f"{value:.1f} ({'met' if value <= bar else 'MISSED'})"


if __name__ == "__main__":
    main()

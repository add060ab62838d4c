"""How fast bytes go from a file in the page cache of one process into the memory of another, over loopback.

    python -m benchmarks.transport [--mib 1024] [--rounds 5]

`raw` is what blocking `os.sendfile` and `recv_into` reach from Python without any event loop; `plain` and
`tls` are the node's transports; `sslstream` is TLS as trio has it. Rounds alternate; medians are compared.
"""

import argparse
import os
import platform
import resource
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import trio

from lab.cli import stop
from peer.identity import Identity
from peer.ids import Address
from peer.limits import MIB
from peer.net.swarmca import SwarmAuthority
from peer.net.tcp import TcpTransport
from peer.net.tls import TlsTransport
from peer.net.transport import Transport
from peer.store.filesystem import File

MODES = ("raw", "plain", "tls", "sslstream")
FILE_MIB = 64
SLICE_BYTES = 1 * MIB
HEADER = b"\0" * 40
"""As large as a data frame's."""

Result = tuple[float, float, float]
"""MB/s, and processor seconds of the receiver and of the sender."""


class BenchFile:
    """A file that is only read."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def fileno(self) -> int:
        return self.descriptor

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self.descriptor, [buffer], offset)


def transport(mode: str) -> Transport:
    return TcpTransport() if mode == "plain" else TlsTransport(Identity.generate(), SwarmAuthority.public())


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# --- the sending process


def send_raw(port: int, file: BenchFile, mib: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(mib):
            sock.send(HEADER, getattr(socket, "MSG_MORE", 0))
            offset, end = number % FILE_MIB * MIB, (number % FILE_MIB + 1) * MIB
            while offset < end:
                offset += os.sendfile(sock.fileno(), file.descriptor, offset, end - offset)


async def send(mode: str, port: int, file: BenchFile, mib: int) -> None:
    stream = await transport(mode).dial(Address("127.0.0.1", port))
    for number in range(mib):
        await stream.send_slice(HEADER, cast("File", file), number % FILE_MIB * MIB, SLICE_BYTES)
    await stream.receive_some(1)  # the other side has it all
    await stream.aclose()


async def send_sslstream(port: int, file: BenchFile, mib: int) -> None:
    node = TlsTransport(Identity.generate(), SwarmAuthority.public())
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), node._client)
    buffer = memoryview(bytearray(SLICE_BYTES))
    for number in range(mib):
        file.read_into(buffer, number % FILE_MIB * MIB)
        await stream.send_all(HEADER)
        await stream.send_all(buffer)
    await stream.receive_some(1)


def sender(mode: str, port: int, path: Path, mib: int) -> None:
    file, begin = BenchFile(path), processor_seconds()  # imports are done, the handshake is not
    if mode == "raw":
        send_raw(port, file, mib)
    elif mode == "sslstream":
        trio.run(send_sslstream, port, file, mib)
    else:
        trio.run(send, mode, port, file, mib)
    print(processor_seconds() - begin)


# --- the receiving process


def start(mode: str, port: int, path: Path, mib: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.transport", "--send", mode, "--port", str(port)]
    command += ["--file", str(path), "--mib", str(mib)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def receive_raw(path: Path, mib: int) -> Result:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = start("raw", server.getsockname()[1], path, mib)
        sock, _ = server.accept()
        with sock:
            buffer, left = memoryview(bytearray(SLICE_BYTES)), mib * (MIB + len(HEADER))
            begin, cpu = time.perf_counter(), processor_seconds()
            while left:
                left -= sock.recv_into(buffer[: min(left, len(buffer))])
            seconds = time.perf_counter() - begin
    return mib * MIB / seconds / 1e6, processor_seconds() - cpu, float(process.communicate()[0])


async def receive(mode: str, path: Path, mib: int) -> Result:
    node = transport(mode)
    (listener,) = await node.listen("127.0.0.1", 0)
    process = start(mode, listener.address.port, path, mib)
    async with listener, await node.accept(await listener.accept()) as stream:
        result = await timed(stream.receive_into, mib)
        await stream.send_all(b".")
    return *result, float((await trio.to_thread.run_sync(process.communicate))[0])


async def receive_sslstream(path: Path, mib: int) -> Result:
    node = TlsTransport(Identity.generate(), SwarmAuthority.public())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    process = start("sslstream", listener.socket.getsockname()[1], path, mib)
    async with listener, trio.SSLStream(await listener.accept(), node._server, server_side=True) as stream:

        async def into(buffer: memoryview) -> int:
            data = await stream.receive_some(len(buffer))
            buffer[: len(data)] = data
            return len(data)

        result = await timed(into, mib)
        await stream.send_all(b".")
    return *result, float((await trio.to_thread.run_sync(process.communicate))[0])


async def timed(receive_into: Callable[[memoryview], Awaitable[int]], mib: int) -> tuple[float, float]:
    buffer, left = memoryview(bytearray(SLICE_BYTES)), mib * (MIB + len(HEADER))
    left -= await receive_into(buffer[:1])  # the handshake, and the sender's start
    begin, cpu = time.perf_counter(), processor_seconds()
    while left:
        count = await receive_into(buffer[: min(left, len(buffer))])
        if not count:
            raise EOFError
        left -= count
    return mib * MIB / (time.perf_counter() - begin) / 1e6, processor_seconds() - cpu


def one(mode: str, path: Path, mib: int) -> Result:
    if mode == "raw":
        return receive_raw(path, mib)
    if mode == "sslstream":
        return trio.run(receive_sslstream, path, mib)
    return trio.run(receive, mode, path, mib)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="sent in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="alternated (default: %(default)s)")
    parser.add_argument("--modes", nargs="*", choices=MODES, default=MODES, help="(default: all)")
    parser.add_argument("--send", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        sender(options.send, options.port, options.file, options.mib)
        return
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    print(f"{machine}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    print(f"{options.mib} MiB, median of {options.rounds}")
    results: dict[str, list[Result]] = {mode: [] for mode in options.modes}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(os.urandom(FILE_MIB * MIB))
        for _ in range(options.rounds):
            for mode in options.modes:
                results[mode].append(one(mode, path, options.mib))
    first = statistics.median(result[0] for result in results[options.modes[0]])
    print(f"{'':>10}  {'MB/s':>6}  {'ratio':>5}  CPU s receiving, sending")
    for mode, rounds in results.items():
        speed, receiving, sending = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{mode:>10}  {speed:6.0f}  {speed / first:5.2f}  {receiving:.2f}, {sending:.2f}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)  # through every `with`: nothing stays behind
    main()

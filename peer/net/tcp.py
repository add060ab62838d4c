"""Plain TCP: the real transport without encryption.

A stream is a non-blocking stdlib socket driven with `trio.lowlevel.wait_readable` and `wait_writable`: first
the system call, and waiting only where it would block. trio's own socket methods pass the scheduler on every
call, and have no sendfile (trio issue #45; the worry there is a disk that blocks: the node prefetches a piece
before it is sent).

The kernel's queue of unsent bytes is kept short (`sendqueue.py`); the buffers' sizes are left to the kernel,
which tunes them to each path: setting one switches that off.
"""

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import trio

from peer.errors import DialError, UsageError
from peer.ids import Address, NodeId
from peer.limits import ACCEPT_RETRY_S, COPY_BYTES, LISTEN_BACKLOG, LISTEN_TRIES_MAX, TURN_BYTES
from peer.net.sendqueue import SendQueue
from peer.net.transport import Listener, Stream
from peer.net.turn import Exclusive, Turn
from peer.store.filesystem import File

logger = logging.getLogger(__name__)

RECEIVE_SOME_BYTES = 64 * 1024

MSG_MORE = getattr(socket, "MSG_MORE", 0)
"""Linux: more follows at once, so the header shares a packet with the file's first bytes."""

CAPACITY_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)

NO_SENDFILE_ERRNOS = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""File systems without it (some of FUSE, some kernels' pseudo files)."""

FILE_ERRNOS = (errno.EIO, errno.ESTALE, errno.EISDIR, errno.EOVERFLOW)
"""What sendfile reports of its file rather than of its socket."""

NO_FAMILY_ERRNOS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""A machine without IPv6 says the first, one where it is switched off the second."""


@contextmanager
def socket_errors() -> Iterator[None]:
    """The one place where a socket's OSError becomes what trio's streams raise."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBADF:
            raise trio.ClosedResourceError("this connection was closed here") from None
        raise trio.BrokenResourceError(f"connection lost: {error.strerror or error}") from error


def observed_address(name: tuple[object, ...]) -> Address:
    """A socket's name as an address; IPv4 in IPv6's clothes (``::ffff:1.2.3.4``) is undressed. A link-local
    one keeps its zone (``fe80::1%eth0``), without which nobody can dial it."""
    host, port = str(name[0]), int(str(name[1]))
    if ":" in host:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        host = str(mapped) if mapped is not None else host
        zone = name[3] if len(name) > 3 and "%" not in host else 0
        if mapped is None and isinstance(zone, int) and zone:
            with suppress(OSError):  # the interface is gone
                host = f"{host}%{socket.if_indextoname(zone)}"
    return Address(host, port)


class TcpStream(Stream):
    """One TCP connection. Takes over a connected socket; raises OSError if it is connected no longer."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._remote = observed_address(sock.getpeername())
        self._socket = sock
        self._queue = SendQueue(sock)
        self._turn = Turn()
        self._sending = Exclusive("another task is sending on this connection")
        self._eof_sent = False

    @property
    def remote(self) -> Address:
        return self._remote

    @property
    def peer(self) -> NodeId | None:
        return None

    def detach(self) -> socket.socket:
        """Hand the socket on, to be wrapped in TLS; this stream is closed then."""
        sock = socket.socket(fileno=self._socket.detach())
        sock.setblocking(False)
        return sock

    async def peek(self) -> int | None:
        """The next byte, left where it is; None at the end of the stream."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with socket_errors():
            while True:
                try:
                    data = self._socket.recv(1, socket.MSG_PEEK)
                    break
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._socket)
        return data[0] if data else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        with socket_errors():
            while True:
                try:
                    data = self._socket.recv(max_bytes or RECEIVE_SOME_BYTES)
                    break
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._socket)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    async def receive_into(self, buffer: memoryview) -> int:
        await self._turn.yield_if_over()
        with socket_errors():
            while True:
                try:
                    count = self._socket.recv_into(buffer)
                    break
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._socket)
                    self._turn.waited()
        self._turn.spend(count)
        return count

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint_if_cancelled()
            with memoryview(data) as view:
                await self._send(view)
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._turn.waited()

    async def send_frames(self, data: bytes) -> None:
        with self._sending, memoryview(data) as view:
            self._check_sendable()
            await self._turn.yield_if_over()
            await self._send(view)

    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        with self._sending:
            self._check_sendable()
            await self._turn.yield_if_over()
            with memoryview(header) as view:
                await self._send(view, MSG_MORE if count else 0)
            descriptor = file.fileno() if hasattr(os, "sendfile") else None
            sent = 0
            if descriptor is not None:
                sent = await self._sendfile(descriptor, offset, count)
            if sent < count:
                await self._copy(file, offset + sent, count - sent)

    def _check_sendable(self) -> None:
        if self._eof_sent or self._socket.fileno() == -1:
            raise trio.ClosedResourceError("this connection was closed here for sending")

    async def _send(self, view: memoryview, flags: int = 0) -> None:
        with socket_errors():
            while view:
                await self._turn.yield_if_over()
                try:
                    count = self._socket.send(view, flags)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._socket)
                    self._turn.waited()
                    continue
                self._turn.spend(count)
                self._queue.sent(count)
                view = view[count:]

    async def _sendfile(self, descriptor: int, offset: int, count: int) -> int:
        """Send from page cache to socket; return less than ``count`` only where sendfile does not work here.

        The form with four arguments is the same on Linux and macOS; CPython hides the differences, a partial
        send before EAGAIN included.
        """
        sent = 0
        while sent < count:
            await self._turn.yield_if_over()
            try:
                moved = os.sendfile(
                    self._socket.fileno(), descriptor, offset + sent, min(count - sent, TURN_BYTES)
                )
            except BlockingIOError:
                with socket_errors():
                    await trio.lowlevel.wait_writable(self._socket)
                self._turn.waited()
                continue
            except OSError as error:
                if error.errno in NO_SENDFILE_ERRNOS:
                    return sent
                if error.errno in FILE_ERRNOS or (error.errno == errno.EBADF and self._socket.fileno() != -1):
                    raise
                with socket_errors():
                    raise
            if moved == 0:
                raise EOFError(f"the file ends at {offset + sent}, {count - sent} bytes too early")
            self._turn.spend(moved)
            self._queue.sent(moved)
            sent += moved
        return sent

    async def _copy(self, file: File, offset: int, count: int) -> None:
        """Send through a buffer: where the file has no descriptor, or its file system no sendfile."""
        with memoryview(bytearray(min(COPY_BYTES, count))) as buffer:
            while count:
                await self._turn.yield_if_over()
                with buffer[: min(count, len(buffer))] as part:
                    read = file.read_into(part, offset)
                    if read < len(part):
                        raise EOFError(f"the file ends at {offset + read}, {count - read} bytes too early")
                    await self._send(part)
                offset += read
                count -= read

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_sendable()
            with socket_errors():
                await trio.lowlevel.wait_writable(self._socket)
            self._turn.waited()

    async def send_eof(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._eof_sent:
                return
            with socket_errors():
                self._socket.shutdown(socket.SHUT_WR)
            self._eof_sent = True

    async def aclose(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()


class TcpListener(Listener):
    """A listening TCP socket. `accept` outlives a lack of descriptors: it says so once and tries again."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._address = observed_address(listener.socket.getsockname())
        self._short = False

    @property
    def address(self) -> Address:
        return self._address

    async def accept(self) -> TcpStream:
        while True:
            try:
                accepted = await self._listener.accept()
            except OSError as error:
                if error.errno not in CAPACITY_ERRNOS:
                    raise
                if not self._short:
                    logger.warning("cannot accept connections just now: %s", error.strerror)
                    self._short = True
                await trio.sleep(ACCEPT_RETRY_S)
                continue
            self._short = False
            with suppress(OSError):  # reset before we came to it
                return _own(accepted)

    async def aclose(self) -> None:
        await self._listener.aclose()


class TcpTransport:
    """The `Transport` of plain TCP. Nobody proves who he is, so an expected id is not checked here."""

    async def dial(self, address: Address, expected: NodeId | None = None) -> TcpStream:
        """Connect to the fastest of the host's addresses, after RFC 6555 as trio has it."""
        try:
            stream = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, ValueError, OverflowError) as error:  # ValueError: a name that no resolver takes
            raise DialError(f"cannot reach {address}: {_reason(error)}") from error
        # A dial to a free port of this machine can meet itself (TCP's simultaneous open).
        itself = stream.socket.getsockname() == _peer_name(stream)
        try:
            if itself:
                raise OSError(errno.ECONNREFUSED, "connection refused")
            return _own(stream)
        except OSError as error:
            stream.socket.close()
            raise DialError(f"cannot reach {address}: {_reason(error)}") from error

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        try:
            found = await trio.socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, ValueError, OverflowError) as error:
            raise UsageError(f"cannot listen on {host or 'this machine'}: {_reason(error)}") from error
        # IPv6 first: where it is switched off, the machine says so only when it is tried.
        names = sorted({(family, name) for family, _, _, _, name in found}, reverse=True)
        for attempt in range(1, LISTEN_TRIES_MAX + 1):
            try:
                return await _listen_on_all(names, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and port == 0 and attempt < LISTEN_TRIES_MAX:
                    continue  # free for one family, taken for the other
                raise UsageError(_listen_trouble(error, host, port)) from error
        raise AssertionError("the last attempt returned or raised")

    async def accept(self, stream: Stream) -> Stream:
        """Plain TCP is ready at once."""
        return stream


def _own(stream: trio.SocketStream) -> TcpStream:
    """Take the socket out of trio's wrapper. Raises OSError if the other side is gone already."""
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        return TcpStream(sock)
    except OSError:
        sock.close()
        raise


def _peer_name(stream: trio.SocketStream) -> object:
    try:
        return stream.socket.getpeername()
    except OSError:
        return None


async def _listen_on_all(names: Sequence[tuple[int, tuple[Any, ...]]], port: int) -> list[Listener]:
    """One listener for each name, all on one port. Raises OSError, with nothing left open."""
    listeners: list[Listener] = []
    sockets: list[trio.socket.SocketType] = []
    lacking: OSError | None = None
    try:
        for family, (host, _, *zone) in names:
            try:
                sock = trio.socket.socket(family, socket.SOCK_STREAM)
                sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                await sock.bind((host, port, *zone))
            except OSError as error:
                if error.errno not in NO_FAMILY_ERRNOS:
                    raise
                lacking = error
                continue
            sock.listen(LISTEN_BACKLOG)
            port = sock.getsockname()[1]
            listeners.append(TcpListener(trio.SocketListener(sock)))
        if not listeners:
            raise lacking or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return listeners


def _listen_trouble(error: OSError, host: str | None, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is already taken: name another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: name one above 1023 with --port"
    where = Address(host, port) if host else f"port {port}"
    return f"cannot listen on {where}: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """The system's words for the first thing that went wrong, in one line."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        error = cause.exceptions[0]
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # its own text may be trio's, and long
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).lower()

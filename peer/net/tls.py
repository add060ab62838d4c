"""TLS 1.3 on the same seam: both sides prove their key, and bulk data goes through `ssl.SSLSocket` directly.

Each OpenSSL call works on the non-blocking descriptor and is repeated when the socket is ready for it; almost
twice as fast as `trio.SSLStream`, which copies every record through memory BIOs (`benchmarks/transport.py`).
What must be known of OpenSSL here:

* A send takes its whole buffer or raises "want write" with a part of it under way: the same bytes must then
  be given again. So buffers are small, and a cancelled send tears the stream: nothing may be sent after it,
  and no close_notify either, so that the other side sees a truncation.
* A receive returns at most one record (16 KiB): `receive_into` repeats it while there is room and data.
* In TLS 1.3 the client's handshake is done before the server has looked at its certificate. A refusal shows
  at the client's first read. A dialled stream is up only when the other side's hello has been read.
* A read may want to write (a key update), while the writer waits for the same descriptor: `sharedwait.py`.
  And a write may want to read, which the reader waits for: whoever sends half a message of TLS in a record of
  its own has every call first look for the other half.
* Calls of the reader and of the writer never overlap: one thread, and no await within a call.
* A read does not come back while messages of TLS itself keep arriving: `callwatch.py` ends it.
"""

import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import trio

from peer.errors import ConnectionLost, DialError, HandshakeError, LocalProtocolError, RemoteProtocolError
from peer.identity import Identity
from peer.ids import Address, NodeId
from peer.limits import CLOSE_NOTIFY_S, COPY_BYTES, FRAME_READ_BYTES, TURN_BYTES
from peer.net.callwatch import CallWatch
from peer.net.cork import corked
from peer.net.naps import Naps
from peer.net.recordgate import RecordGate
from peer.net.sendqueue import SendQueue
from peer.net.sharedwait import SharedWait
from peer.net.swarmca import SwarmAuthority
from peer.net.tcp import RECEIVE_SOME_BYTES, TcpStream, TcpTransport
from peer.net.tlscontext import ALPN, context_for, peer_of
from peer.net.transport import Listener, Stream
from peer.net.turn import Exclusive, Turn
from peer.store.filesystem import File
from peer.swarm.shunned import Shunned

LOST = "connection lost: "

BUFFERS_KEPT = 4
"""Send buffers that a transport keeps for the next slice; more are made when more streams send at once."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TlsStream(Stream):
    """One encrypted connection. Made by `TlsTransport`, which has done the handshake."""

    def __init__(
        self,
        sock: ssl.SSLSocket,
        remote: Address,
        buffers: "list[bytearray]",
        watch: CallWatch,
        shunned: Shunned,
        naps: Naps,
    ) -> None:
        self._socket = sock
        self._naps = naps
        self._watch = watch
        self._shunned = shunned
        watch.opened()
        self._remote = remote
        self._peer: NodeId | None = None
        self._buffers = buffers
        self._queue = SendQueue(sock)
        self._gate = RecordGate(sock)
        self._turn = Turn()
        self._sending = Exclusive("another task is sending on this connection")
        self._receiving = Exclusive("another task is receiving on this connection")
        self._readable = SharedWait(trio.lowlevel.wait_readable, sock)
        self._writable = SharedWait(trio.lowlevel.wait_writable, sock)
        self._closed = False
        self._eof_sent = False
        self._torn = False
        self._ended = False  # both sides have said goodbye

    @property
    def remote(self) -> Address:
        return self._remote

    @property
    def peer(self) -> NodeId | None:
        return self._peer

    @property
    def cipher(self) -> str:
        """Protocol version and cipher, for people."""
        suite = self._socket.cipher()
        return f"{self._socket.version()} {suite[0] if suite else '?'}"

    async def handshake(self) -> None:
        """Prove and verify. Raises `HandshakeError`, or what a broken stream raises."""
        try:
            await self._drive(self._socket.do_handshake)
        except trio.BrokenResourceError as error:
            raise HandshakeError(self._why(error).removeprefix(LOST)) from error
        if self._socket.selected_alpn_protocol() != ALPN:
            raise HandshakeError("it does not speak this protocol")
        self._peer = peer_of(self._socket.getpeercert(binary_form=True))

    async def _drive(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call until it does not want the socket any more. The one place that translates OpenSSL's errors."""
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this connection was closed here")
            self._watch.begin(self._socket)
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self._gate.left_open()  # a write may have taken a part of a record as well
                wait = self._wait_for_more(call)
            except ssl.SSLWantWriteError:
                wait = self._wait_writable
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(LOST + _reason(error)) from error
            except OSError as error:
                raise trio.BrokenResourceError(f"{LOST}{error.strerror or error}") from error
            finally:
                self._watch.end()
            await wait()
            self._turn.waited()

    def _why(self, error: trio.BrokenResourceError) -> str:
        """What broke it, for people. Whoever has held up a call is shunned."""
        if not self._watch.has_cut(self._socket):
            return str(error)
        self._shunned.add(self._remote.host, trio.current_time())
        return "feeds TLS without end and says nothing"

    def _wait_for_more(self, call: object) -> Callable[[], Awaitable[None]]:
        return self._readable if call == self._socket.send else self._wait_readable

    async def _wait_readable(self) -> None:
        with self._receiving:
            await self._readable()
        self._gate.waited()

    def _now(self) -> float:
        return trio.current_time() if self._gate.slow else 0.0  # an open gate does not look at it

    async def _wait_for_enough(self) -> None:
        """As the gate has it."""
        if self._gate.nap:
            with self._receiving:
                await self._naps.sleep(self._gate.nap)
            if self._closed:
                raise trio.ClosedResourceError("this connection was closed here")
        else:
            await self._wait_readable()
        self._turn.waited()

    async def _wait_writable(self) -> None:
        await self._writable()
        if self._closed:  # while it slept beside another
            raise trio.ClosedResourceError("this connection was closed here")

    # --- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        await trio.lowlevel.checkpoint_if_cancelled()
        buffer = bytearray(max_bytes or RECEIVE_SOME_BYTES)
        count = await self._receive(buffer)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return bytes(buffer[:count])

    async def receive_into(self, buffer: memoryview) -> int:
        await self._turn.yield_if_over()
        sure = len(buffer) if len(buffer) > FRAME_READ_BYTES else 0
        while not self._gate.is_open(sure, self._now()):
            await self._wait_for_enough()
        filled = await self._receive(buffer)
        if filled:
            # Trouble here comes again at the next call: first what has been decrypted.
            try:
                with suppress(OSError), buffer[:TURN_BYTES] as room:
                    while filled < len(room) and self._gate.is_open(sure and sure - filled, self._now()):
                        self._watch.begin(self._socket)  # each is a call of its own, fed by a record
                        if not (count := self._read(room[filled:])):
                            break
                        filled += count
            finally:
                self._watch.end()
        self._turn.spend(filled)
        return filled

    async def _receive(self, buffer: memoryview | bytearray) -> int:
        try:
            return await self._drive(self._read, buffer)
        except trio.BrokenResourceError as error:
            if self._watch.has_cut(self._socket):
                raise RemoteProtocolError(self._why(error)) from error
            raise

    def _read(self, buffer: memoryview | bytearray) -> int:
        """One record, or less; 0 at the end."""
        if self._ended:
            return 0  # the wrapper is off now: a read would get, and believe, plain bytes
        try:
            # What `recv_into` calls in the end; each record costs a call of Python's less. With a buffer it
            # returns how much, which typeshed does not know.
            count: int = self._socket.read(len(buffer), buffer)  # type: ignore[assignment]
        except ssl.SSLZeroReturnError:
            return 0
        except ssl.SSLWantReadError:
            self._gate.left_open()
            raise
        self._gate.took(self._socket.pending)
        return count

    # --- sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending, memoryview(data) as view:
            self._check_sendable()
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._send_parts(view)
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._turn.waited()

    async def send_frames(self, data: bytes) -> None:
        with self._sending, memoryview(data) as view:
            self._check_sendable()
            await self._send_parts(view)

    async def _send_parts(self, view: memoryview) -> None:
        """Send all of any buffer."""
        try:
            for begin in range(0, len(view), COPY_BYTES):
                await self._send(view[begin : begin + COPY_BYTES])
        except BaseException:
            self._torn = True
            raise

    async def send_slice(self, header: bytes, file: File, offset: int, count: int) -> None:
        with self._sending:
            self._check_sendable()
            buffer = self._buffers.pop() if self._buffers else bytearray(COPY_BYTES)
            try:
                with memoryview(buffer) as view, corked(self._socket):
                    await self._send_slice(view, header, file, offset, count)
            except BaseException:
                self._torn = True  # the frame is, whatever TLS thinks
                raise
            if len(self._buffers) < BUFFERS_KEPT:
                self._buffers.append(buffer)

    async def _send_slice(
        self, buffer: memoryview, header: bytes, file: File, offset: int, count: int
    ) -> None:
        filled = 0
        if len(header) <= len(buffer) // 2:  # it shares a record with the first bytes
            filled = len(header)
            buffer[:filled] = header
        else:
            await self._send(memoryview(header))
        while filled or count:
            take = min(count, len(buffer) - filled)
            read = file.read_into(buffer[filled : filled + take], offset) if take else 0
            if read < take:
                raise EOFError(f"the file ends at {offset + read}, {count - read} bytes too early")
            await self._send(buffer[: filled + take])
            offset, count, filled = offset + take, count - take, 0

    async def _send(self, view: memoryview) -> None:
        """Send all of a small buffer. Until that is done the stream counts as torn."""
        await self._turn.yield_if_over()
        self._torn = True
        sent = await self._drive(self._socket.send, view)
        if sent != len(view):
            raise LocalProtocolError("OpenSSL took a part of a buffer")
        self._torn = False
        self._turn.spend(sent)
        self._queue.sent(sent)

    def _check_sendable(self) -> None:
        if self._closed or self._eof_sent:
            raise trio.ClosedResourceError("this connection was closed here for sending")
        if self._torn:
            raise trio.BrokenResourceError("connection lost: an earlier send was not finished")

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            self._check_sendable()
            await self._wait_writable()
            self._turn.waited()

    async def send_eof(self) -> None:
        """Send close_notify. Reading goes on, but OpenSSL breaks the connection if data of the other side is
        already on its way: end a conversation with messages and `aclose`, not with this."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this connection was closed here")
            if not self._eof_sent:
                self._check_sendable()
                self._eof_sent = True
                await self._close_notify()

    async def _close_notify(self) -> None:
        """Tell the other side that all was sent."""
        while not self._closed:
            self._watch.begin(self._socket)
            try:
                self._socket.unwrap()
                self._ended = True
                return
            except ssl.SSLWantWriteError:
                pass
            except (OSError, ValueError):
                return  # "want read": sent, and its answer is not waited for; or it is gone
            finally:
                self._watch.end()
            await self._wait_writable()

    # --- the end

    async def aclose(self) -> None:
        """Send close_notify if that is true and can be done soon, and close."""
        try:
            if not (self._closed or self._eof_sent or self._torn) and self._peer is not None:
                self._eof_sent = True
                with trio.move_on_after(CLOSE_NOTIFY_S):
                    await self._close_notify()
        finally:
            self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close at once."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._watch.close(self._socket)
            self._readable.closed()
            self._writable.closed()


class TlsTransport:
    """The `Transport` of TLS 1.3 over TCP, for one node in one swarm."""

    def __init__(
        self, identity: Identity, authority: SwarmAuthority, tcp: TcpTransport | None = None
    ) -> None:
        self._tcp = tcp or TcpTransport()
        self._buffers: list[bytearray] = []
        self._watch = CallWatch()
        self._shunned = Shunned()
        self._naps = Naps()
        certificate = authority.issue(identity)
        self._server = context_for(ssl.PROTOCOL_TLS_SERVER, identity, certificate, authority)
        self._client = context_for(ssl.PROTOCOL_TLS_CLIENT, identity, certificate, authority)
        self._server.num_tickets = 0  # no resumption: every connection proves its key

    async def dial(self, address: Address, expected: NodeId | None = None) -> TlsStream:
        stream = await self._tcp.dial(address)
        try:
            secure = await self._secure(stream, self._client)
        except ConnectionLost as error:
            raise DialError(f"cannot reach {address}: {error}") from error
        if expected is not None and not hmac.compare_digest(secure.peer or b"", expected):
            secure.close()
            raise DialError(f"cannot reach {address}: another node answers there")
        return secure

    async def listen(self, host: str | None, port: int) -> list[Listener]:
        return await self._tcp.listen(host, port)

    async def accept(self, stream: Stream) -> TlsStream:
        """The server's handshake, on a stream of one of this transport's listeners; its socket is taken over.

        Raises `HandshakeError`. The caller sets the deadline, and bounds how many go on at once.
        """
        if not isinstance(stream, TcpStream):
            raise LocalProtocolError("this transport accepts what its listeners gave")
        if self._shunned.has(stream.remote.host, trio.current_time()):
            await trio.aclose_forcefully(stream)
            raise HandshakeError("its network has wasted our time lately")
        return await self._secure(stream, self._server)

    async def _secure(self, stream: TcpStream, context: ssl.SSLContext) -> TlsStream:
        remote = stream.remote
        try:
            wrapped = _wrap(stream.detach(), context)
        except OSError as error:
            raise HandshakeError(error.strerror or str(error)) from error
        secure = TlsStream(wrapped, remote, self._buffers, self._watch, self._shunned, self._naps)
        try:
            await secure.handshake()
        except BaseException:
            secure.close()
            raise
        return secure


def _wrap(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(
            sock,
            server_side=context.protocol == ssl.PROTOCOL_TLS_SERVER,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,  # a truncation must be seen
        )
    except BaseException:
        sock.close()
        raise


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason for people."""
    if isinstance(error, ssl.SSLEOFError):
        return "cut off without a goodbye of TLS"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not of this swarm ({error.verify_message})"
    text = (error.reason or error.strerror or str(error)).lower().replace("_", " ")
    if "alert" in text and ("unknown ca" in text or "certificate" in text or "decrypt error" in text):
        return f"it does not take our certificate for one of its swarm ({text})"
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS (one side runs with --plain?)"
    return text

"""Who feeds OpenSSL without end is cut off, and nothing else waits for long."""

import _ssl
import ctypes
import errno
import itertools
import socket
import ssl
import threading
from contextlib import suppress

import pytest
import trio

from peer.errors import HandshakeError, RemoteProtocolError
from peer.identity import Identity
from peer.ids import Address
from peer.limits import TLS_CALL_BYTES, TLS_CALL_LOOKS, TLS_CALL_S
from peer.net import callwatch
from peer.net.callwatch import CallWatch, bytes_taken
from peer.net.swarmca import SwarmAuthority
from peer.net.tcp import TcpTransport
from peer.net.tls import TlsTransport
from peer.net.tlscontext import context_for
from peer.net.transport import Stream

PUBLIC = SwarmAuthority.public()
UPDATES = 40_000
"""Half a second's work for who receives them."""


def flood(address: Address) -> None:
    """Connect, and send key updates and nothing else. The standard library has nothing for that: OpenSSL
    itself is asked, for an object of CPython's, which holds its pointer behind the header and one more."""
    me = Identity.generate()
    context = context_for(ssl.PROTOCOL_TLS_CLIENT, me, PUBLIC.issue(me), PUBLIC)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(address) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        library = ctypes.CDLL(_ssl.__file__)  # finds what it is linked with
        pointer = ctypes.c_void_p.from_address(id(tls._sslobj) + 24)  # type: ignore[attr-defined]
        for _ in range(UPDATES):
            assert library.SSL_key_update(pointer, 0) == 1
            assert library.SSL_do_handshake(pointer) == 1
        with suppress(OSError):
            sock.sendall(outgoing.read())


@pytest.mark.skipif(not hasattr(_ssl, "__file__"), reason="OpenSSL is built into this interpreter")
async def test_key_updates_without_end_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the watch, the event loop stands still for as long as there are any."""
    monkeypatch.setattr(callwatch, "TLS_CALL_S", TLS_CALL_S / 5)
    transport = TlsTransport(Identity.generate(), PUBLIC)
    (listener,) = await transport.listen("127.0.0.1", 0)
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, flood, listener.address)
        async with await transport.accept(await listener.accept()) as stream:
            with pytest.raises(RemoteProtocolError, match="without end"):
                await stream.receive_into(memoryview(bytearray(100)))
            # What a writer does not expect ended its node: the goodbye to whoever does such a thing.
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_frames(b"goodbye")


async def test_in_a_handshake_it_is_a_handshake_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accepts and dials is to raise, whoever calls it."""
    transport = TlsTransport(Identity.generate(), PUBLIC)
    monkeypatch.setattr(transport._watch, "has_cut", lambda sock: True)
    (listener,) = await transport.listen("127.0.0.1", 0)
    async with listener:
        await (await TcpTransport().dial(listener.address)).aclose()
        with pytest.raises(HandshakeError, match="without end"):
            await transport.accept(await listener.accept())


async def test_a_stranger_of_a_network_that_did_so_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = TlsTransport(Identity.generate(), PUBLIC)
    (listener,) = await transport.listen("127.0.0.1", 0)
    monkeypatch.setattr(transport._shunned, "has", lambda host, now: host == "127.0.0.1")
    async with listener, await TcpTransport().dial(listener.address) as stranger:
        with pytest.raises(HandshakeError, match="lately"):
            await transport.accept(await listener.accept())
        assert await stranger.receive_some() == b""


def test_the_thread_is_there_while_sockets_are() -> None:
    watch = CallWatch()
    one, two = socket.socketpair()
    watch.opened()
    watch.opened()
    thread = watch._thread
    assert thread is not None
    watch.close(one)
    assert thread.is_alive()
    watch.close(two)
    thread.join()
    assert watch._thread is None


def test_where_no_thread_can_be_had_the_next_socket_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was an error that nobody caught, and the watch never ran again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watch = CallWatch()
    one, two = socket.socketpair()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        watch.opened()
    watch.opened()
    thread = watch._thread
    assert thread is not None
    assert thread.is_alive()
    watch.close(one)
    watch.close(two)
    thread.join()


def fed() -> CallWatch:
    """Of calls that are found to have taken more from their sockets whenever they are looked at."""
    taken = itertools.count(step=TLS_CALL_BYTES)
    return CallWatch(lambda sock: next(taken))


def test_only_a_call_that_is_found_again_and_again_is_cut_off() -> None:
    watch = fed()
    one, two = socket.socketpair()
    with one, two:
        for _ in range(10 * TLS_CALL_LOOKS):  # always one under way, each another
            watch.begin(one)
            watch._look()
        for _ in range(TLS_CALL_LOOKS - 1):
            watch._look()
        watch.end()
        for _ in range(10 * TLS_CALL_LOOKS):  # none under way
            watch._look()
        assert not watch.has_cut(one)
        one.send(b"still there")
        assert two.recv(100) == b"still there"
        two.send(b"what is on its way is not waited for")
        watch.begin(one)
        for _ in range(TLS_CALL_LOOKS + 1):
            watch._look()
        assert watch.has_cut(one)
        assert not watch.has_cut(two)
        assert one.recv(100) == b""


def test_what_later_calls_have_taken_is_not_held_against_a_call_that_came_back() -> None:
    """Host and processor may come back to the loop just while it is looked: it cut off honest peers."""
    total, overtaken = 0, False

    def take(sock: socket.socket) -> int:
        nonlocal total
        if overtaken:
            watch.end()
            watch.begin(sock)
            total += TLS_CALL_BYTES
        return total

    watch = CallWatch(take)
    one, two = socket.socketpair()
    with one, two:
        for _ in range(3):
            watch.begin(one)
            overtaken = False
            for _ in range(TLS_CALL_LOOKS):
                watch._look()
            overtaken = True
            watch._look()
        assert not watch.has_cut(one)


async def test_each_record_of_a_turn_is_a_call_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte is read in one turn; on a slow machine that took long enough to cut off an honest peer."""
    records = 8
    client, server = (TlsTransport(Identity.generate(), PUBLIC) for _ in range(2))
    (listener,) = await server.listen("127.0.0.1", 0)
    async with listener, trio.open_nursery() as nursery:
        accepted: list[Stream] = []

        async def accept() -> None:
            accepted.append(await server.accept(await listener.accept()))

        nursery.start_soon(accept)
        async with await client.dial(listener.address) as sender:
            while not accepted:
                await trio.lowlevel.checkpoint()
            async with accepted[0] as receiver:
                buffer = memoryview(bytearray(records << 14))
                await sender.send_all(bytes(buffer))  # all of it is there before the first read
                begun: list[socket.socket] = []
                monkeypatch.setattr(server._watch, "begin", begun.append)
                received = 0
                while received < len(buffer):
                    received += await receiver.receive_into(buffer[received:])
                assert len(begun) >= records


def test_a_call_that_stands_still_is_not_cut_off() -> None:
    """On a full machine a call lasts as long as others have the processors, whoever is at its other end; what
    a virtual machine's own clocks say of such a time cut off honest peers."""
    total = 0
    watch = CallWatch(lambda sock: total)
    one, two = socket.socketpair()
    with one, two:
        watch.begin(one)
        for _ in range(10 * TLS_CALL_LOOKS):
            watch._look()
        total = TLS_CALL_BYTES - 1  # a few records
        watch._look()
        assert not watch.has_cut(one)
        total = TLS_CALL_BYTES
        watch._look()
        assert watch.has_cut(one)


def test_where_nobody_tells_what_was_taken_time_must_do() -> None:
    watch = CallWatch(lambda sock: None)
    one, two = socket.socketpair()
    with one, two:
        watch.begin(one)
        for _ in range(TLS_CALL_LOOKS):
            watch._look()
        assert not watch.has_cut(one)
        watch._look()
        assert watch.has_cut(one)


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="Linux tells what a socket has given")
def test_what_was_taken_from_a_socket_is_what_was_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        two, _ = listener.accept()
        with one, two:
            assert bytes_taken(two) == 0
            one.sendall(bytes(1000))
            assert bytes_taken(two) == 0
            assert len(two.recv(300, socket.MSG_WAITALL)) == 300
            assert bytes_taken(two) == 300


def test_without_a_descriptor_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    watch = fed()
    one, two = socket.socketpair()
    with one, two:
        watch.begin(one)
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", lack)
            for _ in range(2 * TLS_CALL_LOOKS):
                watch._look()
        assert not watch.has_cut(one)
        watch._look()
        assert watch.has_cut(one)


@pytest.mark.parametrize(
    ("before", "taken", "fed"),
    [
        (7 * TLS_CALL_BYTES, 8 * TLS_CALL_BYTES, True),
        (7 * TLS_CALL_BYTES, 8 * TLS_CALL_BYTES - 1, False),  # what earlier calls took is not its own
        (None, TLS_CALL_BYTES, True),  # nobody tells: time must do
        (TLS_CALL_BYTES, None, True),
    ],
)
def test_only_what_one_call_has_taken_counts(before: int | None, taken: int | None, fed: bool) -> None:
    assert callwatch._is_fed(before, taken) is fed

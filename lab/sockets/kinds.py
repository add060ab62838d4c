"""Station 5: families and kinds: where an address lives, and what the kernel promises."""

import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from lab.sockets.kernel import address
from lab.sockets.tour import Log, Station, said

ECHOES: Final = 300
DATAGRAMS: Final = 2000
DATAGRAM_BYTES: Final = 1024
RECEIVE_BUFFER_BYTES: Final = 64 * 1024
"""Small on purpose: what does not fit while nobody reads is what UDP loses."""


def run(log: Log) -> str:
    with tempfile.TemporaryDirectory() as folder:
        families: list[tuple[str, socket.AddressFamily, Any]] = [
            ("AF_INET", socket.AF_INET, ("127.0.0.1", 0)),
            ("AF_INET6", socket.AF_INET6, ("::1", 0)),
            ("AF_UNIX", socket.AF_UNIX, str(Path(folder, "meeting-place"))),
        ]
        for name, family, place in families:
            try:
                micros, where = echo(family, place)
            except OSError as error:
                log.remark(f"{name} cannot be shown here: {said(error)}")
                continue
            shown = address(where).replace(folder, "...")
            log.step("both", f"{name}, SOCK_STREAM", f"met at {shown}; there and back in {micros:.0f} µs")
            log.fact(f"{name} round trip, µs", round(micros, 1))
    sent, got, ordered = datagrams()
    log.step("sender", f"UDP: {sent} numbered datagrams, nobody reads", "every send succeeds")
    saw = f"{got} arrived, {sent - got} lost without a word; {'in order' if ordered else 'out of order'}"
    log.step("receiver", "UDP: reads afterwards", saw)
    log.fact("datagrams sent", sent)
    log.fact("datagrams lost", sent - got)
    held, total, whole = stream()
    log.step("sender", "TCP: the same bytes, nobody reads", f"is told to wait after {held:,} bytes")
    log.step(
        "receiver",
        "TCP: reads afterwards",
        f"{total:,} bytes, all of them, {'in order' if whole else 'NOT in order'}",
    )
    log.fact("stream bytes before waiting", held)
    log.fact("stream bytes lost", sent * DATAGRAM_BYTES - total)
    log.fact("stream in order", whole)
    log.data.append({"kind": "datagram", "sent": sent, "arrived": got, "lost": sent - got})
    log.data.append(
        {"kind": "stream", "sent": sent, "arrived": total // DATAGRAM_BYTES, "lost": 0 if whole else 1}
    )
    return (
        "The family says where an address lives: in IPv4, in IPv6, in the file system. The kind says"
        f" what is promised: of {sent} datagrams that nobody read {sent - got} were lost and no one was"
        " told; the stream lost nothing, it made the sender wait. A file needs every byte: that is why"
        " peers use TCP."
    )


def echo(family: socket.AddressFamily, place: Any) -> tuple[float, Any]:
    """(µs for one byte there and back, the address of the meeting place)."""
    with (
        socket.socket(family, socket.SOCK_STREAM) as listener,
        socket.socket(family, socket.SOCK_STREAM) as client,
    ):
        listener.bind(place)
        listener.listen()
        client.connect(listener.getsockname())
        conn, _ = listener.accept()
        with conn:
            started = time.perf_counter()
            for _ in range(ECHOES):
                client.sendall(b"?")
                conn.sendall(conn.recv(1))
                client.recv(1)
            return (time.perf_counter() - started) / ECHOES * 1e6, listener.getsockname()


def datagrams() -> tuple[int, int, bool]:
    """(sent, arrived, whether those that arrived came in order)."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        filler = bytes(DATAGRAM_BYTES - 4)
        for number in range(DATAGRAMS):
            sender.sendto(struct.pack(">I", number) + filler, receiver.getsockname())
        numbers = []
        try:
            while True:
                numbers.append(struct.unpack_from(">I", receiver.recv(DATAGRAM_BYTES))[0])
        except BlockingIOError:
            pass
        return DATAGRAMS, len(numbers), numbers == sorted(numbers)


def stream() -> tuple[int, int, bool]:
    """The same bytes over TCP: (taken before the sender must wait, arrived, whether they are the bytes
    sent)."""
    content = b"".join(struct.pack(">I", number) + bytes(DATAGRAM_BYTES - 4) for number in range(DATAGRAMS))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sender:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, RECEIVE_BUFFER_BYTES)
        sender.connect(listener.getsockname())
        receiver, _ = listener.accept()
        with receiver:
            sender.setblocking(False)
            receiver.settimeout(5)
            sent = held = _send_all_it_takes(sender, content)
            arrived = bytearray()
            while sent < len(content) or len(arrived) < len(content):
                arrived += receiver.recv(1 << 20)
                sent += _send_all_it_takes(sender, content[sent:])
            return held, len(arrived), arrived == content


def _send_all_it_takes(sender: socket.socket, content: bytes) -> int:
    sent = 0
    try:
        while sent < len(content):
            sent += sender.send(content[sent:])
    except BlockingIOError:
        pass
    return sent


STATION = Station(
    5,
    "Families and kinds",
    "Sockets come in families (where does the address live?) and kinds (what is promised?). What differs?",
    run,
)

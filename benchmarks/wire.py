"""What the wire costs: microseconds a message, and how fast payload passes through, memory to memory.

    python -m benchmarks.wire [--rounds 9]

Messages: a whole frame out (`encode`) and a header in (`decode`), against bare msgpack of the same map, which
is what cannot be saved. Small frames: haves received by a session, events and all. Payload: pieces from the
request to the last byte of the answer, the work of both sides, against copying the same bytes in the same
portions, which is what the socket does; the difference is what the wire adds to a piece.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]

from benchmarks.machine import describe
from peer.buffers import BufferPool
from peer.ids import Address, NodeId, PieceIndex, RequestId, ShareId
from peer.limits import KIB, MIB
from peer.wire.codec import decode, encode
from peer.wire.messages import Cancel, Data, Have, Hello, KnownPeer, Message, Peers, Ping, Request
from peer.wire.session import Answered, Session

HELLO = Hello(1, ShareId(bytes(32)), NodeId(bytes(32)), 256, 7701, "benchmark")
KNOWN = KnownPeer(Address("192.0.2.1", 7701), NodeId(bytes(32)))

MESSAGES: tuple[tuple[str, Message], ...] = (
    ("data", Data(RequestId(1234), 262_144, 1_048_576, 262_144)),
    ("request", Request(RequestId(1234), PieceIndex(4567))),
    ("have, 1 piece", Have((PieceIndex(4567),))),
    ("have, 100 pieces", Have(tuple(PieceIndex(i * 37) for i in range(100)))),
    ("cancel", Cancel(RequestId(1234))),
    ("ping", Ping(7)),
    ("peers, 50", Peers((KNOWN,) * 50)),
    ("hello", HELLO),
)

PAYLOAD_BYTES = 512 * MIB
"""Passed in a round: long against the timer, short against the reader's patience."""

RECEIVE_BYTES = 256 * KIB
"""What a socket gives at once when it is full."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=9, help="alternated rounds (default: 9)")
    rounds = options.parse_args().rounds
    print(describe("msgpack"))
    show_messages(rounds)
    show_small_frames(rounds)
    for payload in (64 * KIB, 256 * KIB, MIB):
        show_payload(payload, rounds)


def show_messages(rounds: int) -> None:
    print(
        f"{'microseconds':<20}{'encode':>8}{'packb':>8}{'ratio':>7}{'decode':>10}{'unpackb':>9}{'ratio':>7}"
    )
    for name, message in MESSAGES:
        header = encode(message)[4:]
        fields = msgpack.unpackb(header)
        number = 200 if len(header) > 500 else 5000
        times = alternate(
            rounds,
            number,
            (encode, message),
            (msgpack.packb, fields),
            (decode, header),
            (msgpack.unpackb, header),
        )
        out, bare_out, into, bare_in = (statistics.median(each) * 1e6 for each in times)
        print(
            f"{name:<20}{out:>8.2f}{bare_out:>8.2f}{out / bare_out:>7.1f}"
            f"{into:>10.2f}{bare_in:>9.2f}{into / bare_in:>7.1f}"
        )


def alternate(rounds: int, number: int, *sides: tuple[Callable[[Any], object], Any]) -> list[list[float]]:
    """Seconds a call, for each side in each round."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for (function, argument), result in zip(sides, times, strict=True):
            begun = time.perf_counter()
            for _ in range(number):
                function(argument)
            result.append((time.perf_counter() - begun) / number)
    return times


def open_pair() -> tuple[Session, Session, BufferPool]:
    pool = BufferPool()
    getter, seeder = Session(buffers=pool), Session(buffers=pool)
    receive(seeder, getter.greet(HELLO))
    receive(getter, seeder.greet(HELLO))
    return getter, seeder, pool


def receive(session: Session, stream: bytes) -> int:
    """Feed a stream; how many events came out."""
    view, events = memoryview(stream), 0
    while view:
        buffer = session.get_buffer()
        count = min(len(buffer), len(view))
        buffer[:count] = view[:count]
        events += len(session.buffer_updated(count))
        view = view[count:]
    return events


def show_small_frames(rounds: int) -> None:
    """A burst of haves."""
    getter, seeder, _ = open_pair()
    receive(getter, seeder.bitfield(bytes(1000)))
    haves = b"".join(seeder.send(Have((PieceIndex(i % 8000),))) for i in range(10_000))
    have_s = []
    for _ in range(rounds):
        begun = time.perf_counter()
        receive(getter, haves)
        have_s.append((time.perf_counter() - begun) / 10_000)
    median = statistics.median(have_s) * 1e6
    print(f"have, received by a session: {median:.2f} microseconds, {1e6 / median:,.0f} a second")


def show_payload(payload: int, rounds: int) -> None:
    getter, seeder, pool = open_pair()
    source = memoryview(bytearray(payload))
    copied = memoryview(bytearray(payload))
    frames = PAYLOAD_BYTES // payload
    framed_s, copied_s = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(frames):
            pass_piece(getter, seeder, pool, source)
        framed_s.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for _ in range(frames):
            for start in range(0, payload, RECEIVE_BYTES):
                copied[start : start + RECEIVE_BYTES] = source[start : start + RECEIVE_BYTES]
        copied_s.append(time.perf_counter() - begun)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(framed_s, copied_s, strict=True))
    ours, theirs = (PAYLOAD_BYTES / statistics.median(each) / 1e6 for each in (framed_s, copied_s))
    extra = (statistics.median(framed_s) - statistics.median(copied_s)) / frames * 1e6
    print(
        f"pieces of {payload // KIB} KiB, request to answer: {ours:,.0f} MB/s; bare copy {theirs:,.0f} MB/s; "
        f"ratio of times {ratio:.2f}; the wire adds {extra:.0f} microseconds a piece"
    )


def pass_piece(getter: Session, seeder: Session, pool: BufferPool, source: memoryview) -> None:
    """A request and its answer in one `data` frame: both sides' whole work, the payload copied once."""
    request, asked = getter.request(PieceIndex(1), len(source))
    receive(seeder, asked)
    receive(getter, seeder.data_header(request, 0, len(source), len(source)))
    position = 0
    while position < len(source):
        buffer = getter.get_buffer()
        count = min(len(buffer), RECEIVE_BYTES, len(source) - position)
        buffer[:count] = source[position : position + count]
        position += count
        for event in getter.buffer_updated(count):
            if isinstance(event, Answered):
                pool.release(event.buffer)


if __name__ == "__main__":
    main()

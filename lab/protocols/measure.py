"""Bytes on the wire, and how long encoding and decoding take."""

import gc
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

from lab.protocols.grammars import GRAMMARS, Decoder, Grammar
from lab.protocols.messages import Answer, Listing, Message, Request

PIECE_BYTES: Final = 64 * 1024

SAMPLES: Final[dict[str, Message]] = {
    "request": Request(id=4711, share=hashlib.sha256(b"share").digest(), piece=1023),
    "listing of 100 files": Listing(
        id=4711, files=tuple((f"photos/summer/DSC_{i:05}.jpg", 2_000_000 + 7919 * i) for i in range(100))
    ),
    "piece of 64 KiB": Answer(id=4711, piece=1023, data=hashlib.shake_128(b"piece").digest(PIECE_BYTES)),
}
"""The same three messages for every grammar; the data is incompressible, as good data is."""

ROUNDS: Final = 7
"""Repetitions of a measurement; the fastest counts: whatever is slower was disturbed by something else."""


def rows(seconds_each: float) -> list[dict[str, Any]]:
    """One row a grammar and message. `seconds_each`: time spent on one measurement."""
    least = {name: min(len(g.encode(m)) for g in GRAMMARS) for name, m in SAMPLES.items()}
    return [
        {
            "grammar": grammar.name,
            "message": name,
            "wire_bytes": (size := len(grammar.encode(message))),
            "against_smallest": size / least[name],
            **_times(grammar, message, seconds_each),
        }
        for name, message in SAMPLES.items()
        for grammar in GRAMMARS
    ]


def _times(grammar: Grammar, message: Message, seconds_each: float) -> dict[str, float]:
    whole = grammar.encode(message)
    assert Decoder(grammar).feed(whole) == [message]
    return {
        "encode_us": _fastest(lambda: grammar.encode(message), seconds_each) * 1e6,
        "decode_us": _fastest(lambda: Decoder(grammar).feed(whole), seconds_each) * 1e6,
    }


def _fastest(action: Callable[[], Any], seconds_each: float) -> float:
    """Seconds that one call takes in the best of ROUNDS rounds, which last `seconds_each` together."""
    started = time.perf_counter()
    action()
    once = max(time.perf_counter() - started, 1e-7)
    calls = max(1, int(seconds_each / ROUNDS / once))
    best = float("inf")
    gc.disable()
    try:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(calls):
                action()
            best = min(best, (time.perf_counter() - started) / calls)
    finally:
        gc.enable()
    return best

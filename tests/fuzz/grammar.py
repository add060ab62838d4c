"""Makes inputs for the targets: legal ones from the grammar, spoilt ones from these, and noise.

Integers are drawn from the edges, because that is where parsers break. A conversation keeps books of its own,
so that whole answers, cancels and rejects of real requests occur and the far corners of the session are
reached; it is then spoilt in a place or two, or not at all.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]
from blake3 import blake3

from peer.errors import ByeCode, RejectCode
from peer.wire.messages import AnnounceEvent, PublishCode
from tests.fuzz.targets import MANIFEST_BYTES_MAX, WINDOW, piece_length

# --- values


INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
"""What msgpack can say."""


def integer(rng: Random, low: int = INTEGER_MIN, high: int = INTEGER_MAX) -> int:
    """Some integer between the two, mostly near an edge or a power of two."""
    near = rng.choice((low, high, 0, 2 ** rng.randrange(64), 500_000, 2**24, 2**25))
    value = near + rng.choice((-1, 0, 0, 0, 1)) if rng.random() < 0.7 else rng.randint(low, high)
    return min(max(value, low), high)


def odd_value(rng: Random, depth: int = 0) -> Any:
    """Anything that msgpack can say."""
    kind = rng.randrange(14 if depth < 4 else 10)
    plain: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: integer(rng),
        lambda: rng.choice((0.0, -1.5, float("inf"), float("nan"))),
        lambda: "x" * rng.choice((0, 1, 32, 200, 201, 4096, 4097)),
        lambda: rng.randbytes(rng.choice((0, 1, 31, 32, 33, 4096, 4097))),
        lambda: rng.choice(("\x00", "\x1b[31m", "\u202e", "é" * 101, "hello", "payload", "..", "\U0001f600")),
        lambda: msgpack.ExtType(rng.randrange(128), rng.randbytes(rng.choice((0, 1, 4, 12)))),
        list,
        dict,
    )
    if kind < len(plain):
        return plain[kind]()
    size = rng.choice((1, 2, 3, 64, 65)) if depth == 0 else rng.randrange(4)
    if kind % 2:
        return [odd_value(rng, depth + 1) for _ in range(size)]
    return {str(i) if rng.random() < 0.9 else i: odd_value(rng, depth + 1) for i in range(size)}


def _peer_list(rng: Random) -> list[list[Any]]:
    hosts = ("10.0.0.1", "::1", "example.org", "a" * 253, "fe80::1%eth0")
    return [
        [rng.choice(hosts), rng.choice((1, 7701, 65535)), rng.choice((None, rng.randbytes(32)))]
        for _ in range(rng.choice((0, 1, 3, 50)))
    ]


def _id(rng: Random) -> int:
    return rng.randrange(WINDOW + 2) if rng.random() < 0.9 else integer(rng, 0, 2**32 - 1)


def _text(rng: Random) -> str:
    return rng.choice(("", "test/1.0", "x" * 200, "é" * 100))


def _name(rng: Random) -> str:
    names = (
        "a name",
        "Ein Name 2026",
        "..",
        "a/b",
        "\u202egpj",
        "x" * 240,
        "é" * 120,
        "\x1b[2J",
        "",
        "名前 2",
    )
    return rng.choice(names)


def _entry(rng: Random) -> dict[str, Any]:
    return {
        "name": _name(rng),
        "share": rng.randbytes(32),
        "size": integer(rng, 0, 2**43),
        "serial": integer(rng, 1, 2**63 - 1),
        "key": rng.randbytes(32),
        "signature": rng.randbytes(64),
    }


FIELDS: Final[dict[str, Callable[[Random], dict[str, Any]]]] = {
    "hello": lambda rng: {
        "version": 1 if rng.random() < 0.9 else integer(rng, 0, 65535),
        "share": bytes(32),
        "node": rng.randbytes(32),
        "window": integer(rng, 1, 65535),
        "port": integer(rng, 0, 65535),
        "agent": _text(rng),
    },
    "bitfield": lambda rng: {"payload": rng.choice((0, 1, 10, 5000, 62_500))},
    "have": lambda rng: {"pieces": [integer(rng, 0, 499_999) for _ in range(rng.choice((1, 2, 30, 256)))]},
    "interested": lambda rng: {"on": rng.random() < 0.5},
    "choke": lambda rng: {"on": rng.random() < 0.5},
    "request": lambda rng: {"id": _id(rng), "piece": integer(rng, 0, 499_999)},
    "request_manifest": lambda rng: {"id": _id(rng)},
    "data": lambda rng: {
        "id": _id(rng),
        "offset": integer(rng, 0, 2**25 - 1),
        "total": integer(rng, 1, 2**25),
        "payload": rng.choice((1, 2, 100, 5000)),
    },
    "reject": lambda rng: {"id": _id(rng), "code": rng.choice((*RejectCode, 77))},
    "cancel": lambda rng: {"id": _id(rng)},
    "ping": lambda rng: {"number": integer(rng, 0, 2**63 - 1)},
    "pong": lambda rng: {"number": rng.choice((1, integer(rng, 0, 2**63 - 1)))},
    "peers": lambda rng: {"peers": _peer_list(rng)},
    "bye": lambda rng: {"code": rng.choice((*ByeCode, 77)), "reason": _text(rng)},
    "announce": lambda rng: {
        "version": 1,
        "share": bytes(32),
        "node": rng.randbytes(32),
        "port": integer(rng, 0, 65535),
        "event": rng.choice(list(AnnounceEvent)).value,
        "left": integer(rng, 0, 2**63 - 1),
        "want": integer(rng, 0, 65535),
    },
    "announced": lambda rng: {
        "interval": integer(rng, 1, 2**32 - 1),
        "seeders": integer(rng, 0, 2**32 - 1),
        "leechers": integer(rng, 0, 2**32 - 1),
        "peers": _peer_list(rng),
    },
    "publish": lambda rng: {"version": 1} | _entry(rng),
    "published": lambda rng: {
        "code": rng.choice((*PublishCode, 77)),
        "interval": integer(rng, 1, 2**32 - 1),
        "holder": rng.randbytes(32),
        "serial": integer(rng, 0, 2**63 - 1),
    },
    "search": lambda rng: {
        "version": 1,
        "words": [_name(rng) for _ in range(rng.choice((0, 1, 2, 8)))],
        "name": rng.choice(("", _name(rng))),
        "node": rng.choice((bytes(32), rng.randbytes(32))),
        "after": integer(rng, 0, 2**63 - 1),
        "want": integer(rng, 0, 65535),
    },
    "found": lambda rng: {
        "epoch": integer(rng, 0, 2**63 - 1),
        "next": integer(rng, 0, 2**63 - 1),
        "more": rng.random() < 0.5,
        "names": integer(rng, 0, 2**32 - 1),
        "listings": [
            [*_entry(rng).values(), rng.randrange(9), integer(rng, 0, 2**32 - 1)]
            for _ in range(rng.choice((0, 1, 3, 100)))
        ],
    },
    "hologram": lambda rng: {"payload": rng.choice((0, 1, 5000)), "what": odd_value(rng)},
}
"""Every kind with legal fields, and one that nobody knows."""


def legal_fields(rng: Random, kind: str | None = None) -> dict[str, Any]:
    """A legal header as a map."""
    kind = kind or rng.choice(list(FIELDS))
    return {"kind": kind} | FIELDS[kind](rng)


# --- spoiling


def spoil_fields(rng: Random, fields: dict[str, Any]) -> dict[Any, Any]:
    """Change a header's fields in one way."""
    name = rng.choice(list(fields))
    match rng.randrange(6):
        case 0:
            return fields | {name: odd_value(rng)}
        case 1:
            return {key: value for key, value in fields.items() if key != name}
        case 2:
            return fields | {rng.choice(("x", "payload", "", b"kind", 5)): odd_value(rng)}
        case 3:
            return fields | {name: fields[rng.choice(list(fields))]}
        case 4:
            name = rng.choice([key for key, value in fields.items() if type(value) is int] or [name])
            value = fields[name] if type(fields[name]) is int else 0
            return fields | {name: min(max(value + rng.choice((-1, 1)), INTEGER_MIN), INTEGER_MAX)}
        case _:
            return fields | {name: integer(rng)}


def spoil_bytes(rng: Random, data: bytes) -> bytes:
    """Change some bytes in one way."""
    if not data:
        return rng.randbytes(rng.randrange(10))
    place = rng.randrange(len(data))
    length = rng.choice((1, 1, 2, 4, 30))
    before, here, after = data[:place], data[place : place + length], data[place + length :]
    # Heads of long or strange values, where msgpack expects the head of a short one.
    head = rng.choice((0xC1, 0xC6, 0xC9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xFF, 0x00, 0x9F, 0x8F))
    middle = rng.choice(
        (
            bytes([here[0] ^ 1 << rng.randrange(8)]) + here[1:],
            rng.randbytes(length),
            b"",
            here * rng.choice((2, 3, 50)),
            rng.randbytes(length) + here,
            bytes([head]) + here[1:],
        )
    )
    return before + middle + (after if rng.random() < 0.9 else b"")


def pack(fields: object) -> bytes:
    header: bytes = msgpack.packb(fields)
    return header


def frame(fields: dict[Any, Any], payload: bytes | None = None) -> bytes:
    """A frame with the payload that its header names, if it names a sane one."""
    header = pack(fields)
    if payload is None:
        count = fields.get("payload", 0)
        payload = bytes(count) if type(count) is int and 0 < count < 100_000 else b""
    return len(header).to_bytes(4, "big") + header + payload


# --- inputs


def wire_input(rng: Random) -> bytes:
    """A setup and a stream for the `wire` target."""
    setup = rng.randbytes(4)
    if rng.random() < 0.6:
        setup = bytes([2 + rng.randrange(2)]) + setup[1:]
    headers = _conversation(rng, setup) if setup[0] % 4 >= 2 else _opening(rng)
    frames = [frame(fields) for fields in headers]
    if rng.random() < 0.7 and frames:
        place = rng.randrange(len(frames))
        spoilt = (
            lambda: frame(spoil_fields(rng, headers[place])),
            lambda: frame(spoil_fields(rng, headers[place])),
            lambda: spoil_bytes(rng, frames[place]),
            lambda: frame(legal_fields(rng)),
            lambda: frames[place] * 2,
            lambda: frames[rng.randrange(len(frames))],
            lambda: rng.randbytes(rng.randrange(60)),
        )
        frames[place] = rng.choice(spoilt)()
    return setup + b"".join(frames)


def _opening(rng: Random) -> list[dict[str, Any]]:
    first = legal_fields(rng, "hello" if rng.random() < 0.8 else None)
    return [first, *(legal_fields(rng) for _ in range(rng.randrange(4)))]


def _conversation(rng: Random, setup: bytes) -> list[dict[str, Any]]:
    """What an honest side would send to one that has made that many requests (and a ping)."""
    said: list[dict[str, Any]] = []
    open_requests = list(range(setup[1] % (WINDOW + 1)))
    totals = {i: rng.randint(1, MANIFEST_BYTES_MAX) if i % 5 == 4 else piece_length(i) for i in open_requests}
    current, done, asked, pings, told = -1, 0, 0, 0, False
    for _ in range(rng.randrange(30)):
        step = rng.randrange(9)
        if step <= 2 and open_requests:
            if current < 0:
                current, done = rng.choice(open_requests), 0
            total = totals[current]
            count = total - done if rng.random() < 0.5 else rng.randint(1, total - done)
            said.append({"kind": "data", "id": current, "offset": done, "total": total, "payload": count})
            done += count
            if done == total:
                open_requests.remove(current)
                current = -1
        elif step == 3 and open_requests and rng.random() < 0.5:
            victim = rng.choice(open_requests)
            said.append({"kind": "reject", "id": victim, "code": rng.randrange(5)})
            open_requests.remove(victim)
            current = -1 if victim == current else current
        elif step == 4 and asked < WINDOW:
            kind = rng.choice(("request", "request", "request_manifest"))
            said.append({"kind": kind, "id": asked, "piece": rng.randrange(100)})
            asked += 1
        elif step == 5 and asked and rng.random() < 0.3:
            said.append({"kind": "cancel", "id": asked - 1})
            asked += 1  # not twice
        elif step == 6 and not told:
            said.append({"kind": "bitfield", "payload": rng.choice((0, 1, 900))})
            told = True
        elif step == 7 and pings < 4:
            said.append({"kind": "ping", "number": pings})
            pings += 1
        else:
            said.append(
                legal_fields(
                    rng, rng.choice(("interested", "choke", "peers", "have" if told else "hologram"))
                )
            )
    if rng.random() < 0.1:
        said.append(legal_fields(rng, "bye"))
    return said


def codec_input(rng: Random) -> bytes:
    """A header."""
    fields = legal_fields(rng)
    choice = rng.random()
    if choice < 0.1:
        return pack(fields)
    if choice < 0.5:
        return pack(spoil_fields(rng, fields))
    if choice < 0.9:
        return spoil_bytes(rng, pack(fields))
    if choice < 0.95:
        return rng.randbytes(rng.randrange(200))
    # Much from little: nesting and long containers.
    heads = (
        b"\xdc\x04\x00",
        b"\xdd\x00\x00\x04\x00",
        b"\x91",
        b"\x9f",
        b"\x81\xa0",
        b"\xdf\x00\x00\x00\x40",
        b"\x80",
    )
    return b"\x82\xa4kind\xa4ping\xa1x" + rng.choice(heads) * rng.choice((10, 1000, 1023, 5000, 20_000))


def framing_input(rng: Random) -> bytes:
    """A stream of frames in no order that makes sense."""
    frames = [frame(legal_fields(rng)) for _ in range(rng.randrange(5))]
    data = b"".join(frames)
    return data if rng.random() < 0.4 else spoil_bytes(rng, data)


NAMES: Final = (
    "a",
    "b.txt",
    "dir",
    "..",
    ".",
    "",
    "con",
    "a/b",
    "a\\b",
    "x" * 241,
    "é",
    "e\u0301",
    "A",
    "\x00",
    "~",
)


def _manifest_fields(rng: Random) -> dict[str, Any]:
    piece_bytes = 16_384 if rng.random() < 0.9 else integer(rng, 0)
    names = sorted(rng.sample(("a", "b", "c", "d/e", "d/f", "g", "h"), rng.randrange(1, 6)))
    sizes = [rng.choice((0, 1, 100, 16_383, 16_384, 50_000)) for _ in names]
    digest = {0: blake3(b"").digest()}
    files = [
        [name.split("/"), size, digest.get(size, bytes(32)), rng.random() < 0.2]
        for name, size in zip(names, sizes, strict=True)
    ]
    large = sum(-(-size // 16_384) for size in sizes if size >= 16_384)
    packed = sum(size for size in sizes if size < 16_384)
    count = large + -(-packed // 16_384)
    return {
        "files": files,
        "folders": [],
        "piece_bytes": piece_bytes,
        "pieces": bytes(32 * count),
        "version": 1,
    }


def manifest_input(rng: Random) -> bytes:
    """A manifest: good, with wrong values, or with wrong bytes."""
    fields = _manifest_fields(rng)
    choice = rng.random()
    if choice < 0.5:
        for _ in range(rng.choice((0, 1, 2))):
            entry = rng.choice(fields["files"])
            place = rng.randrange(4)
            entry[place] = (
                [rng.choice(NAMES) for _ in range(rng.randrange(4))] if place == 0 else odd_value(rng)
            )
        return pack(fields)
    if choice < 0.7:
        return pack(spoil_fields(rng, fields))
    if choice < 0.95:
        return spoil_bytes(rng, pack(fields))
    return b"\x85\xa5files" + rng.choice((b"\x91", b"\xdd\xff\xff\xff\xff", b"\x9f")) * rng.randrange(3000)


def magnet_input(rng: Random) -> bytes:
    """A link: good, odd, or cut."""
    values = (
        "",
        "a",
        "..",
        "10.0.0.1:7701",
        "[::1]:1",
        "h:99999",
        "%00",
        "%ff",
        "x" * 300,
        "ab" * 32 + "@h:1",
        "é",
    )
    fields = [f"xt=urn:blake3:{rng.randbytes(32).hex()}"]
    for _ in range(rng.choice((0, 1, 3, 3, 200))):
        key = rng.choice(("dn", "xl", "tr", "x.pe", "xt", "ws", "", "TR"))
        value = str(integer(rng)) if key == "xl" else rng.choice(values)
        fields.append(f"{key}={value}")
    rng.shuffle(fields)
    data = ("magnet:?" + "&".join(fields)).encode()
    return data if rng.random() < 0.5 else spoil_bytes(rng, data)


INPUTS: Final[dict[str, Callable[[Random], bytes]]] = {
    "wire": wire_input,
    "codec": codec_input,
    "framing": framing_input,
    "manifest": manifest_input,
    "magnet": magnet_input,
}

"""What others were attacked with, tried on us: each test is named by the advisory whose class it holds shut.

Those that need processes, sockets or disks: tests/real/test_known_vulnerabilities.py.
"""

import ast
import tracemalloc
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from blake3 import blake3

from peer.buffers import BufferPool
from peer.errors import LinkError, ManifestError, RemoteProtocolError
from peer.ids import ShareId
from peer.limits import HEADER_BYTES_MAX, LINK_TRACKERS_MAX, SHARE_BYTES_MAX
from peer.magnet import parse
from peer.manifest import FileEntry, Manifest
from peer.paths import check_component, printable
from peer.wire.codec import decode
from peer.wire.session import Session
from tests.pure.wire_helpers import feed, frame, pack
from tests.pure.wire_violations import VIOLATIONS, asked_session

ROOT = Path(__file__).parents[2]
LINK = f"magnet:?xt=urn:blake3:{'ab' * 32}"
ESCAPES = "\x1b[2J\x1b]0;owned\x07"
PIECE = 16 * 1024


def hostile_manifest(path: tuple[str, ...]) -> bytes:
    """What a malicious sharer serves: its hashes are right, and one path is what it is."""
    joined = "/".join(path)
    harmless = "x" * len(joined.encode())
    data = b"bytes"
    digest = blake3(data).digest()
    manifest = Manifest(PIECE, (FileEntry((harmless,), len(data), digest, False),), (), digest)
    return manifest.encode().replace(harmless.encode(), joined.encode())


def refuses(path: tuple[str, ...]) -> None:
    """The manifest has the very hash that the link names, and is refused all the same."""
    encoded = hostile_manifest(path)
    with pytest.raises(ManifestError):
        Manifest.decode(encoded, ShareId(blake3(encoded).digest()))


def test_CVE_2009_1760_dots_in_a_file_list() -> None:
    refuses(("..",))
    refuses(("a", "..", "..", "etc", "passwd"))
    refuses(("", "etc", "passwd"))


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "..", ".", "a/b", "a\\b", "nul", "x\0y", "", "%2e%2e/%2e%2e/evil"]
)
def test_CVE_2010_1512_a_link_names_its_file(name: str) -> None:
    with pytest.raises(LinkError):
        parse(f"{LINK}&dn={name}")


@pytest.mark.parametrize(
    "name",
    ["..", "....//", "..\\", "../", "./..", "..\0", "a/../b", "\u2215..\u2215/", ".\u202e.", "..\n", "/.."],
)
def test_CVE_2007_1799_incomplete_filters(name: str) -> None:
    """Nothing is filtered, so nothing is left over: a name is legal or refused."""
    with pytest.raises(ValueError, match="name"):
        check_component(name)


@pytest.mark.parametrize(
    "path", [("..",), ("a", "..", "b"), ("con",), ("a\x1b[2J",), ("a\u202eb",), ("a\0b",)]
)
def test_CVE_2026_57079_metadata_from_a_peer_with_the_right_hash(path: tuple[str, ...]) -> None:
    refuses(path)


def test_CVE_2014_9390_names_that_some_disks_take_for_others() -> None:
    """Two names that one of them would replace where case or invisible characters do not count."""
    digest = blake3(b"").digest()
    for one, other in (("a", "A"), (".git", ".gi\u200ct"), ("\u00e9", "\u00c9")):
        files = tuple(FileEntry((name,), 0, digest, False) for name in sorted((one, other)))
        with pytest.raises(ManifestError):
            Manifest.decode(Manifest(PIECE, files, (), b"").encode())


def test_GHSA_364c_vvqx_446c_escapes_in_a_name() -> None:
    """croc: a file's name took over the receiver's terminal."""
    refuses((f"a{ESCAPES}b",))
    shown = printable(f"a{ESCAPES}b")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    with pytest.raises(LinkError) as caught:
        parse(f"{LINK}&dn={ESCAPES}")
    assert "\x1b" not in str(caught.value)


def test_CVE_2018_5702_a_web_page_talks_to_the_port() -> None:
    """DNS rebinding: there is no HTTP here, and its first line ends the connection."""
    session = Session(buffers=BufferPool())
    with pytest.raises(RemoteProtocolError):
        feed(session, b"GET /transmission/rpc HTTP/1.1\r\nHost: evil.example\r\n\r\n")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("peer", "tracker"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "sim" in path.parts:  # runs in no program of ours
                continue
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def test_CVE_2023_30801_and_CVE_2019_13640_nothing_is_ever_executed() -> None:
    """qBittorrent ran "external programs" with names from torrents on their command lines."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"subprocess", "pty", "pickle", "marshal", "shelve"} & set(names), path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert not node.attr.startswith(("exec", "spawn", "system", "popen")), path
            if isinstance(node, ast.Name):
                assert node.id not in {"eval", "exec"}, path


def test_CVE_2024_51774_verification_is_never_switched_off() -> None:
    """qBittorrent ignored all TLS errors for fourteen years: there is no way to say so here."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context"}, path


@pytest.mark.parametrize("length", [-1, -(2**31), -(2**63)])
def test_CVE_2021_21404_a_negative_length(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(pack({"kind": "data", "id": 0, "offset": 0, "total": 8, "payload": length}))
    us, _ = asked_session()
    with pytest.raises(RemoteProtocolError):
        feed(us, (length & 0xFFFFFFFF).to_bytes(4, "big"))


def test_CVE_2010_1853_many_trackers_in_a_link() -> None:
    for count in (LINK_TRACKERS_MAX + 1, 100, 10_000):
        with pytest.raises(LinkError):
            parse(LINK + "".join(f"&tr=t{n}:1" for n in range(count)))


def test_CVE_2018_10756_a_manifest_whose_sizes_do_not_fit() -> None:
    """Transmission freed what it went on using; here sizes and hashes must agree before anything is made."""
    digest = blake3(b"").digest()
    for size in (SHARE_BYTES_MAX + 1, 2**63, 2**64 - 1):
        with pytest.raises(ManifestError):
            Manifest.decode(Manifest(PIECE, (FileEntry(("a",), size, digest, False),), (), digest).encode())


def test_CVE_2026_110789_empty_frames_are_no_progress() -> None:
    """js-libp2p read frames of length zero for ever."""
    us, _ = asked_session()
    with pytest.raises(RemoteProtocolError):
        feed(us, bytes(4))


def test_CVE_2026_114613_and_GHSA_6v7p_g79w_8964_msgpack() -> None:
    """Leaks and crashes of older versions, and what any version does with arrays that promise too much."""
    assert tuple(map(int, version("msgpack").split(".")[:3])) >= (1, 2, 3)
    nested = b"\xdc\xea\x60" * (HEADER_BYTES_MAX // 3)  # arrays of 60,000, one in the other
    tracemalloc.start()
    try:
        for _ in range(100):
            with pytest.raises(RemoteProtocolError):
                decode(nested)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_CVE_2023_25568_an_endless_want_list() -> None:
    """IPFS kept whatever a peer asked for; here the window that we announced is the end of it."""
    us, _ = asked_session()
    stream, text = VIOLATIONS["more requests than our window"]
    with pytest.raises(RemoteProtocolError, match=text):
        feed(us, stream)


def test_GHSA_6fcr_9h9g_23fq_blocks_that_nobody_asked_for() -> None:
    """js-ipfs-bitswap stored them."""
    us, _ = asked_session()
    stream, text = VIOLATIONS["data that nobody asked for"]
    with pytest.raises(RemoteProtocolError, match=text):
        feed(us, stream)


def test_GHSA_j7qp_mfxf_8xjw_streams_without_end() -> None:
    """libp2p's peers opened streams until memory ended: unknown messages, too, are skipped at no cost."""
    us, _ = asked_session()
    tracemalloc.start()
    try:
        for number in range(2000):
            feed(us, frame({"kind": f"open-{number}", "stream": number}))
        assert tracemalloc.get_traced_memory()[0] < 256 * 1024
    finally:
        tracemalloc.stop()

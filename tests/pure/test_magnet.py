"""A link reads back as it was written; a bad one says in a line what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import LinkError
from peer.ids import Address, KnownPeer, NodeId, ShareId
from peer.limits import LINK_CHARS_MAX, LINK_PEERS_MAX, LINK_TRACKERS_MAX, NAME_BYTES_MAX, SHARE_BYTES_MAX
from peer.magnet import MagnetLink, parse
from peer.paths import check_component, printable

HASH = "0123456789abcdef" * 4
SHARE = ShareId(bytes.fromhex(HASH))
NODE = NodeId(b"\xcd" * 32)
BASE = f"magnet:?xt=urn:blake3:{HASH}"
FULL = (
    f"{BASE}&dn=an%20%C3%A9t%C3%A9%20%26%20more%2B.iso&xl=1234"
    f"&tr=tracker.example:7700&tr=%5B2001:db8::1%5D:7700"
    f"&x.pe=10.0.0.1:7701&x.pe={NODE.hex()}@peer.example:7701"
)


def test_a_full_link_reads_and_writes() -> None:
    link = MagnetLink(
        SHARE,
        "an été & more+.iso",
        1234,
        (Address("tracker.example", 7700), Address("2001:db8::1", 7700)),
        (KnownPeer(Address("10.0.0.1", 7701)), KnownPeer(Address("peer.example", 7701), NODE)),
    )
    assert str(link) == FULL
    assert parse(FULL) == link


def test_a_bare_hash_is_enough() -> None:
    assert parse(BASE) == MagnetLink(SHARE)
    assert str(MagnetLink(SHARE)) == BASE


@pytest.mark.parametrize(
    "text",
    [
        f"  {BASE}\n",
        BASE.replace("magnet", "MAGNET"),
        f"magnet:?xt=URN:BLAKE3:{HASH.upper()}",
        f"magnet:?XT=urn:blake3:{HASH}",
        f"{BASE}&unknown=1&x.foo=%20&as=http://example",
        f"{BASE}&xt=urn:btih:{'0' * 40}",
        f"{BASE}&xt=urn:blake3:{HASH}",
        f"{BASE}&&",
        f"magnet:?xt=urn%3Ablake3%3A{HASH}",
    ],
)
def test_variants_that_mean_the_same(text: str) -> None:
    assert parse(text) == MagnetLink(SHARE)


def test_repeated_hints_count_once() -> None:
    link = parse(f"{BASE}&tr=a:1&tr=a:1&tr=b:1&x.pe=c:1&x.pe=c:1")
    assert link.trackers == (Address("a", 1), Address("b", 1))
    assert link.peers == (KnownPeer(Address("c", 1)),)


BAD = {
    "nothing": ("", "begin with"),
    "a file name": ("./photo.jpg", "begin with"),
    "a web page": ("https://example.org/", "begin with"),
    "no content": ("magnet:?", "names no content"),
    "only a name": ("magnet:?dn=x", "names no content"),
    "BitTorrent": (f"magnet:?xt=urn:btih:{'0' * 40}", "BitTorrent"),
    "BitTorrent v2": (f"magnet:?xt=urn:btmh:1220{HASH}", "BitTorrent"),
    "another hash": (f"magnet:?xt=urn:sha256:{HASH}", "'urn:sha256'"),
    "no urn": (f"magnet:?xt={HASH}", "urn:blake3"),
    "hash cut off": (BASE[:-1], "63 digits"),
    "hash too long": (BASE + "0", "65 digits"),
    "hash empty": ("magnet:?xt=urn:blake3:", "0 digits"),
    "hash not hexadecimal": (BASE[:-1] + "g", "hexadecimal"),
    "hash with digits of another script": (BASE[:-1] + "٣", "hexadecimal"),
    "two contents": (f"{BASE}&xt=urn:blake3:{'0' * 64}", "more than one content"),
    "two names": (f"{BASE}&dn=a&dn=b", "more than one name"),
    "name with traversal (CVE-2010-1512)": (f"{BASE}&dn=..%2F..%2Fetc%2Fpasswd", "separates"),
    "name is the folder above": (f"{BASE}&dn=..", "another folder"),
    "name empty": (f"{BASE}&dn=", "empty"),
    "name with NUL": (f"{BASE}&dn=a%00b", "control"),
    "name with escape sequence": (f"{BASE}&dn=%1B%5B2J", "control"),
    "name with bidi override": (f"{BASE}&dn=%E2%80%AEexe.jpg", "reorders"),
    "name too long": (f"{BASE}&dn={'a' * (NAME_BYTES_MAX + 1)}", "bytes"),
    "name not UTF-8": (f"{BASE}&dn=%FF%FE", "UTF-8"),
    "size is text": (f"{BASE}&xl=big", "number of bytes"),
    "size negative": (f"{BASE}&xl=-1", "number of bytes"),
    "size with digits of another script": (f"{BASE}&xl=٣", "number of bytes"),
    "size enormous": (f"{BASE}&xl={'9' * 10_000}", "number of bytes"),
    "size over the limit": (f"{BASE}&xl={SHARE_BYTES_MAX + 1}", "more than a share"),
    "two sizes": (f"{BASE}&xl=1&xl=1", "number of bytes"),
    "tracker is a URL": (f"{BASE}&tr=udp%3A%2F%2Ftracker.example%3A80%2Fannounce", "tracker"),
    "tracker without port": (f"{BASE}&tr=tracker.example", "tracker"),
    "tracker with port 0": (f"{BASE}&tr=a:0", "tracker"),
    "tracker with port 65536": (f"{BASE}&tr=a:65536", "tracker"),
    "tracker with escape sequence": (f"{BASE}&tr=%1B%5B2Ja:1", "tracker"),
    "tracker with delete": (f"{BASE}&tr=a%7F:1", "tracker"),
    "tracker that looks like another": (f"{BASE}&tr=%D0%B0pple.example:1", "tracker"),
    "too many trackers (CVE-2010-1853)": (BASE + "&tr=a:1" * (LINK_TRACKERS_MAX + 1), "trackers, more"),
    "too many peers": (BASE + "&x.pe=a:1" * (LINK_PEERS_MAX + 1), "peers, more"),
    "too many fields": (BASE + "&a=b" * 200, "fields"),
    "too long": (BASE + "&a=" + "b" * LINK_CHARS_MAX, "characters"),
    "peer with short node id": (f"{BASE}&x.pe=abcd@a:1", "node id"),
    "peer with two node ids": (f"{BASE}&x.pe={HASH}@{HASH}@a:1", "node id"),
    "peer with empty node id": (f"{BASE}&x.pe=@a:1", "node id"),
    "peer without host": (f"{BASE}&x.pe=:1", "peer"),
    "peer empty": (f"{BASE}&x.pe=", "peer"),
    "lone surrogate from the command line": (f"{BASE}&dn=\udcff", "Unicode|UTF-8|surrogate"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD.keys())
def test_bad_links_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(LinkError, match=says) as caught:
        parse(text)
    assert_one_line(caught.value)


def assert_one_line(error: LinkError) -> None:
    text = str(error)
    assert printable(text) == text
    assert len(text) < 300


def test_every_truncation_says_so_or_is_a_shorter_link() -> None:
    for length in range(len(FULL)):
        try:
            link = parse(FULL[:length])
        except LinkError as error:
            assert_one_line(error)
        else:
            assert link.share == SHARE, "a link cut off in its hints is still right about the content"


def test_what_a_link_cannot_carry_is_left_out_of_it() -> None:
    """`peer share` printed links that `peer get` refused: trackers in another alphabet, or too many."""
    trackers = [Address("bücher.example", 7700), *(Address(f"t{n}", 7700) for n in range(20))]
    near = [Address("10.0.0.1", port) for port in range(1, 50)]
    peers = [KnownPeer(peer) for peer in (Address("fe80::1%eth0", 1), Address("ü" * 64, 1), *near)]
    link = MagnetLink(SHARE, trackers=tuple(trackers), peers=tuple(peers))
    read = parse(str(link))
    assert read.trackers == (Address("xn--bcher-kva.example", 7700), *trackers[1:LINK_TRACKERS_MAX])
    assert read.peers == tuple(map(KnownPeer, near[:LINK_PEERS_MAX]))


@given(st.text(alphabet=st.characters()))
def test_garbage_raises_nothing_else(text: str) -> None:
    for link in (text, BASE + text, f"{BASE}&{text}", f"{BASE}&dn={text}&tr={text}", f"{BASE}&x.pe={text}"):
        try:
            parsed = parse(link)
        except LinkError as error:
            assert_one_line(error)
        else:
            assert parse(str(parsed)) == parsed


def is_legal(name: str) -> bool:
    try:
        check_component(name)
    except ValueError:
        return False
    return True


hosts = st.sampled_from(
    ["a", "tracker.example", "10.0.0.1", "2001:db8::1", "::1", "xn--bcher-kva.example", "a_b-c"]
)
addresses = st.builds(Address, hosts, st.integers(1, 65535))
hints = st.builds(KnownPeer, addresses, st.none() | st.binary(min_size=32, max_size=32).map(NodeId))
links = st.builds(
    MagnetLink,
    st.binary(min_size=32, max_size=32).map(ShareId),
    st.none() | st.text(max_size=40).filter(is_legal),
    st.none() | st.integers(0, SHARE_BYTES_MAX),
    st.lists(addresses, max_size=LINK_TRACKERS_MAX, unique=True).map(tuple),
    st.lists(hints, max_size=LINK_PEERS_MAX, unique=True).map(tuple),
)


@given(links)
def test_any_link_round_trips(link: MagnetLink) -> None:
    text = str(link)
    assert parse(text) == link
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set(" '\"<>`\\"), "survives a shell's double quotes, a chat and a mail"

"""Three grammars: whole, byte by byte, with trailing bytes, and with lies."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.protocols import hostile
from lab.protocols.grammars import GRAMMARS, Decoder, Grammar, JsonLines, Msgpack, Xml
from lab.protocols.measure import PIECE_BYTES, SAMPLES
from lab.protocols.messages import MESSAGE_BYTES_MAX, Answer, Listing, Message, Request
from peer.errors import LocalProtocolError, RemoteProtocolError

by_grammar = pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda g: g.name)
by_sample = pytest.mark.parametrize("message", SAMPLES.values(), ids=SAMPLES)

numbers = st.integers(0, 2**63 - 1)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r<>&'\""), min_size=1, max_size=40
).filter(lambda name: "\ufffe" not in name and "\uffff" not in name)  # not allowed in XML at all
messages = st.one_of(
    st.builds(Request, numbers, st.binary(min_size=32, max_size=32), numbers),
    st.builds(Answer, numbers, numbers, st.binary(max_size=300)),
    st.builds(Listing, numbers, st.lists(st.tuples(names, numbers), max_size=5).map(tuple)),
)


@by_grammar
@by_sample
def test_whole_and_byte_by_byte(grammar: Grammar, message: Message) -> None:
    whole = grammar.encode(message)
    assert Decoder(grammar).feed(whole) == [message]
    decoder = Decoder(grammar)
    step = 1 if len(whole) < 10_000 else 997
    found = [m for i in range(0, len(whole), step) for m in decoder.feed(whole[i : i + step])]
    assert found == [message]
    decoder.eof()


@by_grammar
@given(st.lists(messages, max_size=4), st.data())
def test_round_trip_with_any_cuts(grammar: Grammar, sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(grammar.encode(message) for message in sent)
    decoder, found, at = Decoder(grammar), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[at : at + step])
        at += step
    assert found == sent
    decoder.eof()


@by_grammar
@given(st.binary(max_size=200))
def test_nothing_but_protocol_errors(grammar: Grammar, data: bytes) -> None:
    decoder = Decoder(grammar)
    with suppress(RemoteProtocolError):
        decoder.feed(data + b"\n")
        decoder.eof()


@by_grammar
@given(st.binary(max_size=200))
def test_nothing_but_protocol_errors_inside_a_frame(grammar: Grammar, frame: bytes) -> None:
    with suppress(RemoteProtocolError):
        grammar.decode(frame)


CASES = [
    pytest.param(grammar, case.data[grammar.name], id=f"{grammar.name}-{case.name}")
    for case in hostile.CASES
    for grammar in GRAMMARS
    if grammar.name in case.data
]


@pytest.mark.parametrize(("grammar", "data"), CASES)
def test_every_hostile_message_is_refused(grammar: Grammar, data: bytes) -> None:
    outcome = hostile.guarded(grammar, data)
    assert outcome.fate is hostile.Fate.REFUSED
    assert "\n" not in outcome.detail


def test_what_bare_libraries_let_pass() -> None:
    """The claims of the table: each of these surprises a beginner."""
    cases = {case.name: case.data for case in hostile.CASES}
    json, xml, msgpack = JsonLines(), Xml(), Msgpack()
    assert hostile.naive(json, cases["never ends"][json.name]).fate is hostile.Fate.WAITS
    assert hostile.naive(msgpack, cases["never ends"][msgpack.name]).fate is hostile.Fate.WAITS
    assert hostile.naive(json, cases["nested"][json.name]) == hostile.Outcome(
        hostile.Fate.REFUSED, "RecursionError"
    )
    for grammar in (json, msgpack):
        outcome = hostile.naive(grammar, cases["said twice"][grammar.name])
        assert outcome.fate is hostile.Fate.ACCEPTED
        assert "3" in outcome.detail  # the last one counts
    assert hostile.naive(xml, cases["wrong type"][xml.name]).fate is hostile.Fate.ACCEPTED


@by_grammar
def test_a_cut_message_is_never_guessed(grammar: Grammar) -> None:
    cuts = hostile.cut_everywhere(grammar, SAMPLES["request"])
    assert cuts.accepted == 0
    assert cuts.refused_at_end == cuts.places == cuts.waited


@by_grammar
def test_damage_is_counted_whole_and_some_passes_unnoticed(grammar: Grammar) -> None:
    flips = hostile.flip_every_bit(grammar, SAMPLES["request"])
    assert flips.refused + flips.waits + flips.unchanged + flips.another == flips.bits
    assert flips.refused > 0
    assert flips.another > 0


def test_sizes_on_the_wire() -> None:
    """Text writes bytes as base64, four for three; msgpack adds a few."""
    size = {grammar.name: len(grammar.encode(SAMPLES["piece of 64 KiB"])) for grammar in GRAMMARS}
    assert size["msgpack"] - PIECE_BYTES < 64
    for text in ("JSON lines", "XML"):
        assert 4 * PIECE_BYTES / 3 < size[text] < 4 * PIECE_BYTES / 3 + 100


@by_grammar
def test_a_long_message_is_refused_before_it_is_whole(grammar: Grammar) -> None:
    whole = grammar.encode(Answer(1, 2, b"x" * (MESSAGE_BYTES_MAX + 1)))
    decoder, fed = Decoder(grammar), 0
    with suppress(RemoteProtocolError):
        for fed in range(0, len(whole), 65536):
            assert decoder.feed(whole[fed : fed + 65536]) == []
            assert decoder.held <= MESSAGE_BYTES_MAX
    with pytest.raises(RemoteProtocolError):
        decoder.feed(whole[fed : fed + 65536])
    assert fed <= MESSAGE_BYTES_MAX


def test_what_a_grammar_cannot_say() -> None:
    """A file name with a control character: legal on disk, impossible in XML."""
    listing = Listing(1, (("bell\x07", 1),))
    for grammar in (JsonLines(), Msgpack()):
        assert Decoder(grammar).feed(grammar.encode(listing)) == [listing]
    with pytest.raises(LocalProtocolError):
        Xml().encode(listing)


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"answer","id":1,"piece":2,"data":7}',
        b'{"kind":"answer","id":1,"piece":2,"data":"***"}',
        b'{"kind":"answer","id":1,"piece":2}',
        b'{"kind":"answer","id":1,"piece":2,"data":"","more":1}',
        b'{"kind":"listing","id":1,"files":[["\\ud800",1]]}',
        b'{"kind":["answer"],"id":1}',
        b'{"kind":"request","id":1,"piece":2,"share":"AAAA"}',
        b"[]",
        b"null",
        b"",
        '{"kind":"answer","id":1,"piece":2,"data":""}'.encode("utf-16"),
    ],
)
def test_json_that_makes_no_sense(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        JsonLines().decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b'<answer id="1" piece="2"><b/></answer>',
        b'<request id="1" piece="2" share="AA=="/>',
        b'<listing id="1">text</listing>',
        b'<listing id="1"><file name="a" size="1"><file name="b" size="2"/></file></listing>',
        b'<answer id="1" piece="2"><file name="a" size="1"/></answer>',
        b'<answer id="\xd9\xa1" piece="2"></answer>',  # an Arabic digit is a digit to int()
        b"<file/>",
        b"",
    ],
)
def test_xml_that_makes_no_sense(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Xml().decode(line)


def test_no_document_chooses_its_encoding() -> None:
    line = b'<?xml version="1.0" encoding="klingon"?><answer id="1" piece="2"></answer>'
    assert Xml().decode(line) == Answer(1, 2, b"")
    with pytest.raises(RemoteProtocolError):
        Xml().decode(
            b'<?xml version="1.0" encoding="latin-1"?><listing id="1"><file name="\xe9" size="1"/></listing>'
        )

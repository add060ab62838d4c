"""Which shares are known, what a new one does to them, and which one somebody means."""

from dataclasses import replace
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.daemon.records import Role, ShareRecord
from peer.daemon.registry import Admission, Registry
from peer.errors import UsageError
from peer.ids import ShareId
from peer.limits import LINK_PEERS_MAX, SHARE_PEERS_MAX, SHARE_TRACKERS_MAX


def share_id(number: int) -> ShareId:
    return ShareId(bytes([number]) * 32)


def shared(number: int, path: str = "") -> ShareRecord:
    path = path or f"/data/file{number}"
    return ShareRecord(share_id(number), Role.SHARE, path.rpartition("/")[2], path, number, complete=True)


def fetched(number: int, folder: str = "/in", **more: object) -> ShareRecord:
    record = ShareRecord(share_id(number), Role.GET, f"file{number}", folder, number)
    return replace(record, **more)  # type: ignore[arg-type]


def registry(*records: ShareRecord) -> Registry:
    made = Registry()
    for record in records:
        made.put(record)
    return made


def test_a_new_share_is_taken_as_it_is() -> None:
    assert registry(shared(1)).consider(shared(2)) == Admission(shared(2), known=False, restart=False)


def test_other_content_at_the_same_path_takes_the_place_of_the_old() -> None:
    admission = registry(shared(1, "/x"), shared(2, "/y")).consider(shared(3, "/x"))
    assert admission.replaces == (share_id(1),)


def test_getting_again_joins_what_is_there() -> None:
    old = fetched(1, complete=True, up=5.0, peers=("a:1",))
    admission = registry(old).consider(fetched(1, peers=("b:2",)))
    assert admission.known
    assert admission.record.complete
    assert admission.record.up == 5.0
    assert admission.record.order == old.order
    assert set(admission.record.peers) == {"a:1", "b:2"}


def test_a_share_asked_for_again_and_again_stays_readable() -> None:
    """Its record grew with each link, until it was too long to be read: the share was damaged, it said."""
    known = registry(fetched(0))
    for number in range(2000):
        node = f"{number:064x}"
        peers = tuple(f"{node}@{node}.peer{n}.example.org:7700" for n in range(LINK_PEERS_MAX))
        link = fetched(0, peers=peers, trackers=(f"{node}.example.org:7700",))
        known.put(known.consider(link).record)
    record = known.get(share_id(0))
    assert record is not None
    assert record.peers[:LINK_PEERS_MAX] == peers, "the last ones named come first"
    assert len(record.peers) == SHARE_PEERS_MAX
    assert len(record.trackers) == SHARE_TRACKERS_MAX
    assert ShareRecord.decode(record.encode(), share_id(0)) == record


def test_getting_more_of_it_is_not_complete_yet() -> None:
    old = fetched(1, complete=True, only=("*.pdf",))
    admission = registry(old).consider(fetched(1))
    assert admission.restart
    assert not admission.record.complete
    assert not admission.record.rests


def test_a_published_name_stays_until_another_is_given() -> None:
    known = registry(replace(shared(1), publish="old"))
    assert known.consider(shared(1)).record.publish == "old"
    assert known.consider(replace(shared(1), publish="new")).record.publish == "new"


def test_an_order_of_pieces_stays_until_another_is_given() -> None:
    known = registry(fetched(1, piece_order="in-order"))
    assert known.consider(fetched(1)).record.piece_order == "in-order"
    assert not known.consider(fetched(1)).restart
    admission = known.consider(fetched(1, piece_order="rarest"))
    assert admission.record.piece_order == "rarest"
    assert admission.restart
    complete = registry(fetched(1, complete=True))
    assert not complete.consider(fetched(1, piece_order="in-order")).restart


def test_a_paused_share_that_is_asked_for_again_goes_on() -> None:
    admission = registry(fetched(1, paused=True)).consider(fetched(1))
    assert not admission.record.paused


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (shared(1), fetched(1), "/data/file1"),
        (fetched(1), shared(1), "/in/file1"),
        (fetched(1), fetched(1, "/elsewhere"), "/in/file1"),
        (replace(fetched(1), name="same"), replace(fetched(2), name="same"), "another folder"),
    ],
)
def test_what_cannot_stand_beside_another_is_refused_with_the_way_out(
    old: ShareRecord, new: ShareRecord, word: str
) -> None:
    known = registry(old)
    with pytest.raises(UsageError, match=word):
        known.consider(new)
    assert list(known) == [old]


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.daemon.registry.SHARES_KNOWN_MAX", 2)
    known = registry(shared(1, "/x"), shared(2))
    with pytest.raises(UsageError, match="remove"):
        known.consider(shared(3))
    assert known.consider(shared(3, "/x")).replaces, "one that takes another's place is none more"


def test_a_share_is_found_by_all_its_names() -> None:
    record = shared(0xAB, "/data/film.bin")
    known = registry(record, shared(1))
    link = f"magnet:?xt=urn:blake3:{record.share.hex()}&dn=whatever"
    for text in ("abab", "ABABAB", record.share.hex(), link, "film.bin", "/data/film.bin"):
        assert known.find(text) == record
    assert registry(fetched(2)).find("/in/file2") == fetched(2)


@pytest.mark.parametrize("text", ["nothing", "ab", "magnet:?xt=nonsense", "", "\x1b[31m"])
def test_what_nobody_is_called_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry(shared(0xAB)).find(text)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(("complete", "way"), [(True, "copy it from there"), (False, "`peer status 0101")])
def test_a_share_that_goes_elsewhere_already_says_what_can_be_done(complete: bool, way: str) -> None:
    """Of a transfer that had failed it said to copy what was not there."""
    with pytest.raises(UsageError, match=f"/in/file1 already: {way}.*`peer remove 0101"):
        registry(fetched(1, complete=complete)).consider(fetched(1, "/other"))


def test_a_name_is_found_in_decomposed_form() -> None:
    known = registry(shared(1, "/data/café"), shared(2))
    assert known.find(normalize("NFD", "café")).share == share_id(1)


def test_a_name_of_several_is_no_name() -> None:
    known = registry(shared(1, "/x/same"), shared(2, "/y/same"))
    with pytest.raises(UsageError, match="0101") as caught:
        known.find("same")
    assert "0202" in str(caught.value)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(["/a", "/b"])), max_size=12))
def test_two_shares_never_write_to_one_place(steps: list[tuple[int, bool, str]]) -> None:
    known = Registry()
    for number, share, folder in steps:
        new = (
            shared(number, f"{folder}/x")
            if share
            else replace(fetched(number, folder), name=f"n{number % 2}")
        )
        try:
            admission = known.consider(replace(new, order=known.next_order))
        except UsageError:
            continue
        for replaced in admission.replaces:
            known.remove(replaced)
        known.put(admission.record)
        gets = [record.shown for record in known if record.role is Role.GET]
        shares = [record.path for record in known if record.role is Role.SHARE]
        assert len(set(gets)) == len(gets)
        assert len(set(shares)) == len(shares)
        orders = [record.order for record in known]
        assert len(set(orders)) == len(orders)

"""A mirror's ledger: one folder a share, whatever strangers call things."""

import json
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.limits import MIRROR_REMEMBERED_MAX, MIRROR_SHARES_MAX, NAME_BYTES_MAX
from peer.paths import check_component, fold
from peer.placement import PART, STATE_FOLDER, Kept, Ledger, Verdict
from peer.published import PublishedShare
from tests.catalogue_kit import share_id, unsigned


def entry(name: str, number: int = 1, *, by: int = 1, serial: int = 1, size: int = 5) -> PublishedShare:
    return unsigned(name, number, by=by, serial=serial, size=size)[0]


def place(ledger: Ledger, *args: PublishedShare) -> list[str]:
    return [ledger.place(one).folder for one in args]


def test_a_share_gets_its_name_and_the_next_of_that_name_another() -> None:
    ledger = Ledger()
    digits = share_id(2).hex()
    assert place(ledger, entry("data", 1), entry("DATA", 2, by=2), entry("data.part", 3)) == [
        "data",
        f"DATA.{digits[:8]}",
        f"data.part.{share_id(3).hex()[:8]}",
    ]
    assert place(ledger, entry("x.part", 4), entry("x", 5)) == ["x.part", f"x.{share_id(5).hex()[:8]}"]


def test_the_mirrors_own_folder_and_what_is_there_already_are_not_taken() -> None:
    ledger = Ledger()
    [folder] = place(ledger, entry(".ManyHands", 1))
    assert folder != ".ManyHands"
    there = {"photos", "films.part"}
    assert ledger.place(entry("Photos", 2), there).folder.startswith("Photos.")
    assert ledger.place(entry("films", 3), there).folder.startswith("films.")
    every = {f"all.{share_id(4).hex()[:count]}" for count in (8, 16, 32, 64)} | {"all"}
    with pytest.raises(ValueError, match="every name for 'all' is taken"):
        ledger.place(entry("all", 4), every)


def test_verdicts() -> None:
    ledger = Ledger()
    assert ledger.judge(entry("n", 1, serial=5)) is Verdict.NEW
    place(ledger, entry("n", 1, serial=5))
    assert ledger.judge(entry("n", 1, serial=5)) is Verdict.KEPT
    assert ledger.judge(entry("other", 1, by=2)) is Verdict.KEPT, "the same bytes under another name"
    assert ledger.judge(entry("N", 2, serial=4)) is Verdict.OLD
    assert ledger.judge(entry("n", 2, by=2, serial=4)) is Verdict.NEW, "another publisher's serials"
    assert ledger.judge(entry("n", 2, serial=6)) is Verdict.NEW


def test_what_does_not_fit_is_left_out() -> None:
    ledger = Ledger()
    place(ledger, entry("a", 1, size=60), entry("a", 2, size=30, serial=2))
    ledger.completed(share_id(2))
    assert ledger.judge(entry("b", 3, size=10), 100) is Verdict.NEW
    assert ledger.judge(entry("b", 3, size=11), 100) is Verdict.TOO_LARGE, "retired ones lie there, too"
    assert ledger.judge(entry("a", 1, size=60, serial=3), 100) is Verdict.NEW, "it lies there already"
    assert ledger.judge(entry("b", 3, size=2**40)) is Verdict.NEW


def test_a_newer_share_retires_the_older_when_it_is_complete_and_may_be_taken_back() -> None:
    ledger = Ledger()
    place(ledger, entry("n", 1), entry("n", 2, serial=2))
    assert len(ledger.current) == 2, "until the new one is here, the old one is seeded"
    assert [one.folder for one in ledger.completed(share_id(2))] == ["n"]
    assert [one.share for one in ledger.current] == [share_id(2)]
    assert ledger.completed(share_id(2)) == []
    back = entry("n", 1, serial=3)
    assert ledger.judge(back) is Verdict.NEW
    assert place(ledger, back) == ["n"], "to the folder where it lies"
    assert [one.share for one in ledger.completed(share_id(1))] == [share_id(2)]
    assert ledger.judge(entry("n", 2, serial=2)) is Verdict.OLD


def test_who_goes_back_to_an_older_share_keeps_it() -> None:
    ledger = Ledger()
    place(ledger, entry("n", 1), entry("n", 2, serial=2))
    back = entry("n", 1, serial=3)
    assert ledger.judge(back) is Verdict.KEPT
    ledger.renewed(back)
    assert ledger.completed(share_id(2)) == []
    assert ledger.judge(entry("n", 3, serial=2)) is Verdict.OLD


def test_a_mirror_keeps_so_many_and_remembers_more() -> None:
    ledger = Ledger()
    for number in range(1, MIRROR_SHARES_MAX + 1):
        place(ledger, entry(f"n {number}", number))
    assert ledger.judge(entry("one more", 7777)) is Verdict.FULL
    kept = [
        Kept(f"f{n}", "name", share_id(n), 1, n, unsigned("", by=9)[1], retired=True)
        for n in range(1, MIRROR_REMEMBERED_MAX + 1)
    ]
    ledger = Ledger(kept)
    place(ledger, entry("new", 99_999))
    assert len(ledger) == MIRROR_REMEMBERED_MAX
    assert ledger.get(share_id(1)) is None
    ledger.encode()


_names = st.text("aAé~ .part", min_size=1, max_size=12) | st.sampled_from(["a" * NAME_BYTES_MAX, "é" * 120])


def is_legal(name: str) -> bool:
    try:
        check_component(name)
    except ValueError:
        return False
    return True


@settings(max_examples=200)
@given(st.lists(st.tuples(_names.filter(is_legal), st.integers(1, 3)), max_size=12))
def test_no_two_shares_ever_have_one_folder(wanted: list[tuple[str, int]]) -> None:
    ledger = Ledger()
    for number, (name, by) in enumerate(wanted):
        one = entry(name, number + 1, by=by, serial=number + 1)
        folder = ledger.place(one).folder
        check_component(folder)
    taken = [{fold(k.folder), fold(k.folder + PART)} for k in ledger] + [{fold(STATE_FOLDER)}]
    assert all(not one & other for one, other in combinations(taken, 2))
    ledger.check_invariants()
    for number in range(0, len(wanted), 2):
        ledger.completed(share_id(number + 1))
        ledger.check_invariants()
    again = Ledger.decode(ledger.encode())
    assert list(again) == list(ledger)


def good() -> dict[str, object]:
    ledger = Ledger()
    place(ledger, entry("a", 1))
    loaded: dict[str, object] = json.loads(ledger.encode())
    return loaded


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000),
        *(b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "shares": [{}]}'),
    ],
)
def test_what_is_no_ledger_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Ledger.decode(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("folder", "../outside"),
        ("folder", ".manyhands"),
        ("folder", 5),
        ("share", "00"),
        ("node", None),
        ("size", -1),
        ("size", True),
        ("serial", "1"),
        ("complete", 1),
    ],
)
def test_a_ledger_that_was_tampered_with_leads_nowhere(field: str, value: object) -> None:
    whole = good()
    shares = whole["shares"]
    assert isinstance(shares, list)
    shares[0][field] = value
    with pytest.raises(ValueError, match=r"."):
        Ledger.decode(json.dumps(whole).encode())


def test_two_shares_in_one_folder_are_refused() -> None:
    one = Kept("a", "a", share_id(1), 1, 1, unsigned("")[1])
    with pytest.raises(ValueError, match="there twice"):
        Ledger.decode(Ledger([one, replace(one, share=share_id(2), folder="A")]).encode())

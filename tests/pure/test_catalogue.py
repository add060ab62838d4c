"""The catalogue: names belong to somebody, searches find what is there, floods stay outside."""

import tracemalloc
from collections.abc import Iterator
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peer import limits
from peer.ids import ShareId
from peer.limits import CATALOGUE_LIFETIME_S, EXPIRY_GRAIN_S
from peer.paths import fold
from peer.published import NOBODY, PublishedShare
from peer.wire.messages import Found, PublishCode, Published, Search
from tests.catalogue_kit import share_id, unsigned
from tracker.catalogue import Catalogue, CatalogueLimits
from tracker.words import SortedWords, WordIndex, words_of

SMALL = CatalogueLimits(names=12, names_per_node=4, names_per_address=6, looks=5)


def count(share: ShareId) -> tuple[int, int]:
    return share[-1], 2 * share[-1]


def put_from(catalogue: Catalogue, name: str, by: int, host: str, serial: int = 1) -> PublishCode:
    """What becomes of a name that its publisher brings from there."""
    entry, node = unsigned(name, by=by, serial=serial)
    return catalogue.publish(entry, node, host, 0.0).code


def put(
    catalogue: Catalogue, name: str, number: int = 1, *, by: int = 1, serial: int = 1, now: float = 0.0
) -> Published:
    entry, node = unsigned(name, number, by=by, serial=serial)
    return catalogue.publish(entry, node, f"192.0.2.{by}", now)


def ask(
    catalogue: Catalogue,
    *words: str,
    name: str = "",
    by: int | None = None,
    after: int = 0,
    want: int = 100,
    now: float = 0.0,
) -> Found:
    node = NOBODY if by is None else unsigned("", by=by)[1]
    return catalogue.search(Search(1, words, name, node, after, want), now, count)


def names(found: Found) -> list[str]:
    return [listing.entry.name for listing in found.listings]


def everything(catalogue: Catalogue, *words: str, want: int = 100, now: float = 0.0) -> list[str]:
    """All pages of an answer."""
    found, after, more = [], 0, True
    while more:
        page = ask(catalogue, *words, after=after, want=want, now=now)
        assert page.next > after or not page.more, "every page gets on"
        found += names(page)
        after, more = page.next, page.more
    return found


# --- words


def test_words() -> None:
    assert words_of("Debian_12.5 (amd64)-netinst.ISO") == ("debian", "12", "5", "amd64", "netinst", "iso")
    assert words_of("Straße ÉTÉ 東京") == ("strasse", "été", "東京")
    assert words_of("--- ...") == ()
    assert len(words_of(" ".join(map(str, range(50))))) == limits.CATALOGUE_WORDS_PER_NAME_MAX


@given(st.lists(st.tuples(st.booleans(), st.text("ab", max_size=5))))
def test_sorted_words_are_a_sorted_set(steps: list[tuple[bool, str]]) -> None:
    there, model = SortedWords(), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracker.words.CATALOGUE_RUN_WORDS_MAX", 3)
        for add, word in steps:
            if add and word not in model:
                there.add(word)
                model.add(word)
            elif not add and word in model:
                there.remove(word)
                model.remove(word)
            there.check_invariants()
            assert list(there.beginning("")) == sorted(model)
            assert len(there) == len(model)
        for prefix in ("a", "ab", "b", "bbbbbb"):
            assert list(there.beginning(prefix)) == sorted(w for w in model if w.startswith(prefix))


@given(
    st.lists(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)), st.data()
)
def test_the_index_is_what_a_walk_over_all_names_finds(
    all_words: list[list[str]], data: st.DataObject
) -> None:
    index = WordIndex()
    there = {number: tuple(words) for number, words in enumerate(all_words)}
    for number, words in there.items():
        index.add(number, words)
    for number in data.draw(st.permutations(list(there)))[: len(there) // 2]:
        index.remove(number, there.pop(number))
    index.check_invariants()
    for prefix in ("a", "b", "ab", "abc", "ca", "x"):
        stands = [n for n, words in there.items() for word in words if word.startswith(prefix)]
        assert index.numbers(prefix) == sorted(set(stands))
        begin_so = sum(word.startswith(prefix) for word in index._numbers)
        assert index.count(prefix, 1000, 1000) == (len(stands), begin_so)
        assert index.count(prefix, 2, 1000)[0] == min(2, len(stands))
        assert index.count(prefix, 1000, 1) == (1000, 1) or begin_so <= 1, "not counted to the end: common"


# --- names and who has them


def test_a_name_is_listed_and_found_with_counts() -> None:
    catalogue = Catalogue(7)
    answer = put(catalogue, "Letters of 2026", 3)
    assert (answer.code, answer.serial, answer.holder) == (PublishCode.LISTED, 1, unsigned("", by=1)[1])
    found = ask(catalogue, "letter", "20")
    assert names(found) == ["Letters of 2026"]
    assert (found.listings[0].seeders, found.listings[0].leechers) == (3, 6)
    assert (found.epoch, found.more, found.names) == (7, False, 1)
    for words in (("etters",), ("letters", "2027"), ("of2026",)):
        assert names(ask(catalogue, *words)) == []


def test_a_name_belongs_to_its_first_publisher_until_it_expires() -> None:
    catalogue = Catalogue(1)
    put(catalogue, "Name", by=1)
    for spelling in ("Name", "NAME", "name"):
        refused = put(catalogue, spelling, 2, by=2, now=CATALOGUE_LIFETIME_S - 1)
        assert refused.code is PublishCode.NAME_TAKEN
        assert refused.holder == unsigned("", by=1)[1]
    assert put(catalogue, "name", 2, by=2, now=CATALOGUE_LIFETIME_S).code is PublishCode.LISTED
    assert put(catalogue, "Name", by=1, now=CATALOGUE_LIFETIME_S).code is PublishCode.NAME_TAKEN
    catalogue.check_invariants()


def test_publishing_again_keeps_the_name_and_its_number() -> None:
    catalogue = Catalogue(1)
    put(catalogue, "name")
    number = ask(catalogue).next
    for turn in range(1, 5):
        put(catalogue, "name", now=turn * 0.9 * CATALOGUE_LIFETIME_S)
        found = ask(catalogue, now=turn * 0.9 * CATALOGUE_LIFETIME_S)
        assert names(found) == ["name"]
        assert found.next == number, "nothing new for who has read it"
    assert catalogue.statistics().renewed == 4


def test_another_share_needs_a_higher_serial_and_is_news() -> None:
    catalogue = Catalogue(1)
    put(catalogue, "name", 1, serial=5)
    read = ask(catalogue).next
    assert put(catalogue, "name", 2, serial=5).code is PublishCode.OUTDATED
    stale = put(catalogue, "name", 2, serial=4)
    assert (stale.code, stale.serial) == (PublishCode.OUTDATED, 5)
    assert ask(catalogue, after=read).listings == ()
    assert put(catalogue, "NAME", 2, serial=6).code is PublishCode.LISTED
    assert names(ask(catalogue, after=read)) == ["NAME"]
    assert len(catalogue) == 1


def test_an_expired_name_is_not_told_even_before_it_is_swept() -> None:
    catalogue = Catalogue(1)
    put(catalogue, "name")
    assert names(ask(catalogue, now=CATALOGUE_LIFETIME_S)) == []
    assert len(catalogue) == 1
    assert not catalogue.expire(CATALOGUE_LIFETIME_S + 2 * EXPIRY_GRAIN_S)
    assert len(catalogue) == 0


# --- limits


def test_a_flood_from_one_node_is_refused_and_others_are_unharmed() -> None:
    catalogue = Catalogue(1)
    put(catalogue, "honest", by=2)
    codes = [put(catalogue, f"flood {n}", by=1).code for n in range(3000)]
    assert codes.count(PublishCode.LISTED) == limits.CATALOGUE_NAMES_PER_NODE_MAX
    assert set(codes[limits.CATALOGUE_NAMES_PER_NODE_MAX :]) == {PublishCode.PUBLISHER_FULL}
    assert put(catalogue, "honest", by=2, now=1).code is PublishCode.LISTED
    assert put(catalogue, "honest too", by=2, now=1).code is PublishCode.LISTED
    assert put(catalogue, "flood 7", by=1, now=1).code is PublishCode.LISTED, "what is listed can be renewed"
    assert names(ask(catalogue, "honest")) == ["honest", "honest too"]


def test_many_nodes_behind_one_address_fill_its_share_only() -> None:
    catalogue = Catalogue(1, SMALL)
    publish = partial(put_from, catalogue)

    codes = [publish(f"name {n}", n, "2001:db8::1") for n in range(1, 9)]
    assert codes == 6 * [PublishCode.LISTED] + 2 * [PublishCode.ADDRESS_FULL]
    assert publish("other", 9, "2001:db8::2") is PublishCode.ADDRESS_FULL, "the same /64"
    assert [publish(f"more {n}", 10 + n, f"192.0.2.{n}") for n in range(6)] == 6 * [PublishCode.LISTED]
    assert publish("last", 30, "198.51.100.1") is PublishCode.CATALOGUE_FULL
    catalogue.check_invariants()


def test_a_publisher_who_moves_frees_the_address_that_he_had() -> None:
    catalogue = Catalogue(1, SMALL)
    publish = partial(put_from, catalogue)

    for n in range(6):
        assert publish(f"name {n}", n // 3, "192.0.2.1") is PublishCode.LISTED
    assert publish("another's", 9, "192.0.2.1") is PublishCode.ADDRESS_FULL
    assert publish("name 0", 0, "192.0.2.2") is PublishCode.LISTED, "renewed from elsewhere"
    assert publish("name 1", 0, "192.0.2.2", serial=2) is PublishCode.LISTED, "changed from elsewhere"
    catalogue.check_invariants()
    assert publish("another's", 9, "192.0.2.1") is PublishCode.LISTED
    assert publish("and one more", 9, "192.0.2.1") is PublishCode.LISTED


def test_who_moves_to_a_full_address_keeps_his_names_and_none_are_added_to_it() -> None:
    catalogue = Catalogue(1, SMALL)
    publish = partial(put_from, catalogue)

    for n in range(6):
        assert publish(f"name {n}", n // 3, "192.0.2.1") is PublishCode.LISTED
    assert publish("moves", 9, "192.0.2.2") is PublishCode.LISTED
    for serial in (2, 2):  # changed, and then renewed
        assert publish("moves", 9, "192.0.2.1", serial) is PublishCode.LISTED
        catalogue.check_invariants()


def test_the_interval_grows_with_the_names() -> None:
    catalogue = Catalogue(1)
    assert put(catalogue, "name").interval == limits.CATALOGUE_INTERVAL_S_MIN
    fair = limits.CATALOGUE_NAMES_MAX / limits.PUBLISHES_PER_S_TARGET
    assert limits.CATALOGUE_INTERVAL_S_MIN < fair <= limits.CATALOGUE_INTERVAL_S_MAX


def test_the_dearest_names_that_are_legal_stay_within_the_named_memory() -> None:
    """Also without 100,000 of them: what one costs does not grow with their number."""
    rng, names = Random(1), 2000
    letters = limits.NAME_BYTES_MAX // limits.CATALOGUE_WORDS_PER_NAME_MAX - 1
    catalogue = Catalogue(1)
    tracemalloc.start()
    try:
        for n in range(names):
            words = (
                f"{rng.getrandbits(64):016x}"[:letters] for _ in range(limits.CATALOGUE_WORDS_PER_NAME_MAX)
            )
            key, share = (n // 500).to_bytes(32, "big"), ShareId(rng.randbytes(32))
            entry = PublishedShare(" ".join(words), share, n, 1 + n, key, rng.randbytes(64))
            assert catalogue.publish(entry, entry.node, "192.0.2.1", 0.0).code is PublishCode.LISTED
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / names * limits.CATALOGUE_NAMES_MAX <= limits.CATALOGUE_BYTES_MAX


# --- searching


def filled(many: int) -> Catalogue:
    catalogue = Catalogue(1, CatalogueLimits(looks=7))
    for n in range(many):
        put(catalogue, f"name {n} {'even' if n % 2 == 0 else 'odd'}", n, by=1 + n % 5)
    return catalogue


@pytest.mark.parametrize("want", [1, 3, 100])
def test_pages_lead_through_everything_once(want: int) -> None:
    catalogue = filled(60)
    assert everything(catalogue, want=want) == [f"name {n} {'odd' if n % 2 else 'even'}" for n in range(60)]
    assert everything(catalogue, "od", want=want) == [f"name {n} odd" for n in range(1, 60, 2)]
    assert everything(catalogue, "even", "odd", want=want) == []
    assert everything(catalogue, "5", "name", want=want) == [
        f"name {n} {'odd' if n % 2 else 'even'}" for n in (5, *range(50, 60))
    ]


def test_one_question_looks_at_a_bounded_number_of_names() -> None:
    catalogue = filled(60)
    page = ask(catalogue, "even", "odd")
    assert page.more
    assert (page.listings, page.next) == ((), 7)


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("abcdefgh", 100),
        ("hgfedcba", 1),
        ("a", 1),
        ("az", 100),
        ("abcdefgz", 1),
        ("bz", 0),
        ("i", 1),
        ("ia", 9),
    ],
)
def test_the_work_of_a_question_is_bounded_and_counted_whatever_its_words_are(words: str, want: int) -> None:
    """The dearest prefixes: each has just as many different words as an index would still gather."""
    catalogue, bounds = Catalogue(1, CatalogueLimits(looks=400)), CatalogueLimits(looks=400)
    for n in range(1000):
        name = " ".join(f"{letter}{n:03}" for letter in "abcdefgh") if n < 399 else f"zz {n}"
        put(catalogue, f"{name} i{n}" if n < 90 else name, n, by=1 + n // 900)
    work = Work(catalogue)
    for after in (0, 398, 999, 1000):
        before = catalogue.looks
        work.done = 0
        ask(catalogue, *words, after=after, want=want)
        counted = catalogue.looks - before
        assert work.done <= counted + 1, "nothing that is done for a question costs the asker nothing"
        assert counted <= 1.25 * bounds.looks + len(words)


def test_who_asks_for_what_is_new_in_a_full_catalogue_pays_for_no_more_than_that() -> None:
    catalogue = Catalogue(1)
    for n in range(1000):
        put(catalogue, f"name {n}", n)
    numbers = Counted(catalogue._numbers)
    catalogue._numbers = numbers
    assert names(ask(catalogue, after=998)) == ["name 998", "name 999"]
    assert numbers.walked <= 2, "those before are not walked over"


class Counted(list[int]):
    """A list that counts what is taken from it one by one."""

    walked = 0

    def __iter__(self) -> Iterator[int]:
        for one in super().__iter__():
            self.walked += 1
            yield one


class Work:
    """Counts the words and numbers of a catalogue's index that are gone through."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.done = 0
        index = catalogue._index
        beginning, numbers = index._sorted.beginning, index.numbers

        def counted_beginning(prefix: str) -> Iterator[str]:
            for word in beginning(prefix):
                self.done += 1
                yield word

        def counted_numbers(prefix: str) -> list[int]:
            before = self.done  # gathering: as many as there are numbers, which are no fewer than the words
            found = numbers(prefix)
            self.done = before + len(found)
            return found

        index._sorted.beginning = counted_beginning  # type: ignore[method-assign]
        index.numbers = counted_numbers  # type: ignore[method-assign]


def test_a_rare_word_is_found_whatever_stands_before_it() -> None:
    """The longest is looked for first: what it has is looked at, and nothing else."""
    catalogue = Catalogue(1, CatalogueLimits(looks=40))
    for n in range(200):
        put(catalogue, f"a{n} {'special' if n == 190 else 'usual'}", n)
    page = ask(catalogue, "a", "special")
    assert names(page) == ["a190 special"]
    assert not page.more


def test_by_name_and_by_publisher() -> None:
    catalogue = filled(60)
    assert names(ask(catalogue, name="NAME 33 Odd")) == ["name 33 odd"]
    assert names(ask(catalogue, name="name 33")) == []
    assert names(ask(catalogue, name="name 33 odd", by=4)) == ["name 33 odd"]
    assert names(ask(catalogue, name="name 33 odd", by=1)) == []
    assert names(ask(catalogue, "even", by=3)) == [f"name {n} even" for n in (2, 12, 22, 32)]
    assert names(ask(catalogue, by=77)) == []


def test_who_wants_nothing_is_told_nothing_and_may_go_on() -> None:
    page = ask(filled(3), want=0)
    assert (page.listings, page.next, page.more) == ((), 0, True)


WORDS = ["red", "Red", "green", "blue", "greenish", "re"]


class CatalogueMachine(RuleBasedStateMachine):
    """Beside a dictionary that does the obvious thing."""

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue(1, SMALL)
        self.now = 0.0
        self.there: dict[str, tuple[PublishedShare, float]] = {}

    @rule(
        words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2),
        share=st.integers(1, 3),
        by=st.integers(1, 4),
        serial=st.integers(1, 3),
    )
    def publish(self, words: list[str], share: int, by: int, serial: int) -> None:
        name = " ".join(words)
        held = self.alive().get(fold(name))
        entry, node = unsigned(name, share, by=by, serial=serial)
        code = self.catalogue.publish(entry, node, "192.0.2.1", self.now).code
        if held is not None:
            if held.node != node:
                assert code is PublishCode.NAME_TAKEN
            elif held == entry or held.serial < serial:
                assert code is PublishCode.LISTED
            else:
                assert code is PublishCode.OUTDATED
        if code is PublishCode.LISTED:
            self.there[fold(name)] = (entry, self.now + CATALOGUE_LIFETIME_S)

    @rule(days=st.sampled_from([0.0, 0.3, 0.5]))
    def wait(self, days: float) -> None:
        self.now += days * CATALOGUE_LIFETIME_S

    @rule()
    def sweep(self) -> None:
        self.catalogue.expire(self.now)

    def alive(self) -> dict[str, PublishedShare]:
        return {key: entry for key, (entry, end) in self.there.items() if end > self.now}

    @invariant()
    def what_is_found_is_what_is_there(self) -> None:
        self.catalogue.check_invariants()
        alive = self.alive().values()
        for words in ((), ("red",), ("re",), ("green", "b"), ("greenish",)):
            expected = sorted(
                entry.name
                for entry in alive
                if all(any(w.startswith(word) for w in words_of(entry.name)) for word in words)
            )
            assert sorted(everything(self.catalogue, *words, want=3, now=self.now)) == expected


CatalogueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCatalogue = CatalogueMachine.TestCase


def test_random_order_of_coming_and_going() -> None:
    """Numbers only grow, whatever goes."""
    catalogue, rng = Catalogue(1), Random(1)
    for step in range(300):
        put(catalogue, f"n {rng.randrange(40)}", step, by=1, serial=step + 1, now=float(step))
    catalogue.check_invariants()
    assert len(catalogue) == 40
    assert share_id(299) in {listing.entry.share for listing in ask(catalogue, now=300.0).listings}

"""The large world: nothing is lost or made, no bound is beaten, the same seed is the same run."""

import os
import subprocess
import sys
from math import log
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.large import calls
from lab.large.peers import Access, Link, Share
from lab.large.run import simulate
from lab.large.swarm import Swarm
from lab.simulate.policies import by_name
from lab.simulate.scenario import parse
from peer.bitfield import Bitfield
from peer.errors import UsageError
from peer.ids import PieceIndex
from peer.limits import NEWS_DELAY_SLOW_S, NEWS_KNOWN_S, NEWS_LATEST_S

SCENARIOS = Path(__file__).parents[2] / "lab" / "scenarios"
KIB = 1024


def scenario(name: str) -> str:
    text = (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8")
    return text.replace('"4MiB"', '"1MiB"').replace('dies_at = "4s"', 'dies_at = "1s"')


@pytest.mark.parametrize("name", ["textbook", "free-riders", "origin-dies", "comings-and-goings"])
def test_the_scenarios_of_the_small_world(name: str) -> None:
    parsed = parse(scenario(name))
    outcome = simulate(parsed, 1)
    bound = parsed.bound()
    assert bound is not None
    assert outcome.last is not None, "everybody completes"
    assert bound <= outcome.last
    assert simulate(parsed, 1).trace_hash == outcome.trace_hash
    assert simulate(parsed, 2).trace_hash != outcome.trace_hash


def world(rng: Random, peers: int, *, down: bool, churn: bool) -> Swarm:
    share = Share(rng.randrange(1, 40) * 16 * KIB - rng.randrange(2000), 16 * KIB)
    swarm = Swarm(share, rng.getrandbits(32), neighbours=rng.choice([4, 20]))
    swarm.add(Access(rng.choice([2e4, 2e5])), origin=True)
    for _ in range(peers):
        limit = rng.choice([None, 3e4]) if down else None
        swarm.add(Access(rng.choice([0.0, 1e4, 5e4]), limit, rng.choice([0.001, 0.1])))
    if churn:
        for peer in swarm.peers[1 : 1 + peers // 3]:
            swarm.agenda.at(rng.random() * 20, swarm.remove, peer)
    return swarm


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 14), st.booleans(), st.booleans())
def test_conservation(seed: int, peers: int, down: bool, churn: bool) -> None:
    """Bytes sent are bytes received, cut or under way; nobody goes faster than his line; books agree."""
    swarm = world(Random(seed), peers, down=down, churn=churn)
    transfer = swarm.transfer
    for until in (0.5, 3.0, 11.0, 400.0):
        swarm.run(until)
        now = swarm.agenda.now
        sent = sum(peer.uplink.sent(now) for peer in swarm.peers)
        under_way = sum(
            peer.uplink.progress(link.flow, now) - link.flow.reported
            for peer in swarm.peers
            for link in peer.links.values()
            if link.flow is not None
        )
        known = transfer.delivered_bytes + transfer.cut_bytes + transfer.travelling_bytes + under_way
        # Whole bytes are counted of each flow, and its first is told before it has come.
        assert abs(sent - known) <= 2 * transfer.flows + 1
        size = swarm.share.size
        for peer in swarm.peers:
            assert peer.uplink.sent(now) <= peer.access.up * now * (1 + 1e-9) + 1e-6
            statistics = peer.download.statistics()
            if peer.present and peer.access.down is not None:
                got = statistics.received_bytes
                assert got <= peer.access.down * (now - peer.joined_at) + 3 * 16 * KIB
            if peer.present:
                peer.download.check_invariants()
                peer.upload.check_invariants()
                peer.book.check_invariants()
            if peer.number > 1 and peer.finished:
                assert statistics.received_bytes - statistics.wasted_bytes == size
    stayed = [peer for peer in swarm.peers[1:] if peer.present]
    if (
        not churn
        and swarm.peers[0].access.up * 350 > swarm.share.size * peers
        and all(peer.access.up or peer.number == 1 for peer in stayed)
    ):
        assert all(peer.finished for peer in stayed)


@pytest.mark.parametrize("seed", range(4))
def test_news_comes_in_time(seed: int) -> None:
    """Whoever is linked knows what the other has held for as long as news may wait, and nothing that it does
    not hold; who has nothing to ask for, and would have by it, knows much sooner."""
    swarm = world(Random(seed), 8, down=False, churn=False)
    latest = NEWS_LATEST_S + NEWS_KNOWN_S
    held: list[dict[int, int]] = []
    wanted: dict[Link, int] = {}
    soon = known_soon = 0
    for step in range(120):
        swarm.run(step / 2)
        held.append({peer.number: peer.held for peer in swarm.peers})
        for peer in swarm.peers:
            for link in peer.links.values():
                known = sum(1 << piece for piece in range(swarm.share.pieces) if knows(link.mirror, piece))
                assert not known & ~peer.held, "news of what is not so"
                age = step - int(2 * latest)
                if age >= 0 and link.since <= swarm.agenda.now - latest:
                    assert not held[age][peer.number] & ~known, "news that never came"
                if link.wants_us:
                    wanted[link] = step
                age = step - int(2 * (NEWS_DELAY_SLOW_S + 1))
                idle = wanted.get(link, 0) <= age  # before, news was not due, or is under way
                if age >= 0 and link.since <= swarm.agenda.now - 2 and idle:
                    soon += 1
                    known_soon += not held[age][peer.number] & ~known & ~link.other.held
    assert soon > 10
    assert known_soon == soon


def knows(link: Link, piece: int) -> bool:
    """Whether the owner of this side has heard that the other holds the piece, or left it to others since."""
    download = link.owner.download
    elsewhere = download._suppliers[link.id].elsewhere
    return download._picker.holds(link.id, PieceIndex(piece)) or piece in elsewhere


def test_copies_are_counted() -> None:
    swarm = world(Random(3), 9, down=False, churn=True)
    swarm.run(15)
    held = [0] * swarm.share.pieces
    for peer in swarm.present:
        for piece in peer.download.bits.indices():
            held[piece] += 1
    assert swarm.transfer.copies == held


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([20, 100, 400]))
def test_no_bound_is_beaten(seed: int, peers: int, down_kbit: int) -> None:
    text = (
        f'[share]\nsize = "1MiB"\npiece = "32KiB"\n[origin]\nup = "800kbit"\n[[peers]]\ncount = {peers}\n'
        f'up = "100kbit"\ndown = "{down_kbit}0kbit"\n'
    )
    parsed = parse(text)
    bound, outcome = parsed.bound(), simulate(parsed, seed)
    assert bound is not None
    assert outcome.last is not None
    # The last byte of a flow is booked so far ahead, and a handshake takes its time.
    assert outcome.last >= bound * (1 - 1e-9) - 0.1


def test_a_slow_downlink_is_the_bound_and_is_reached() -> None:
    text = (
        '[share]\nsize = "4MiB"\n[origin]\nup = "100mbit"\n[[peers]]\ncount = 5\ndown = "2mbit"\nup = "1mbit"'
    )
    parsed = parse(text)
    outcome = simulate(parsed, 1)
    assert outcome.last is not None
    assert outcome.last == pytest.approx(8 * 4 * 1024 * KIB / 2e6, rel=0.05)


def test_equal_in_other_processes() -> None:
    """Whatever the hash seed is, in whichever process."""
    code = (
        "from lab.large.run import simulate\nfrom lab.simulate.scenario import parse\n"
        f"print(simulate(parse({scenario('comings-and-goings')!r}), 5).trace_hash)"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1
    assert hashes.pop().strip() == simulate(parse(scenario("comings-and-goings")), 5).trace_hash


def test_who_returns_goes_on_where_it_was() -> None:
    text = (
        '[share]\nsize = "1MiB"\n[origin]\nup = "1mbit"\n[[peers]]\ncount = 1\nup = "1mbit"\n'
        'crashes_at = "4s"\nreturns_at = "20s"'
    )
    last = simulate(parse(text), 1).last
    assert last is not None
    assert 20 < last < 27, "a second download from the start would take 8.4 s more"


def test_who_never_completes_is_counted() -> None:
    text = (
        '[share]\nsize = "1MiB"\n[origin]\nup = "80kbit"\ndies_at = "1s"\n[[peers]]\ncount = 2\nup = "1mbit"'
    )
    assert simulate(parse(text), 1).last is None


def test_two_that_have_everything_part() -> None:
    share = Share(64 * KIB, 16 * KIB)
    swarm = Swarm(share, 1)
    swarm.add(Access(1e5), origin=True)
    swarm.add(Access(1e5), have=Bitfield(share.pieces))
    swarm.run(60)
    assert swarm.peers[1].finished
    assert not swarm.peers[1].links


@pytest.mark.parametrize("piece", ["rarest", "random", "in-order"])
@pytest.mark.parametrize("choke", ["reciprocation", "even", "none"])
def test_every_policy_brings_everything_to_everybody(piece: str, choke: str) -> None:
    parsed = parse(scenario("textbook"))
    policies = by_name({"piece": piece, "choke": choke, "peer": "complete-first"})
    outcome = simulate(parsed, 1, policies)
    bound = parsed.bound()
    assert bound is not None
    assert outcome.last is not None
    assert bound <= outcome.last < 3 * bound


def test_what_only_the_large_world_has() -> None:
    from lab.simulate.scenario import World

    parsed = parse(scenario("textbook") + 'arrivals = "poisson"')
    parsed.check(World.LARGE)
    for other in (World.SMALL, World.REAL):
        with pytest.raises(UsageError, match="arrivals is for --world large"):
            parsed.check(other)


def test_what_is_done_for_a_piece_does_not_grow_with_the_swarm() -> None:
    """Counted in calls, which no other work on the machine disturbs; `benchmarks.large` has the seconds."""
    few, many = calls((20, 40)), calls((60, 40))
    assert many / few <= log(60) / log(20)

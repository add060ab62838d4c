"""The closed forms of lab/bounds.py against every golden number of the lab's specification."""

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import bounds, bounds_report
from peer.errors import UsageError

F = Fraction

HOUR_PER_FILE = {
    "file": F(1),
    "server_up": F(10),
}  # Kurose & Ross's figure: u = 1, u_s = 10u; answers in hours


# --- Kurose & Ross


@pytest.mark.parametrize(
    ("peers", "client_server", "p2p"),
    [
        (1, "0.1", "0.1"),
        (5, "0.5", "0.3333"),
        (10, "1.0", "0.5"),
        (15, "1.5", "0.6"),
        (20, "2.0", "0.6667"),
        (25, "2.5", "0.7143"),
        (30, "3.0", "0.75"),
        (35, "3.5", "0.7778"),
    ],
)
def test_the_figure_of_kurose_and_ross(peers: int, client_server: str, p2p: str) -> None:
    server = bounds.client_server(**HOUR_PER_FILE, peers=peers, down_min=F(10)).time
    swarm = bounds.peer_to_peer(**HOUR_PER_FILE, peer_ups=[F(1)] * peers, down_min=F(10)).time
    assert server == F(peers, 10) == F(client_server)
    assert swarm == max(F(1, 10), F(peers, peers + 10))
    assert round(swarm, 4) == F(p2p)
    assert swarm < 1


@pytest.mark.parametrize(
    ("file", "server_up", "up", "expected"),
    [
        # F = 15 Gb, u_s = 30 Mb/s, N = 10, 100, 1000
        (15_000, 30, F(3, 10), (7500, 25000, 45455)),
        (15_000, 30, F(5, 10), (7500, 18750, 28302)),
        (15_000, 30, F(7, 10), (7500, 15000, 20548)),
        (15_000, 30, F(1), (7500, 11538, 14563)),
        (15_000, 30, F(2), (7500, 7500, 7500)),
        # the same with multiples of 1024
        (15 * 1024, 30, F(300, 1024), (7680, 25904, 47559)),
        (15 * 1024, 30, F(700, 1024), (7680, 15616, 21525)),
    ],
)
def test_the_homework_of_kurose_and_ross(file: int, server_up: int, up: F, expected: tuple[int, ...]) -> None:
    times = tuple(
        round(bounds.peer_to_peer(F(file), F(server_up), [up] * n, F(2)).time) for n in (10, 100, 1000)
    )
    assert times == expected


@pytest.mark.parametrize(
    ("file", "server_up", "counts", "expected"),
    [
        (15_000, 30, (10, 100, 1000), (7500, 50000, 500000)),
        (15 * 1024, 30, (10, 100, 1000), (7680, 51200, 512000)),
        (10_000, 20, (100, 1000, 10000), (50000, 500000, 5000000)),
    ],
)
def test_client_server_homework(
    file: int, server_up: int, counts: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert tuple(bounds.client_server(F(file), F(server_up), n, F(2)).time for n in counts) == expected


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        (F(3, 10), (20000, 31250, 33113)),
        (F(7, 10), (11111, 13889, 14245)),
        (F(2), (5000, 5000, 5000)),
    ],
)
def test_the_second_homework(up: F, expected: tuple[int, ...]) -> None:
    times = tuple(
        round(bounds.peer_to_peer(F(10_000), F(20), [up] * n, F(2)).time) for n in (100, 1000, 10000)
    )
    assert times == expected


def test_unequal_peers() -> None:
    ups = [F(u) for u in (24, 23, 27, 25, 18, 29, 27)]
    downs = [F(d) for d in (27, 20, 22, 39, 32, 33, 17)]
    bound = bounds.peer_to_peer(F(7000), F(84), ups, min(downs))
    assert round(float(bound.time), 2) == 411.76
    assert bound.time == F(7000, 17)
    assert bound.limit == bounds.SLOWEST_DOWNLINK


def test_the_binding_resource_is_named() -> None:
    assert bounds.client_server(1.0, 1.0, 3).limit == bounds.ORIGIN_UPLINK
    assert bounds.peer_to_peer(1.0, 1.0, [5.0] * 3).limit == bounds.ORIGIN_UPLINK
    assert bounds.peer_to_peer(1.0, 1.0, [0.1] * 30).limit == bounds.ALL_UPLINKS


def test_the_default_swarm_of_bharambe() -> None:
    file, server_up, up, down = F(100 * 2**20 * 8), F(6_000_000), F(400_000), F(1_500_000)
    server = bounds.client_server(file, server_up, 1000, down)
    swarm = bounds.peer_to_peer(file, server_up, [up] * 1000, down)
    assert round(server.time) == 139_810
    assert [round(float(value), 1) for value in sorted(value for _, value in swarm.terms)] == [
        139.8,
        559.2,
        2066.2,
    ]
    assert round(swarm.time) == 2066
    assert round(float(server.time / swarm.time), 1) == 67.7


# --- Kumar & Ross, Legout, Hajek & Zhu


def test_one_seed_is_kurose_and_ross() -> None:
    assert bounds.kumar_ross(F(1), [F(10)], [F(1)] * 7, F(3)) == bounds.peer_to_peer(
        F(1), F(10), [F(1)] * 7, F(3)
    )


def test_several_seeds() -> None:
    # u(S) = 8, u(L) = 10, ten leechers: 10/18, above 1/8 and 1/4.
    assert bounds.kumar_ross(F(1), [F(4), F(4)], [F(1)] * 10, F(4)).time == F(10, 18)
    # Strong seeds: the slowest downlink decides.
    assert bounds.kumar_ross(F(1), [F(40), F(40)], [F(1)] * 10, F(4)).time == F(1, 4)


def test_first_copy_and_stability() -> None:
    assert bounds.first_copy(F(1), F(10)) == F(1, 10)
    assert bounds.one_seed_is_stable(1.0, 0.5)
    assert not bounds.one_seed_is_stable(1.0, 2.0)
    assert not bounds.one_seed_is_stable(1.0, 1.0)


# --- parts


@pytest.mark.parametrize(
    ("peers", "parts", "expected"),
    [(1000, 100, F("1.09")), (10**6, 1000, F("1.019")), (1000, 1, F(10)), (3, 1, F(2))],
)
def test_mundinger(peers: int, parts: int, expected: F) -> None:
    assert bounds.mundinger(peers, parts) == expected
    assert bounds.client_server_file_times(peers) == peers


def rounds_by_search(peers: int, parts: int) -> int:
    """The fewest rounds in which all have all parts: breadth first over who holds what.

    In a round every node sends at most one part it held before and receives at most one.
    """
    everything = (1 << parts) - 1
    frontier = {(0,) * peers}
    rounds = 0
    while not any(all(held == everything for held in state) for state in frontier):
        reached: set[tuple[int, ...]] = set()
        for state in frontier:
            senders = (everything, *state)  # the server is sender 0
            after: set[tuple[tuple[int, ...], frozenset[int]]] = {((), frozenset())}
            for held in state:
                step: set[tuple[tuple[int, ...], frozenset[int]]] = set()
                for done, busy in after:
                    step.add(((*done, held), busy))
                    for sender, has in enumerate(senders):
                        if sender in busy:
                            continue
                        for part in range(parts):
                            if has >> part & 1 and not held >> part & 1:
                                step.add(((*done, held | 1 << part), busy | {sender}))
                after = step
            # Peers are alike, so order does not matter; less is never better than more.
            reached |= {tuple(sorted(done)) for done, _ in after}
        frontier = _best(reached)
        rounds += 1
    return rounds


def _best(states: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Drop states that another state covers peer by peer."""
    by_size = sorted(states, key=lambda s: -sum(h.bit_count() for h in s))
    kept: list[tuple[int, ...]] = []
    for state in by_size:
        if not any(all(a & b == a for a, b in zip(state, k, strict=True)) for k in kept):
            kept.append(state)
    return set(kept)


@pytest.mark.parametrize(
    ("peers", "parts"), [(1, 1), (2, 1), (3, 1), (4, 1), (1, 3), (2, 2), (3, 2), (4, 2), (2, 3), (3, 3)]
)
def test_mundinger_by_exhaustive_search(peers: int, parts: int) -> None:
    assert bounds.mundinger_rounds(peers, parts) == rounds_by_search(peers, parts)


def test_multi_source() -> None:
    # Three peers with a file each, equal uplinks: everybody sends twice.
    assert bounds.multi_source([F(1)] * 3, [F(1)] * 3) == 2
    # A peer whose own file is large against its uplink decides alone.
    assert bounds.multi_source([F(10), F(1)], [F(1), F(10)]) == 10


def hops_finish(parents: list[int | None], parts: int, degree: int) -> F:
    """When the last node of a store-and-forward tree has the last part; an edge carries a part in k/M.

    `parents[i]` is below i, None for the server's children.
    """
    done = [[F(0)] * parts for _ in parents]
    for node, parent in enumerate(parents):
        free = F(0)
        for part in range(parts):
            ready = F(0) if parent is None else done[parent][part]
            free = max(free, ready) + F(degree, parts)
            done[node][part] = free
    return max(times[-1] for times in done)


@pytest.mark.parametrize(("peers", "parts"), [(1, 1), (1, 5), (7, 1), (7, 4), (30, 10)])
def test_chain_by_passing_parts_on(peers: int, parts: int) -> None:
    parents = [None if i == 0 else i - 1 for i in range(peers)]
    assert bounds.chain(peers, parts) == hops_finish(parents, parts, 1) == 1 + F(peers - 1, parts)


@pytest.mark.parametrize(
    ("levels", "parts", "degree"), [(1, 3, 2), (3, 1, 2), (3, 8, 2), (3, 6, 3), (4, 5, 1)]
)
def test_tree_by_passing_parts_on(levels: int, parts: int, degree: int) -> None:
    parents: list[int | None] = [None] * degree  # the server has k children as everybody
    row = list(range(degree))
    for _ in range(levels - 1):
        below = [(node, len(parents) + k) for k, node in enumerate(n for n in row for _ in range(degree))]
        parents += [node for node, _ in below]
        row = [child for _, child in below]
    assert bounds.tree(levels, parts, degree) == hops_finish(parents, parts, degree)
    assert bounds.tree(levels, parts, degree) == degree + F((levels - 1) * degree, parts)
    assert bounds.tree_levels(len(parents), degree) == levels
    assert bounds.tree_levels(len(parents) + 1, degree) == levels + 1


@pytest.mark.parametrize("peers", [1, 2, 3, 6, 7, 10, 14, 15, 1000])
def test_a_tree_has_no_level_more_than_its_peers_need(peers: int) -> None:
    parents = [None if i < 2 else (i - 2) // 2 for i in range(peers)]  # level by level below the server
    assert bounds.tree(bounds.tree_levels(peers, 2), 1, 2) == hops_finish(parents, 1, 2)


def test_the_table_of_parts_has_the_smallest_tree() -> None:
    table = bounds_report._parts([1])
    assert [row["tree_2"] for row in table.rows] == [6, 18, 38]


@pytest.mark.parametrize(
    ("peers", "parts", "degree"), [(4, 8, 2), (7, 8, 2), (9, 6, 3), (27, 12, 3), (16, 16, 4)]
)
def test_parallel_trees_by_passing_parts_on(peers: int, parts: int, degree: int) -> None:
    # One of the k trees, each with its share of the parts under one root peer; edges run at 1/k.
    parents = [None if i == 0 else (i - 1) // degree for i in range(peers)]
    stripe = parts // degree
    done = hops_finish(parents, stripe, degree) * F(stripe, parts)  # a part takes k/M, not k/stripe
    assert bounds.parallel_trees(peers, parts, degree) == done


@given(st.integers(1, 5000), st.integers(1, 50), st.integers(2, 6))
def test_parallel_trees_are_about_the_known_formula(peers: int, stripes: int, degree: int) -> None:
    parts = stripes * degree
    log = next(d for d in range(20) if degree**d >= peers)  # ceil of log_k N, exactly
    about = 1 + F(log * degree, parts)
    assert bounds.parallel_trees(peers, parts, degree) <= about
    assert bounds.parallel_trees(degree**log, parts, degree) == about


@given(st.integers(1, 3000), st.integers(1, 400))
def test_nothing_beats_the_optimum(peers: int, parts: int) -> None:
    best = bounds.mundinger(peers, parts)
    assert best >= 1
    assert best <= bounds.chain(peers, parts)
    assert best <= bounds.parallel_trees(peers, parts, 2)
    assert best <= bounds.client_server_file_times(peers)
    # Nor does cutting into parts beat the fluid limit: N/(1 + N) and the first copy.
    assert best >= bounds.peer_to_peer(F(1), F(1), [F(1)] * peers).time


def test_ideal_rounds_of_the_kraken_simulator() -> None:
    assert bounds.ideal_rounds(125, 10) == F("12.5")
    assert bounds.ideal_rounds(2500, 10) == 250
    efficiency = [round(100 * float(bounds.ideal_rounds(2500, 10)) / rounds) for rounds in (294, 298)]
    assert efficiency == [85, 84]


# --- Qiu & Srikant


def swarm(departures: F, arrivals: str = "0.04", aborts: str = "0.001") -> bounds.OpenSwarm[F]:
    return bounds.OpenSwarm(
        arrivals=F(arrivals),
        downlink=F("0.002"),
        uplink=F("0.00125"),
        departures=departures,
        aborts=F(aborts),
        effectiveness=F(1),
    )


@pytest.mark.parametrize(
    ("departures", "stay", "downloaders", "seeds"),
    [(F("0.001"), F(1000, 3), F(40, 3), F(80, 3)), (F("0.005"), F(375), F(15), F(5))],
)
def test_steady_state(departures: F, stay: F, downloaders: F, seeds: F) -> None:
    state = swarm(departures).steady_state()
    assert (state.stay, state.downloaders, state.seeds) == (stay, downloaders, seeds)
    assert round(float(stay), 2) in (333.33, 375.0)


@pytest.mark.parametrize("departures", [F("0.001"), F("0.005")])
@pytest.mark.parametrize("effectiveness", [1.0, 0.6])
def test_steady_state_by_integration(departures: F, effectiveness: float) -> None:
    exact = swarm(departures)
    model = bounds.OpenSwarm(
        float(exact.arrivals),
        float(exact.downlink),
        float(exact.uplink),
        float(exact.departures),
        float(exact.aborts),
        effectiveness,
    )
    state = model.steady_state()
    x, y = integrate(model)
    assert x == pytest.approx(state.downloaders, rel=1e-3)
    assert y == pytest.approx(state.seeds, rel=1e-3)


def integrate(
    model: bounds.OpenSwarm[float], seconds: int = 20_000, step: float = 2.0
) -> tuple[float, float]:
    """The differential equations from an empty swarm with one seed, by the midpoint rule."""

    def slope(x: float, y: float) -> tuple[float, float]:
        done = min(model.downlink * x, model.uplink * (model.effectiveness * x + y))
        return model.arrivals - model.aborts * x - done, done - model.departures * y

    x, y = 0.0, 1.0
    for _ in range(int(seconds / step)):
        dx, dy = slope(x, y)
        dx, dy = slope(x + dx * step / 2, y + dy * step / 2)
        x, y = x + dx * step, y + dy * step
    return x, y


def test_the_stay_does_not_depend_on_the_arrivals() -> None:
    stays = {swarm(F("0.005"), arrivals=rate).steady_state().stay for rate in ("0.001", "1", "1000")}
    assert len(stays) == 1


def test_without_aborts_the_stay_is_the_download_time() -> None:
    assert swarm(F("0.001"), aborts="0").steady_state().stay == 500  # 1/c


# --- impossible parameters


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: bounds.client_server(0.0, 1.0, 1),
        lambda: bounds.client_server(1.0, 0.0, 1),
        lambda: bounds.client_server(1.0, float("nan"), 1),
        lambda: bounds.client_server(1.0, float("inf"), 1),
        lambda: bounds.client_server(1.0, 1.0, 0),
        lambda: bounds.client_server(1.0, 1.0, -3),
        lambda: bounds.client_server(1.0, 1.0, 1, 0.0),
        lambda: bounds.peer_to_peer(1.0, 1.0, []),
        lambda: bounds.peer_to_peer(1.0, 1.0, [-1.0]),
        lambda: bounds.peer_to_peer(1.0, 1.0, [float("nan")]),
        lambda: bounds.kumar_ross(1.0, [], [1.0]),
        lambda: bounds.kumar_ross(1.0, [0.0], [1.0]),
        lambda: bounds.mundinger(0, 1),
        lambda: bounds.mundinger(1, 0),
        lambda: bounds.tree(1, 1, 0),
        lambda: bounds.parallel_trees(5, 5, -1),
        lambda: bounds.multi_source([1.0], [1.0, 1.0]),
        lambda: bounds.multi_source([1.0], [0.0]),
        lambda: bounds.ideal_rounds(1, 0),
        lambda: bounds.first_copy(1.0, -1.0),
        lambda: swarm(F(0)),
        lambda: swarm(F(1), aborts="-1"),
        lambda: bounds.OpenSwarm(1.0, 1.0, 1.0, 1.0, float("inf"), 1.0),
        lambda: bounds.OpenSwarm(1.0, 1.0, 1.0, 1.0, 0.0, 1.5),
    ],
)
def test_impossible_parameters_get_one_sentence(impossible: object) -> None:
    assert callable(impossible)
    with pytest.raises(UsageError) as caught:
        impossible()
    assert "\n" not in str(caught.value)
    assert "cannot" in str(caught.value) or "each peer" in str(caught.value)


def test_a_free_rider_has_no_uplink() -> None:
    assert bounds.peer_to_peer(F(1), F(1), [F(0), F(1)]).time == 1


def test_pairs_of_models_agree_where_they_meet() -> None:
    """With endless parts the part models come down to the fluid ones."""
    for peers, degree in combinations(range(2, 9), 2):
        assert bounds.parallel_trees(peers, 10**6 * degree, degree) == pytest.approx(1, rel=1e-4)
        assert bounds.chain(peers, 10**6) == pytest.approx(1, rel=1e-4)


@given(st.fractions(min_value=F(1), max_value=F(10**9)), st.fractions(min_value=F(0), max_value=F(10**9)))
def test_equal_peers_are_peers(server_up: F, up: F) -> None:
    for peers in (1, 2, 50):
        assert bounds.equal_peers(F(7), server_up, peers, up) == bounds.peer_to_peer(
            F(7), server_up, [up] * peers
        )


def test_a_curve_for_a_million_peers_adds_up_no_uplinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its two hundred points made a list of a million uplinks: seven seconds."""
    monkeypatch.delattr(bounds, "peer_to_peer")
    links = bounds_report.Links(8e9, 40e6, 4e6, None)
    assert links.swarm(10**6).time == pytest.approx(2000, rel=1e-4)
    assert links.swarm(10**6, seeds=10).limit == bounds.ALL_UPLINKS

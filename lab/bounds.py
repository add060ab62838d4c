# ruff: noqa: RUF002 - the formulas are written as the papers write them
"""What theory says: closed forms for the time it takes to bring one file to many.  PURE.

Quantities carry no unit of their own: give the file in bits and rates in bits per second and the answer is in
seconds; give both in "files" and the answer is in file times. Every function works on float and, exactly, on
Fraction. Impossible parameters raise `UsageError` with one sentence.

Two kinds of model stand here side by side. *Fluid* models (Kurose-Ross, Kumar-Ross, Qiu-Srikant) let a byte
be passed on the moment it arrives; *part* models (Mundinger, chains, trees) make a peer hold a whole part
before it may send it, and so cost a little more: the price of cutting a file into pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final, Generic, TypeVar

from peer.errors import UsageError

Real = TypeVar("Real", float, Fraction)

ORIGIN_UPLINK = "the origin's uplink"
SLOWEST_DOWNLINK = "the slowest downlink"
ALL_UPLINKS = "all uplinks together"


@dataclass(frozen=True, slots=True)
class Bound(Generic[Real]):
    """A lower bound that is the largest of several terms, each the time that one resource needs at least."""

    terms: tuple[tuple[str, Real], ...]

    @property
    def time(self) -> Real:
        return max(value for _, value in self.terms)

    @property
    def limit(self) -> str:
        """The resource that decides; the first named where several do."""
        return max(self.terms, key=lambda term: term[1])[0]


# --- fluid models of one file and N peers


def client_server(file: Real, server_up: Real, peers: int, down_min: Real | None = None) -> Bound[Real]:
    """max{ N·F/u_s, F/d_min }: one server sends every peer its own copy.

    `down_min` is the slowest downlink; None: not a limit. Source: Kurose & Ross, Computer Networking: A
    Top-Down Approach, section 2.5 (peer-to-peer file distribution).
    """
    _check_positive(file=file, server_up=server_up)
    _check_count(peers=peers)
    return _bound(((ORIGIN_UPLINK, peers * file / server_up),), file, down_min)


def peer_to_peer(
    file: Real, server_up: Real, peer_ups: Sequence[Real], down_min: Real | None = None
) -> Bound[Real]:
    """max{ F/u_s, F/d_min, N·F/(u_s + Σu_i) }: every peer passes on what it has.

    An uplink of a peer may be zero (a free rider). Source: as `client_server`; that a fluid schedule attains
    it is shown by Kumar & Ross, see `kumar_ross`.
    """
    _check_positive(file=file, server_up=server_up)
    _check_count(peers=len(peer_ups))
    for up in peer_ups:
        _check_uplink(up)
    return _swarm(file, server_up, len(peer_ups), sum(peer_ups, start=server_up), down_min)


def equal_peers(
    file: Real, server_up: Real, peers: int, peer_up: Real, down_min: Real | None = None
) -> Bound[Real]:
    """`peer_to_peer` where all peers have the same uplink: a million cost no more than one."""
    _check_positive(file=file, server_up=server_up)
    _check_count(peers=peers)
    _check_uplink(peer_up)
    return _swarm(file, server_up, peers, server_up + peers * peer_up, down_min)


def _swarm(file: Real, server_up: Real, peers: int, together: Real, down_min: Real | None) -> Bound[Real]:
    return _bound(((ORIGIN_UPLINK, file / server_up), (ALL_UPLINKS, peers * file / together)), file, down_min)


def _check_uplink(up: Real) -> None:
    if not up >= 0:
        raise UsageError(f"an uplink cannot be {up}: a rate is zero or more")


def kumar_ross(
    file: Real, seed_ups: Sequence[Real], leecher_ups: Sequence[Real], down_min: Real | None = None
) -> Bound[Real]:
    """max{ F/d_min, F/u(S), L·F/(u(S) + u(L)) }: several seeds S, leechers L; attained in the fluid model.

    Source: Kumar & Ross, "Peer-Assisted File Distribution: The Minimum Distribution Time" (2006).
    """
    _check_count(seeds=len(seed_ups))
    for up in seed_ups:
        _check_positive(seed_up=up)
    return peer_to_peer(file, sum(seed_ups[1:], start=seed_ups[0]), leecher_ups, down_min)


def first_copy(file: Real, server_up: Real) -> Real:
    """F/u_s: as long as the only seed has not sent each piece once, some piece is rare.

    The *transient state* of Legout, Urvoy-Keller & Michiardi, "Rarest First and Choke Algorithms Are Enough"
    (2006) cannot end earlier.
    """
    _check_positive(file=file, server_up=server_up)
    return file / server_up


def one_seed_is_stable(seed_pieces_per_s: Real, arrivals_per_s: Real) -> bool:
    """Whether a swarm stays bounded when peers leave at once and one seed never does.

    Stable if and only if the seed uploads more pieces a second than peers arrive, whatever the piece policy,
    even with coding. Source: Hajek & Zhu, "The Missing Piece Syndrome in Peer-to-Peer Communication". The
    border itself counts as unstable.
    """
    _check_positive(seed_pieces_per_s=seed_pieces_per_s, arrivals_per_s=arrivals_per_s)
    return seed_pieces_per_s > arrivals_per_s


# --- part models: equal uplinks, file time 1, a part is passed on only when it is whole


def mundinger_rounds(peers: int, parts: int) -> int:
    """M + ⌊log2 N⌋ rounds of one part up and one part down: server and N peers of equal capacity, M parts.

    Source: Mundinger, Weber & Weiss, "Optimal Scheduling of Peer-to-Peer File Dissemination" (2008), arXiv
    cs/0606110. N counts receivers; the tests repeat it by exhaustive search for small N and M.
    """
    _check_count(peers=peers, parts=parts)
    return parts + peers.bit_length() - 1


def mundinger(peers: int, parts: int) -> Fraction:
    """1 + ⌊log2 N⌋/M in file times: the same in units of sending the whole file once."""
    return Fraction(mundinger_rounds(peers, parts), parts)


def client_server_file_times(peers: int) -> Fraction:
    """N: the client-server time on the scale of `mundinger`."""
    _check_count(peers=peers)
    return Fraction(peers)


def multi_source(files: Sequence[Real], uplinks: Sequence[Real]) -> Real:
    """max{ F_i/C_i, (N-1)·F/C }: peer i holds a file of its own, everybody wants all of them.

    F and C are the sums. F_i/C_i: a peer must send its file at least once; (N-1)·F/C: every file goes to all
    others over all uplinks. Two hops suffice. Source: Mundinger, Weber & Weiss (as above), fluid limit.
    """
    _check_count(peers=len(files))
    if len(files) != len(uplinks):
        raise UsageError(f"{len(files)} files and {len(uplinks)} uplinks: each peer has one of both")
    for file, up in zip(files, uplinks, strict=True):
        _check_positive(uplink=up)
        if not file >= 0:
            raise UsageError(f"a file cannot have size {file}")
    alone = max(file / up for file, up in zip(files, uplinks, strict=True))
    total = sum(files[1:], start=files[0])
    return max(alone, (len(files) - 1) * total / sum(uplinks[1:], start=uplinks[0]))


def chain(peers: int, parts: int) -> Fraction:
    """1 + (N-1)/M: each peer passes every part on to the next as soon as it has it.

    Derivation: the last part leaves the server at 1 and needs 1/M for each of the N-1 further hops.
    """
    _check_count(peers=peers, parts=parts)
    return 1 + Fraction(peers - 1, parts)


def tree(levels: int, parts: int, degree: int) -> Fraction:
    """k + (L-1)·k/M: a full k-ary tree of L levels of peers below the server.

    Derivation: an uplink shared by k children carries a part to all of them in k/M; the server needs M times
    that, and the last part descends L-1 further levels. k = 1 is the chain. The leaves, most of the peers,
    send nothing: that is why it takes k times the file time.
    """
    _check_count(levels=levels, parts=parts, degree=degree)
    return degree + Fraction((levels - 1) * degree, parts)


def tree_levels(peers: int, degree: int) -> int:
    """Levels of peers in the smallest k-ary tree below the server with room for all of them, as `tree` counts
    them: k peers on the first, k² on the second, and so on."""
    _check_count(peers=peers, degree=degree)
    if degree == 1:
        return peers
    levels, width, room = 1, degree, degree
    while room < peers:
        width *= degree
        room += width
        levels += 1
    return levels


def tree_depth(peers: int, degree: int) -> int:
    """Levels of peers in the smallest k-ary tree with room for all of them under one root peer."""
    _check_count(peers=peers, degree=degree)
    if degree == 1:
        return peers
    levels, width, room = 1, 1, 1
    while room < peers:
        width *= degree
        room += width
        levels += 1
    return levels


def parallel_trees(peers: int, parts: int, degree: int) -> Fraction:
    """(⌈M/k⌉ + D)·k/M with D = `tree_depth` - 1; about 1 + ⌈log_k N⌉·k/M, and never more where k divides M.

    The parts are dealt to k trees; every peer is inside at most one of them and a leaf in the others, so that
    all uplinks work. Derivation: a tree's edge runs at 1/k, so a part takes k/M a hop; the server sends ⌈M/k⌉
    parts into each tree, the last of them makes D more hops. For N = k^d it is exactly 1 + d·k/M.
    """
    _check_count(peers=peers, parts=parts, degree=degree)
    stripe = ceil(Fraction(parts, degree))
    return Fraction((stripe + tree_depth(peers, degree) - 1) * degree, parts)


def ideal_rounds(pieces: int, pieces_per_round: int) -> Fraction:
    """Rounds that a peer needs at full downlink: the floor under a simulation that counts in rounds.

    The scale of the Kraken simulator (4 MB pieces, 10 down in a round): 125 pieces need 12.5 rounds.
    """
    _check_count(pieces=pieces, pieces_per_round=pieces_per_round)
    return Fraction(pieces, pieces_per_round)


# --- a swarm that peers join and leave


@dataclass(frozen=True, slots=True)
class SteadyState(Generic[Real]):
    """Where the fluid swarm settles: downloaders, seeds, and the mean time that a downloader stays."""

    downloaders: Real
    seeds: Real
    stay: Real


@dataclass(frozen=True, slots=True)
class OpenSwarm(Generic[Real]):
    """The fluid model of Qiu & Srikant, "Modeling and Performance Analysis of BitTorrent-Like Peer-to-Peer
    Networks" (SIGCOMM 2004).

    arrivals λ in peers/s; downlink c and uplink μ in files/s; aborts θ and departures of seeds γ per peer and
    second; effectiveness η of sharing among downloaders, 0 to 1.

        dx/dt = λ − θx − min{cx, μ(ηx+y)}        x downloaders
        dy/dt = min{cx, μ(ηx+y)} − γy            y seeds
    """

    arrivals: Real
    downlink: Real
    uplink: Real
    departures: Real
    aborts: Real
    effectiveness: Real

    def __post_init__(self) -> None:
        _check_positive(
            arrivals=self.arrivals, downlink=self.downlink, uplink=self.uplink, departures=self.departures
        )
        if not 0 <= self.aborts < float("inf"):
            raise UsageError(f"aborts cannot be {self.aborts}: a rate is zero or more, and finite")
        if not 0 < self.effectiveness <= 1:
            raise UsageError(f"effectiveness cannot be {self.effectiveness}: it lies above 0 and up to 1")

    def steady_state(self) -> SteadyState[Real]:
        """x̄ = λ/(β(1+θ/β)), ȳ = λ/(γ(1+θ/β)), T = 1/(θ+β) with 1/β = max{1/c, (1/η)(1/μ − 1/γ)}.

        T does not depend on λ: a swarm twice as popular is as fast. T counts those who abort as well; with
        θ = 0 it is the download time.
        """
        starved = (1 / self.uplink - 1 / self.departures) / self.effectiveness
        beta = 1 / max(1 / self.downlink, starved)
        completing = 1 + self.aborts / beta
        return SteadyState(
            downloaders=self.arrivals / (beta * completing),
            seeds=self.arrivals / (self.departures * completing),
            stay=1 / (self.aborts + beta),
        )


def _bound(terms: tuple[tuple[str, Real], ...], file: Real, down_min: Real | None) -> Bound[Real]:
    """The terms given and, where there is one, the slowest downlink."""
    if down_min is None:
        return Bound(terms)
    _check_positive(down_min=down_min)
    down: tuple[tuple[str, Real], ...] = ((SLOWEST_DOWNLINK, file / down_min),)
    return Bound(terms + down)


def _check_positive(**values: float | Fraction) -> None:
    for name, value in values.items():
        if not (value > 0 and value < float("inf")):
            raise UsageError(
                f"{_WORDS.get(name, name)} cannot be {float(value):g}: it must be more than zero"
            )


def _check_count(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UsageError(f"the number of {_WORDS.get(name, name)} cannot be {value}: at least 1")


_WORDS: Final = {
    "file": "the size of the file",
    "server_up": "the origin's uplink",
    "seed_up": "a seed's uplink",
    "uplink": "an uplink",
    "down_min": "the slowest downlink",
    "arrivals": "the rate of arrivals",
    "departures": "the rate at which seeds leave",
    "downlink": "a downlink",
    "seed_pieces_per_s": "the seed's rate",
    "arrivals_per_s": "the rate of arrivals",
    "degree": "children of a node",
    "pieces_per_round": "pieces in a round",
}
"""How a parameter is called when it is impossible."""

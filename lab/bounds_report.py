# ruff: noqa: RUF001 - the formulas are written as the papers write them
"""The tables and figures of `lab bounds`, from parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from lab import bounds, units
from lab.figures import BLUE, GOLD, GREEN, GREY, ORANGE, PINK, Plot, Theme, panel, tag, theory
from lab.report import Column, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Links:
    """One file and the links it must cross: bits and bits per second."""

    file: float
    origin_up: float
    peer_up: float
    down: float | None

    def client_server(self, peers: int) -> bounds.Bound[float]:
        return bounds.client_server(self.file, self.origin_up, peers, self.down)

    def swarm(self, peers: int, seeds: int = 1) -> bounds.Bound[float]:
        return bounds.equal_peers(self.file, self.origin_up * seeds, peers, self.peer_up, self.down)

    def __str__(self) -> str:
        down = "unlimited" if self.down is None else units.rate(self.down)
        return (
            f"file {units.size(self.file)}, origin up {units.rate(self.origin_up)},"
            f" peer up {units.rate(self.peer_up)}, peer down {down}"
        )


SWARM_SWEEP: Final = tuple(0.01 * 2**k for k in range(8))
"""Arrival rates of the table for an open swarm, peers a second."""

CASES: Final = (
    # name, links, peers: known from textbooks and papers, to compare a slide or a homework with.
    ("Kurose-Ross homework, u = 300 kbit/s", Links(15e9, 30e6, 300e3, 2e6), (10, 100, 1000)),
    ("Kurose-Ross homework, u = 700 kbit/s", Links(15e9, 30e6, 700e3, 2e6), (10, 100, 1000)),
    ("Kurose-Ross homework, u = 2 Mbit/s", Links(15e9, 30e6, 2e6, 2e6), (10, 100, 1000)),
    ("Bharambe et al. default swarm", Links(100 * 2**20 * 8, 6e6, 400e3, 1.5e6), (1000,)),
    ("libtorrent baseline, 32 MiB", Links(32 * 2**20 * 8, 40e6, 4e6, None), (10, 30)),
)


def _ratio(value: float) -> str:
    return f"{_number(value)} x"


def _number(value: float) -> str:
    if isinstance(value, int) or value >= 1e4:
        return f"{value:,.0f}"
    return f"{value:,.4g}"


def result(
    links: Links, peers: Sequence[int], parts: Sequence[int], swarm: bounds.OpenSwarm[float]
) -> Result:
    """Every model for these parameters. Raises UsageError where they are impossible."""
    most = max(2, *peers)  # a curve has two points at least
    grid = sorted({*range(1, most + 1, max(1, most // 200)), *peers})
    return Result(
        command="lab bounds",
        title="What theory says: client-server against peer-to-peer",
        parameters={
            "file": units.size(links.file),
            "origin_up": units.rate(links.origin_up),
            "peer_up": units.rate(links.peer_up),
            "peer_down": "unlimited" if links.down is None else units.rate(links.down),
            "peers": list(peers),
            "parts": list(parts),
        },
        tables=[
            _kurose_ross(links, peers),
            _more_seeds(links, max(peers)),
            _parts(parts),
            _open_swarm(swarm),
            _cases(),
        ],
        plots=[_kurose_ross_plot(links, grid), _parts_plot(parts), _open_swarm_plot(swarm)],
        summary=_summary(links, max(peers)),
    )


def _summary(links: Links, peers: int) -> list[str]:
    server, swarm = links.client_server(peers), links.swarm(peers)
    faster = server.time / swarm.time
    ceiling = links.file / links.peer_up if links.peer_up else None
    lines = [
        f"{peers} peers: client-server at least {units.seconds(server.time)} (limit: {server.limit}),"
        f" peer-to-peer {units.seconds(swarm.time)} (limit: {swarm.limit}):"
        f" {f'{faster:,.0f}' if faster >= 100 else f'{faster:.3g}'} times faster.",
        f"No swarm is faster than its first copy: F/uₛ = {units.seconds(links.file / links.origin_up)}.",
    ]
    if ceiling:
        lines.append(
            "However many peers come, their uplinks together never need more than F/u ="
            f" {units.seconds(ceiling)}."
        )
    return lines


def _kurose_ross(links: Links, peers: Sequence[int]) -> Table:
    rows: list[dict[str, Any]] = []
    for n in peers:
        server, swarm = links.client_server(n), links.swarm(n)
        rows.append(
            {
                "peers": n,
                "client_server_s": server.time,
                "client_server_limit": server.limit,
                "p2p_s": swarm.time,
                "p2p_limit": swarm.limit,
                "speedup": server.time / swarm.time,
            }
        )
    columns = (
        Column("peers", "peers N", _number),
        Column("client_server_s", "client-server", units.seconds),
        Column("client_server_limit", "limited by"),
        Column("p2p_s", "peer-to-peer", units.seconds),
        Column("p2p_limit", "limited by"),
        Column("speedup", "speed-up", _ratio),
    )
    return Table("kurose-ross", "Kurose & Ross: distribution time, at least", columns, rows)


def _more_seeds(links: Links, peers: int) -> Table:
    rows = []
    for seeds in (1, 2, 5, 10):
        bound = links.swarm(peers, seeds)
        rows.append({"seeds": seeds, "leechers": peers, "p2p_s": bound.time, "p2p_limit": bound.limit})
    columns = (
        Column("seeds", "seeds S", _number),
        Column("leechers", "leechers L", _number),
        Column("p2p_s", "peer-to-peer", units.seconds),
        Column("p2p_limit", "limited by"),
    )
    return Table("kumar-ross", "Kumar & Ross: several seeds, each with the origin's uplink", columns, rows)


def _parts(parts: Sequence[int]) -> Table:
    rows = [
        {
            "peers": n,
            "parts": m,
            "rounds": bounds.mundinger_rounds(n, m),
            "optimal": float(bounds.mundinger(n, m)),
            "chain": float(bounds.chain(n, m)),
            "tree_2": float(bounds.tree(bounds.tree_levels(n, 2), m, 2)),
            "parallel_trees_4": float(bounds.parallel_trees(n, m, 4)),
            "client_server": float(bounds.client_server_file_times(n)),
        }
        for n in (10, 1000, 1_000_000)
        for m in parts
    ]
    columns = (
        Column("peers", "peers N", _number),
        Column("parts", "parts M", _number),
        Column("rounds", "rounds M+⌊log₂N⌋", _number),
        Column("optimal", "optimal T*", _number),
        Column("parallel_trees_4", "4 parallel trees", _number),
        Column("tree_2", "binary tree", _number),
        Column("chain", "chain", _number),
        Column("client_server", "client-server", _number),
    )
    note = (
        "In file times: 1 is the time in which one uplink sends the whole file once. All uplinks are equal."
    )
    return Table(
        "mundinger", "Mundinger, Weber & Weiss: what cutting into M parts costs", columns, rows, note
    )


def _open_swarm(swarm: bounds.OpenSwarm[float]) -> Table:
    rows = []
    for arrivals in SWARM_SWEEP:
        state = _at(swarm, arrivals).steady_state()
        rows.append(
            {
                "arrivals_per_s": arrivals,
                "downloaders": state.downloaders,
                "seeds": state.seeds,
                "stay_s": state.stay,
            }
        )
    columns = (
        Column("arrivals_per_s", "arrivals λ per s", _number),
        Column("downloaders", "downloaders x̄", _number),
        Column("seeds", "seeds ȳ", _number),
        Column("stay_s", "mean stay T", units.seconds),
    )
    note = _swarm_caption(swarm)
    return Table("qiu-srikant", "Qiu & Srikant: a swarm that peers join and leave", columns, rows, note)


def _cases() -> Table:
    rows = []
    for name, links, counts in CASES:
        for n in counts:
            server, swarm = links.client_server(n).time, links.swarm(n).time
            row = {
                "case": name,
                "peers": n,
                "client_server_s": server,
                "p2p_s": swarm,
                "speedup": server / swarm,
            }
            rows.append(row)
    columns = (
        Column("case", "case"),
        Column("peers", "peers N", _number),
        Column("client_server_s", "client-server, s", lambda s: f"{s:,.0f}"),
        Column("p2p_s", "peer-to-peer, s", lambda s: f"{s:,.0f}"),
        Column("speedup", "speed-up", _ratio),
    )
    return Table("known-cases", "Known cases, to compare with", columns, rows)


def _at(swarm: bounds.OpenSwarm[float], arrivals: float) -> bounds.OpenSwarm[float]:
    return bounds.OpenSwarm(
        arrivals, swarm.downlink, swarm.uplink, swarm.departures, swarm.aborts, swarm.effectiveness
    )


def _swarm_caption(swarm: bounds.OpenSwarm[float]) -> str:
    return (
        f"Per second: c = {swarm.downlink:g} and μ = {swarm.uplink:g} files, γ = {swarm.departures:g},"
        f" θ = {swarm.aborts:g}; η = {swarm.effectiveness:g}."
    )


def _kurose_ross_plot(links: Links, grid: Sequence[int]) -> Plot:
    server = [links.client_server(n).time for n in grid]
    swarm = [links.swarm(n).time for n in grid]
    scale, unit = _time_unit(max(server))

    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.add_subplot()
        server_y, swarm_y = [t / scale for t in server], [t / scale for t in swarm]
        theory(axes, grid, server_y, theme.series[ORANGE])
        theory(axes, grid, swarm_y, theme.series[BLUE])
        axes.fill_between(grid, swarm_y, server_y, color=theme.series[BLUE], alpha=0.07, linewidth=0)
        at = grid[-1]
        tag(
            axes,
            at,
            server_y[-1],
            "client–server\n" + units.seconds(links.client_server(at).time),
            theme.series[ORANGE],
        )
        tag(axes, at, swarm_y[-1], "peer-to-peer\n" + units.seconds(links.swarm(at).time), theme.series[BLUE])
        if links.peer_up:
            limit = links.file / links.peer_up / scale
            if limit < 1.1 * max(server_y):
                axes.axhline(limit, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
                text = f"F/u = {units.seconds(limit * scale)}: the uplinks suffice for any number of peers"
                style = {"xytext": (-4, 8), "ha": "right", "fontsize": 8.5, "fontweight": "normal"}
                tag(axes, at, limit, text, theme.muted, **style)
        axes.set(xlabel="peers N that want the file", ylabel=f"distribution time, at least ({unit})")
        axes.set_xlim(0, at * 1.2)
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= at])
        axes.set_ylim(0, None)

    caption = (
        "Lower bounds (dashed) of Kurose & Ross: client–server max{N·F/uₛ, F/dₘᵢₙ}, peer-to-peer"
        f" max{{F/uₛ, F/dₘᵢₙ, N·F/(uₛ + Σuᵢ)}}. {str(links)[0].upper()}{str(links)[1:]}."
    )
    return Plot("kurose-ross", "A server takes longer with every peer; a swarm hardly does", caption, draw)


def _parts_plot(parts: Sequence[int]) -> Plot:
    dense = sorted({*parts, *(round(10 ** (k / 12)) for k in range(37))})
    peers = 1000

    def draw(figure: "Figure", theme: Theme) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        shapes: tuple[tuple[str, Callable[[int], Fraction], int], ...] = (
            ("chain", lambda m: bounds.chain(peers, m), GOLD),
            ("binary tree", lambda m: bounds.tree(bounds.tree_levels(peers, 2), m, 2), GREEN),
            ("4 parallel trees", lambda m: bounds.parallel_trees(peers, m, 4), PINK),
            ("optimal", lambda m: bounds.mundinger(peers, m), BLUE),
        )
        panel(left, f"How the parts travel (N = {peers:,})")
        for name, time, colour in shapes:
            theory(left, dense, [float(time(m)) for m in dense], theme.series[colour], label=name)
        left.axhline(peers, color=theme.series[ORANGE], linestyle=(0, (5, 2.5)), linewidth=2)
        tag(
            left,
            1000,
            peers,
            "client–server: N, whatever M",
            theme.series[ORANGE],
            xytext=(0, 10),
            ha="right",
        )
        left.legend(loc="upper right", bbox_to_anchor=(1, 0.88), labelcolor="linecolor")
        panel(right, "How many peers there are (optimal)")
        for n, colour in ((10, GREY), (1000, BLUE), (1_000_000, GREEN)):
            y = [float(bounds.mundinger(n, m)) for m in dense]
            label = f"N = {n:,}: T* = {_plain(y[0])} … {y[-1]:.3f}"
            theory(right, dense, y, theme.series[colour], label=label)
        right.legend(loc="upper right", bbox_to_anchor=(1, 0.88), labelcolor="linecolor", reverse=True)
        right.axhline(1, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", xlabel="parts M the file is cut into")
            axes.set_ylim(0.8, 2200)
            axes.xaxis.set_major_formatter(lambda value, _: _plain(value))
            axes.yaxis.set_major_formatter(lambda value, _: _plain(value))
        left.set_ylabel("time until everybody has the file (file times)")

    caption = (
        "Theory only (dashed). Server and N peers with equal uplinks; a part is passed on only when it is"
        " whole; 1 = time to send the file once. Optimal:"
        " 1\u00a0+\u00a0⌊log₂\u00a0N⌋/M (Mundinger, Weber & Weiss 2008)."
    )
    title = "Cut the file into enough parts, and a million peers cost hardly more than one"
    return Plot("mundinger", title, caption, draw, size=(9.6, 5.2))


def _open_swarm_plot(swarm: bounds.OpenSwarm[float]) -> Plot:
    # From very few arrivals on, so that the line through the origin is seen to be one.
    rates = [Fraction(k, 100) for k in range(1, 101)]
    states = [_at(swarm, float(rate)).steady_state() for rate in rates]
    x = [float(rate) for rate in rates]

    def draw(figure: "Figure", theme: Theme) -> None:
        left, right = figure.subplots(1, 2)
        panel(left, "Peers in the swarm")
        theory(left, x, [s.downloaders for s in states], theme.series[BLUE])
        theory(left, x, [s.seeds for s in states], theme.series[GREEN])
        end = states[-1]
        tag(left, x[-1], end.downloaders, "downloaders", theme.series[BLUE])
        tag(left, x[-1], end.seeds, "seeds", theme.series[GREEN])
        left.set(xlabel="arrivals λ (peers per second)", ylabel="peers, steady state")
        panel(right, "Mean stay of a downloader")
        theory(right, x, [s.stay for s in states], theme.series[BLUE])
        tag(right, x[49], end.stay, units.seconds(end.stay), theme.series[BLUE], xytext=(0, 10), ha="center")
        right.set(xlabel="arrivals λ (peers per second)", ylabel="T (seconds)")
        right.set_ylim(0, end.stay * 1.6)
        left.set_xlim(0, 1.38)
        right.set_xlim(0, 1.02)
        left.set_xticks([0, 0.25, 0.5, 0.75, 1])
        left.set_ylim(0, None)

    caption = f"Fluid model of Qiu & Srikant (2004), steady state (dashed: theory). {_swarm_caption(swarm)}"
    return Plot(
        "qiu-srikant", "Twice as many peers come, and nobody waits longer", caption, draw, size=(9.6, 4.6)
    )


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _time_unit(longest: float) -> tuple[float, str]:
    """Divisor and name of the unit in which the longest time reads well."""
    for scale, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * scale:
            return scale, unit
    return 1.0, "seconds"

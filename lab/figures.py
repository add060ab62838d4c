"""Figures legible by themselves: title, units, theory dashed, measured solid, parameters in the caption.

A `Plot` is drawn twice, for a light and for a dark page, and saved as SVG and PNG. matplotlib is an optional
extra: it is imported only when a figure is drawn, and `missing()` says in one line how to get it.
"""

import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one page. `series` keep their order and meaning in both themes."""

    name: str
    page: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]


# Six hues that stay apart for colour-blind readers (after Okabe & Ito), darker on white, lighter on black.
LIGHT: Final = Theme(
    "light",
    page="#ffffff",
    ink="#1b1f24",
    muted="#59636e",
    grid="#e3e6ea",
    series=("#0b6bb5", "#c8500a", "#00856a", "#b0458a", "#8a6d00", "#4b5563"),
)
DARK: Final = Theme(
    "dark",
    page="#14181d",
    ink="#e6eaee",
    muted="#a0aab4",
    grid="#2b323a",
    series=("#5db3f0", "#f58d4c", "#35c4a2", "#e58fc4", "#dfc04a", "#aab4bf"),
)
THEMES: Final = (LIGHT, DARK)

BLUE, ORANGE, GREEN, PINK, GOLD, GREY = range(6)


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: `draw` gets an empty Figure whose title and caption are already placed, and the theme.

    name: of the files; size in inches.
    """

    name: str
    title: str
    caption: str
    draw: Callable[["Figure", Theme], None]
    size: tuple[float, float] = (8.4, 5.2)


def missing() -> str | None:
    """None where figures can be drawn, else one line that says what to do."""
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        return "figures are left out: matplotlib is not installed (pip install 'manyhands[lab]')"
    return None


def save(plot: Plot, folder: Path) -> dict[str, Path]:
    """Draw `plot` in both themes into `folder`; the paths by ``light.svg``, ``light.png``, ``dark.svg``..."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written: dict[str, Path] = {}
    for theme in THEMES:
        with mpl.rc_context(_settings(theme)), warnings.catch_warnings():
            # Of a user's own title: the font draws a box for it, which is what there is to say.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure = Figure(figsize=plot.size)
            FigureCanvasAgg(figure)  # so that layout can measure text
            _frame(figure, plot, theme)
            plot.draw(figure, theme)
            # Laid out once, not once more for each file: that is half of the time a figure takes.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            for kind in ("svg", "png"):
                path = folder / f"{plot.name}.{theme.name}.{kind}"
                # No date inside: the same numbers give the same file.
                figure.savefig(path, dpi=160, metadata={"Date": None} if kind == "svg" else None)
                written[f"{theme.name}.{kind}"] = path
    return written


def theory(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, **more: Any) -> None:
    """A bound or a model: dashed, without markers."""
    axes.plot(x, y, color=colour, linestyle=(0, (5, 2.5)), linewidth=2.0, zorder=3, **more)


def measured(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, **more: Any) -> None:
    """What was measured: solid, a marker for each point."""
    style: dict[str, Any] = {"marker": "o", "markersize": 5.0, "linewidth": 2.0, "zorder": 4} | more
    axes.plot(x, y, color=colour, linestyle="-", **style)


def tag(axes: "Axes", x: float, y: float, text: str, colour: str, **more: Any) -> None:
    """A name beside its curve instead of a legend to look up."""
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3.5, foreground=axes.get_facecolor())
    style: dict[str, Any] = {
        "xytext": (6, 0),
        "ha": "left",
        "va": "center",
        "fontsize": 9.5,
        "fontweight": "bold",
        "path_effects": [halo],
    } | more
    axes.annotate(text, (x, y), textcoords="offset points", color=colour, zorder=6, **style)


def tag_ends(axes: "Axes", x: float, ends: Sequence[tuple[float, str, str]], **more: Any) -> None:
    """Names at the right end of several curves, given as (y, name, colour), apart from each other.

    Call it when the limits of the axes are final.
    """
    lines = max((name.count("\n") + 1 for _, name, _ in ends), default=1)
    gap_px = 0.19 * lines * axes.figure.dpi  # the height of a line of text
    ordered = sorted(ends)
    wanted = [float(axes.transData.transform((x, y))[1]) for y, _, _ in ordered]
    for (y, name, colour), at_px, placed_px in zip(ordered, wanted, spread(wanted, gap_px), strict=True):
        lift_points = (placed_px - at_px) / axes.figure.dpi * 72
        tag(axes, x, y, name, colour, **({"xytext": (6, lift_points)} | more))


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending places at least `gap` apart, as near to the wanted (ascending) ones as can be.

    Neighbours that are too close form a block around the mean of what they want (pool adjacent violators).
    """
    blocks: list[tuple[float, int]] = []  # mean of (wanted - index * gap), members
    for index, place in enumerate(wanted):
        mean, members = place - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean = (mean * members + other * others) / (members + others)
            members += others
        blocks.append((mean, members))
    means = [mean for mean, members in blocks for _ in range(members)]
    return [mean + index * gap for index, mean in enumerate(means)]


def panel(axes: "Axes", title: str) -> None:
    """The heading of one of several panels."""
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=8)


def _settings(theme: Theme) -> Any:  # a mapping; matplotlib types its keys one by one
    return {
        "figure.facecolor": theme.page,
        "savefig.facecolor": theme.page,
        "axes.facecolor": theme.page,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelsize": 10,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "text.color": theme.ink,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "xtick.minor.visible": False,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.parse_math": False,  # a title is a user's text, with dollars that mean dollars
        "svg.hashsalt": "manyhands",
    }


def _frame(figure: "Figure", plot: Plot, theme: Theme) -> None:
    """Title above, caption below, what is between them for the axes."""
    width, height = plot.size
    title = textwrap.fill(plot.title, int(width * 9.2))
    caption = textwrap.fill(plot.caption, int(width * 15.4))
    title_inches = 0.16 + 0.27 * (title.count("\n") + 1)
    caption_inches = 0.18 + 0.165 * (caption.count("\n") + 1)
    margin = 0.16 / width
    figure.text(
        margin, 1 - 0.16 / height, title, fontsize=13.5, fontweight="bold", va="top", linespacing=1.25
    )
    figure.text(
        margin, 0.12 / height, caption, fontsize=8.5, color=theme.muted, va="bottom", linespacing=1.35
    )
    bottom = (caption_inches + 0.08) / height
    top = 1 - (title_inches + 0.1) / height
    figure.set_layout_engine(
        "constrained", rect=(margin, bottom, 1 - 2 * margin, top - bottom), wspace=0.06, hspace=0.08
    )

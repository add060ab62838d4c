"""The figure of how pieces multiply, from a story."""

from typing import TYPE_CHECKING

from lab import units
from lab.animate.copies import copies
from lab.animate.story import Story
from lab.figures import BLUE, GREEN, GREY, ORANGE, Plot, Theme, measured, tag, theory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES_AT = 0.52
"""Of the time: there the curves are apart; at the end they meet."""


def copies_plot(story: Story, first_copy_s: float | None, what: str) -> Plot:
    """Rarest, mean and most common piece over time. first_copy_s: F/u_s; what: parameters, a sentence."""
    found = copies(story)
    peers = sum(not actor.origin for actor in story.actors)

    def draw(figure: "Figure", theme: Theme) -> None:
        axes = figure.subplots()
        shown = round(NAMES_AT * (len(found.times) - 1))
        for name, values, colour in (
            ("most common", found.most, GREY),
            ("mean", found.mean, BLUE),
            ("rarest", found.least, GREEN),
        ):
            hue = theme.series[colour]
            measured(axes, found.times, values, hue, marker="", drawstyle="steps-post")
            tag(axes, found.times[shown], values[shown], name, hue, xytext=(8, -10))
        axes.set(xlabel="seconds", ylabel="copies of a piece, beside the origin's")
        axes.set_xlim(0, story.seconds)
        axes.set_ylim(0, peers * 1.08)
        if first_copy_s is not None and first_copy_s < story.seconds:
            theory(axes, [first_copy_s, first_copy_s], [0, peers], theme.series[ORANGE])
            tag(axes, first_copy_s, peers * 0.97, "F/uₛ", theme.series[ORANGE])

    ended = found.transient_s
    caption = (
        f"{what} Dashed: the origin cannot have sent each piece once before F/uₛ"
        + (f" = {units.seconds(first_copy_s)}" if first_copy_s else "")
        + (f"; here every piece had a copy after {units.seconds(ended)}" if ended else "")
        + " (the transient state of Legout, Urvoy-Keller & Michiardi)."
    )
    return Plot("copies", "From rare to everywhere: how pieces multiply", caption, draw)

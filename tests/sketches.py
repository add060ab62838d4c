"""Figures that are drawn and not rendered: what a test of a report costs is nearly all matplotlib's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import figures


def sketch(plot: figures.Plot, folder: Path) -> dict[str, Path]:
    """As `figures.save`, which has tests of its own: plots are drawn in both themes, files are empty."""
    from matplotlib.figure import Figure

    written: dict[str, Path] = {}
    for theme in figures.THEMES:
        plot.draw(Figure(figsize=plot.size), theme)
        for kind in ("svg", "png"):
            path = folder / f"{plot.name}.{theme.name}.{kind}"
            path.write_bytes(b"")
            written[f"{theme.name}.{kind}"] = path
    return written


@contextmanager
def sketched() -> Iterator[None]:
    """As long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "save", sketch)
        yield

"""What a person sees while a command works: bars on a terminal, lines elsewhere; all on stderr."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from peer.paths import printable
from peer.units import format_bytes, format_duration, format_rate

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_S = 2.0
"""Pause between progress lines where there is no terminal."""

RATE_SPAN_S = 3.0
"""The speed shown is that of the last seconds; the time left follows from it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A peer as the display shows it: bytes that came from it and verified, bytes a second."""

    name: str
    count: int
    rate: float


class Speed:
    """Bytes a second over the last few seconds, from totals that only grow."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []

    def update(self, now: float, total: int) -> float:
        """Note the total; return the speed."""
        self._points.append((now, total))
        while len(self._points) > 2 and now - self._points[1][0] > RATE_SPAN_S:
            self._points.pop(0)
        (then, before) = self._points[0]
        return (total - before) / (now - then) if now > then else 0.0


def summary(done: int, total: int, rate: float, detail: str) -> str:
    """One line of progress."""
    share = 100 * done // total if total else 100
    left = f", {format_duration((total - done) / rate)} left" if rate > 0 and done < total else ""
    speed = f", {format_rate(rate)}" if rate > 0 else ""
    tail = f", {detail}" if detail else ""
    return f"{share:3d} %  {format_bytes(done)} of {format_bytes(total)}{speed}{left}{tail}"


class Display(Protocol):
    """Shows one activity at a time."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        """The activity as it stands; call it as often as you like."""

    def is_due(self, now: float) -> bool:
        """Whether the same activity, shown now, would be seen."""

    def say(self, text: str) -> None:
        """A line that stays."""


class Lines:
    """For logs and pipes: a line when the activity changes, and one every few seconds."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._label = ""
        self._last = 0.0
        self._speed = Speed()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        if label != self._label:
            self._label, self._speed = label, Speed()
        elif not self.is_due(now):
            return
        self._last = now
        rate = self._speed.update(now, done)
        self.say(
            f"{label}: {summary(done, total, rate, detail)}"
            if total
            else ", ".join(filter(None, (label, detail)))
        )

    def is_due(self, now: float) -> bool:
        return now - self._last >= self._every_s

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class Bars:
    """For terminals: a bar, a line of facts, and where the bytes come from."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=10, transient=True)
        self._label = ""
        self._speed = Speed()

    def __enter__(self) -> "Bars":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        if label != self._label:
            self._label, self._speed = label, Speed()
        rate = self._speed.update(now, done)
        self._live.update(self._render(label, done, total, rate, detail, sources))

    def is_due(self, now: float) -> bool:
        return True

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)

    @staticmethod
    def _render(
        label: str, done: int, total: int, rate: float, detail: str, sources: Sequence[Source]
    ) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        if not total:
            return Spinner("dots", Text(f"{label}  {detail}"))
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(label, style="bold"),
            ProgressBar(total, done, width=40),
            Text(summary(done, total, rate, "")),
        )
        parts: list[RenderableType] = [head]
        if detail:
            parts.append(Text("  " + detail, style="dim"))
        if sources:
            table = Table.grid(padding=(0, 2))
            most = max(1, *(source.count for source in sources))
            for source in sources:
                table.add_row(
                    Text("  " + source.name, style="cyan"),
                    ProgressBar(most, source.count, width=20),
                    Text(format_bytes(source.count)),
                    Text(format_rate(source.rate) if source.rate >= 1 else "", style="dim"),
                )
            parts.append(table)
        return Group(*parts)


class JsonLines:
    """For programs that follow a transfer: one JSON object a line, several times a second."""

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        state = {"label": label, "done": done, "total": total, "detail": detail}
        state["sources"] = [{"name": s.name, "bytes": s.count, "rate": round(s.rate)} for s in sources]
        print(json.dumps(state), file=sys.stderr, flush=True)

    def is_due(self, now: float) -> bool:
        return True

    def say(self, text: str) -> None:
        print(json.dumps({"message": text}), file=sys.stderr, flush=True)


class Silent(Lines):
    """Only what must be said."""

    def show(
        self, now: float, label: str, done: int, total: int, detail: str = "", sources: Sequence[Source] = ()
    ) -> None:
        return None

    def is_due(self, now: float) -> bool:
        return False


KINDS = ("auto", "bars", "lines", "json", "none")


def make_display(kind: str = "auto") -> Display:
    """One of `KINDS`; auto is bars where somebody watches, lines where something records."""
    if kind == "auto":
        kind = "bars" if sys.stderr.isatty() else "lines"
    makers: dict[str, Callable[[], Display]] = {
        "bars": Bars,
        "lines": Lines,
        "json": JsonLines,
        "none": Silent,
    }
    return makers[kind]()

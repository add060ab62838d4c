"""The page of an animation: one HTML file with the story and its player inside, loading nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from importlib import resources
from typing import Any

from lab import units
from lab.animate.story import Story


def render(
    story: Story,
    *,
    title: str = "",
    bound_s: float | None = None,
    repeat: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """The whole page. bound_s: the least time that theory allows, drawn dashed if it is known."""
    title = title or f"How {units.size(8 * story.total_bytes)} spread to {receivers(story)} peers"
    data = {
        "pieces": story.pieces,
        "seconds": story.seconds,
        "bound_s": bound_s,
        "actors": [asdict(actor) for actor in story.actors],
        "events": story.events,
    }
    values = {
        "title": escape(title),
        "style": _asset("player.css"),
        "script": _asset("player.js"),
        "facts": escape(facts(story)),
        "bound": f" Dashed: no schedule is faster than {units.seconds(bound_s)}." if bound_s else "",
        "parameters": "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
            for name, value in (described(story, bound_s) | dict(parameters or {})).items()
        ),
        "repeat": escape(repeat or "lab animate TRACE..."),
        # Inside a script element only "</" could end it early, and "<!--" confuse.
        "story": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    # In one pass: what is put in is not read again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _asset("player.html"))


def receivers(story: Story) -> int:
    return sum(not actor.origin for actor in story.actors)


def facts(story: Story) -> str:
    """What came of it, in a sentence."""
    done = [a.done for a in story.actors if not a.origin and a.done is not None]
    line = f"{len(done)} of {receivers(story)} peers complete"
    if done:
        line += f", the last after {units.seconds(max(done))}"
    if story.moved_bytes:
        copies, part = story.origin_bytes / story.total_bytes, story.origin_bytes / story.moved_bytes
        line += f"; the origin sent {copies:.2f} copies, {part:.0%} of all bytes"
    bad = sum(event[1] == "b" for event in story.events)
    if bad:
        line += f"; {bad} pieces did not verify and were thrown away"
    return line + "."


def described(story: Story, bound_s: float | None) -> dict[str, str]:
    """The parameters as far as traces tell them."""
    found = {
        "share": f"{story.share[:16]}…",
        "size": f"{units.size(8 * story.total_bytes)}: {story.pieces:,} pieces of "
        f"{units.size(8 * story.piece_bytes)}",
        "origin": ", ".join(actor.name for actor in story.actors if actor.origin) or "not seen",
        "peers": str(receivers(story)),
        "without a trace": ", ".join(actor.name for actor in story.actors if not actor.traced) or "nobody",
    }
    if bound_s:
        found["bound"] = units.seconds(bound_s)
    return found


def _asset(name: str) -> str:
    return (resources.files("lab.animate") / name).read_text(encoding="utf-8")

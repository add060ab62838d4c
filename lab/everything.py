"""`make lab`: every experiment, one after the other, each with its report, and one page that links them.

usage: python -m lab.everything [DIR] [--quick] [--only NAME ...]

An experiment that fails is named and the others still run; the exit status says so at the end.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any, Final

from lab.cli import stop
from lab.page import STYLE
from lab.processes import STOP_S, program, running
from lab.report import REPORT_NAME, RESULTS_NAME, machine, versions
from peer.errors import ExitCode

INDEX_NAME: Final = "index.html"

EXPERIMENTS: Final[dict[str, tuple[str, ...]]] = {
    "bounds": ("bounds",),
    "protocols": ("protocols",),
    "sockets": ("sockets",),
    "scale": ("scale", "--origin-up", "16mbit", "--peers", "1,2,4,8,16"),
    "servers": ("servers",),
    "simulate-textbook": ("simulate", "textbook"),
    "simulate-free-riders": ("simulate", "free-riders"),
    "simulate-origin-dies": ("simulate", "origin-dies"),
    "simulate-comings-and-goings": ("simulate", "comings-and-goings"),
    "tournament": ("tournament", "free-riders"),
}
"""Folder of the report, and the command: about seven minutes on two cores."""

QUICK: Final[dict[str, tuple[str, ...]]] = EXPERIMENTS | {"scale": ("scale",)}
"""The same with --quick, which has sizes of its own for `lab scale`."""

NEED_MORE: Final = frozenset({"animate", "fleet"})
"""Commands that are not experiments of their own: they want traces, or a network that runs elsewhere."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them all; 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m lab.everything", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("lab-out"), help="default: lab-out")
    parser.add_argument("--quick", action="store_true", help="the short form of each")
    parser.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, metavar="NAME", help=f"only these: {', '.join(EXPERIMENTS)}"
    )
    given = parser.parse_args(arguments)
    chosen = {
        name: (*command, *(["--quick"] if given.quick else []))
        for name, command in (QUICK if given.quick else EXPERIMENTS).items()
        if not given.only or name in given.only
    }
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # before minutes are spent
        print(f"lab: cannot make {given.folder}: {error.strerror}; name another folder", file=sys.stderr)
        return ExitCode.STORAGE
    try:
        failed = run_all(chosen, given.folder)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    index = given.folder / INDEX_NAME
    index.write_text(render(found(given.folder), failed), encoding="utf-8")
    print(f"reports: {index}", file=sys.stderr)
    if failed:
        print(f"lab: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_all(chosen: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    """Run experiments, each into a folder of its own; the names of those that failed."""
    failed = []
    for name, command in chosen.items():
        words = [*command, "--out", str(folder / name)]
        print(f"lab {' '.join(words)}", file=sys.stderr, flush=True)
        begun = time.monotonic()
        with running([*program("lab"), *words], stdout=subprocess.DEVNULL) as process:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # was meant for the experiment too, which now puts its things away
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
                raise
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if status == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if status:
            failed.append(name)
    return failed


def found(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The reports in a folder: (relative folder, results), ours in their order, then others."""
    order = list(EXPERIMENTS)
    reports = []
    for path in folder.glob(f"*/{RESULTS_NAME}"):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if (path.parent / REPORT_NAME).is_file():
            reports.append((path.parent.relative_to(folder), data))
    return sorted(
        reports, key=lambda r: (order.index(r[0].name) if r[0].name in order else len(order), r[0].name)
    )


def render(reports: Sequence[tuple[Path, dict[str, Any]]], failed: Sequence[str] = ()) -> str:
    """The page that links them; the pictures are those of the reports, beside it."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>The lab of Manyhands</title><style>{STYLE}</style></head><body><main>",
        "<h1>The lab of Manyhands</h1>",
        f'<p class="lead">{escape(_where())}</p>',
    ]
    if failed:
        parts.append(f"<p>Could not be carried out: {escape(', '.join(failed))}.</p>")
    for folder, data in reports:
        parts.append(_entry(folder, data))
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _where() -> str:
    facts = machine()
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}; "
        f"{versions()['python']}"
    )


def _entry(folder: Path, data: dict[str, Any]) -> str:
    report = f"{folder}/{REPORT_NAME}"
    lines = "".join(f"<li>{escape(line)}</li>" for line in data["summary"][:6])
    links = [f'<a href="{escape(report)}">Report: figures, tables, parameters</a>']
    links += [
        f'<a href="{escape(f"{folder}/{name}")}">{escape(what)}</a>'
        for name, what in data.get("pages", {}).items()
    ]
    return (
        f'<h2><a href="{escape(report)}">{escape(data["title"])}</a></h2>'
        f'<p class="note">{escape(data["repeat"])} · took {data["seconds"]:.0f} s</p>'
        f"<ul>{lines}</ul><p>{' · '.join(links)}</p>{_picture(folder, data)}"
    )


def _picture(folder: Path, data: dict[str, Any]) -> str:
    """The first figure."""
    for figure in data["figures"].values():
        files = {name.split(".", 1)[1]: f"{folder}/{name}" for name in figure["files"]}
        if {"light.svg", "dark.svg"} <= set(files):
            return (
                '<figure><picture><source media="(prefers-color-scheme: dark)" '
                f'srcset="{escape(files["dark.svg"])}"><img src="{escape(files["light.svg"])}" '
                f'alt="{escape(figure["title"])}"></picture></figure>'
            )
    return ""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main())

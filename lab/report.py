"""What a run of an experiment leaves: results.json, figures, and one self-contained HTML page.

results.json, schema 1::

    {"schema": 1, "command": "lab bounds", "repeat": "lab bounds --peers 1-35", "title": ...,
     "summary": [...], "started": "2026-01-31T12:00:00+00:00", "seconds": 1.2,
     "parameters": {...}, "machine": {...}, "versions": {...},
     "rows": [{"table": "kurose-ross", "peers": 1, ...}, ...],          one flat object a row
     "tables": {"kurose-ross": {"title": ..., "columns": {"peers": "peers N", ...}}},
     "figures": {"kurose-ross": {"title": ..., "caption": ..., "files": ["kurose-ross.light.svg", ...]}},
     "pages": {"swarm.html": "Animation: ..."}}                         more pages beside the report

`lab scale` and `lab simulate` write the same schema, so that one program reads them all.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from lab import figures
from peer.errors import StorageError, UsageError

SCHEMA: Final = 1

RESULTS_NAME: Final = "results.json"
REPORT_NAME: Final = "report.html"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: key in the row, heading with its unit, and how a value is written for people."""

    key: str
    title: str
    show: Callable[[Any], str] = str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows are flat (str, int, float, bool, None): they go into JSON and a data frame as they are."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    note: str = ""
    shown: bool = True
    """Raw runs go into results.json only; they would drown the reader."""

    def cells(self) -> list[list[str]]:
        return [
            ["-" if row.get(c.key) is None else c.show(row[c.key]) for c in self.columns] for row in self.rows
        ]


@dataclass(slots=True)
class Result:
    """Everything that one run found out."""

    command: str
    title: str
    parameters: Mapping[str, Any]
    tables: list[Table]
    plots: list[figures.Plot] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    """More pages beside the report: (what it is, its HTML) by file name."""
    repeat: str = ""
    started: float = field(default_factory=time.time)
    seconds: float = 0.0

    def to_json(self, files: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
        """The schema above; `files` names the files of each figure where they were written."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "repeat": self.repeat or self.command,
            "title": self.title,
            "summary": self.summary,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "parameters": dict(self.parameters),
            "machine": machine(),
            "versions": versions(),
            "rows": [{"table": table.name, **row} for table in self.tables for row in table.rows],
            "tables": {
                table.name: {"title": table.title, "columns": {c.key: c.title for c in table.columns}}
                for table in self.tables
            },
            "figures": {
                plot.name: {"title": plot.title, "caption": plot.caption, "files": files[plot.name]}
                for plot in self.plots
                if files and plot.name in files
            },
            "pages": {name: what for name, (what, _) in self.pages.items()},
        }


def finite(value: object) -> object:
    """The value with null for what JSON cannot say: a ratio to something too small to measure is infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


def write(result: Result, folder: Path, complain: Callable[[str], None]) -> list[Path]:
    """Write results.json, the figures and report.html into `folder`, made if it is not there.

    `complain` gets one line where figures must be left out. Raises StorageError, UsageError.
    """
    from lab import page

    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn: dict[str, dict[str, Path]] = {}
        if result.plots:
            reason = figures.missing()
            if reason:
                complain(reason)
            else:
                drawn = {plot.name: figures.save(plot, folder) for plot in result.plots}
        files = {name: [path.name for path in paths.values()] for name, paths in drawn.items()}
        data = result.to_json(files)
        results, report = folder / RESULTS_NAME, folder / REPORT_NAME
        _replace(results, json.dumps(finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        for name, (_, text) in result.pages.items():
            _replace(folder / name, text)
        _replace(report, page.render(result, data, drawn))
    except FileExistsError:
        raise UsageError(f"{folder} is a file: name a folder with --out") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write the report to {folder}: {reason}; name another --out") from error
    return [
        results,
        *(path for paths in drawn.values() for path in paths.values()),
        *(folder / name for name in result.pages),
        report,
    ]


def machine() -> dict[str, Any]:
    """The machine as far as it matters for a measurement; nothing that identifies it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in ("manyhands", "trio", "msgpack", "blake3", "matplotlib"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (ValueError, OSError):
        return None


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all: a report that is read while it is written must not be half."""
    draft = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)

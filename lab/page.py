"""The HTML page of a run: one file, nothing loaded from elsewhere, light and dark by the reader's setting."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from lab.report import Result, Table

STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --muted: #59636e; --line: #d9dde2;
  --tint: #f4f6f8 }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181d; --ink: #e6eaee; --muted: #a0aab4; --line: #323a43; --tint: #1c2229 }
}
body { background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; margin: 0 }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 4rem }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .3rem }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem }
p.lead { color: var(--muted); margin: .1rem 0 1.2rem }
p.note { color: var(--muted); font-size: .9rem }
li { margin: .25rem 0 }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  overflow-x: auto }
a { color: inherit }
figure { margin: 1.6rem 0 }
figure img { width: 100%; height: auto; display: block; border: 1px solid var(--line); border-radius: 6px }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .92rem; min-width: 50% }
th, td { text-align: left; padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top }
th { color: var(--muted); font-weight: 600 }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0 }
dt { color: var(--muted) }
dd { margin: 0; overflow-wrap: anywhere }
.cols { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 2.4rem }
"""


def render(result: Result, data: Mapping[str, Any], drawn: Mapping[str, Mapping[str, Path]]) -> str:
    """The page. `data` is `Result.to_json()`, `drawn` the files of each figure by kind; they are embedded."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(result.title)}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(result.title)}</h1>",
        f'<p class="lead">{escape(data["command"])} · {escape(data["started"])}'
        f" · took {data['seconds']:.1f} s</p>",
    ]
    if result.summary:
        parts += ["<ul>", *(f"<li>{escape(line)}</li>" for line in result.summary), "</ul>"]
    for name, (what, _) in result.pages.items():
        parts.append(f'<p><a href="{escape(name)}">{escape(what)}</a></p>')
    for plot in result.plots:
        if plot.name in drawn:
            parts.append(_picture(f"{plot.title}. {plot.caption}", drawn[plot.name]))
    parts += [_table(table) for table in result.tables if table.shown]
    parts.append('<div class="cols">')
    for heading, facts in (
        ("Parameters", data["parameters"]),
        ("Machine", data["machine"]),
        ("Versions", data["versions"]),
    ):
        parts.append(f"<section><h2>{heading}</h2>{_facts(facts)}</section>")
    parts.append("</div>")
    parts.append(f"<h2>Repeat it</h2><pre>{escape(data['repeat'])}</pre>")
    parts.append(
        '<p class="note">Theory is drawn dashed, measurements solid. The same numbers, one row an object, are'
        " in results.json beside this page.</p></main></body></html>\n"
    )
    return "\n".join(parts)


def _picture(alt: str, files: Mapping[str, Path]) -> str:
    dark, light = (_data_url(files[f"{theme}.svg"]) for theme in ("dark", "light"))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(alt)}"></picture></figure>'
    )


def _data_url(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _table(table: Table) -> str:
    numeric = [
        all(isinstance(row.get(c.key), int | float | None) for row in table.rows) for c in table.columns
    ]
    kinds = [' class="n"' if number else "" for number in numeric]
    lines = [f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>']
    lines += [f"<th{kind}>{escape(c.title)}</th>" for kind, c in zip(kinds, table.columns, strict=True)]
    lines.append("</tr></thead><tbody>")
    for cells in table.cells():
        row = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, cells, strict=True))
        lines.append(f"<tr>{row}</tr>")
    lines.append("</tbody></table></div>")
    if table.note:
        lines.append(f'<p class="note">{escape(table.note)}</p>')
    return "\n".join(lines)


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (
        f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(_fact(value))}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def _fact(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

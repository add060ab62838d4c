"""What `lab servers` reports: claims judged, tables, figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.report import Result
from lab.servers.claims import CLAIMS, Judgement, Rows, Verdict, judge
from lab.servers.plots import plots
from lab.servers.tables import (
    claims_table,
    load_table,
    medians,
    runs_table,
    size_table,
    trouble_table,
    values_of,
)
from lab.servers.workloads import Scale


def result(
    rows: list[dict[str, Any]], statements: Mapping[str, int], scale: Scale, chosen: Mapping[str, Any]
) -> Result:
    """Judge every claim and draw the figures. `chosen`: the parameters as they were chosen."""
    repetitions = sorted({row["repetition"] for row in rows})
    judgements = [
        judge(claim, [Rows([r for r in rows if r["repetition"] == n], statements) for n in repetitions])
        for claim in CLAIMS
    ]
    middle = list(medians(rows))
    tables = [claims_table(judgements), load_table(middle), trouble_table(middle), size_table(statements)]
    return Result(
        command="lab servers",
        title="One server, many clients: six architectures under the same load",
        parameters=dict(chosen),
        tables=[*(table for table in tables if table.rows), runs_table(rows)],
        plots=plots(middle, scale, len(repetitions)),
        summary=_summary(judgements, middle),
    )


def _summary(judgements: Sequence[Judgement], middle: Sequence[Mapping[str, Any]]) -> list[str]:
    counts = {verdict: sum(j.verdict is verdict for j in judgements) for verdict in Verdict}
    lines = [", ".join(f"{count} claims {verdict}" for verdict, count in counts.items()) + "."]
    lines += [
        f"Refuted: {j.claim.about}: {j.claim.text} ({j.claim.figure}: {values_of(j)})."
        for j in judgements
        if j.verdict is Verdict.REFUTED
    ]
    busy = {r["server"]: r for r in middle if r["workload"] == "idle" and r.get("answered")}
    if "trio" in busy and len(busy) > 1:
        ours = busy["trio"]
        ranked = sorted(busy.values(), key=lambda r: -float(r["per_second"]))
        others = ", ".join(f"{r['server']} {r['per_second']:,.0f}" for r in ranked if r["server"] != "trio")
        lines.append(
            f"Ours, trio, beside {ours['idle_connected']:,.0f} idle connections: {ours['per_second']:,.0f}"
            f" requests/s ({others})."
        )
    return lines

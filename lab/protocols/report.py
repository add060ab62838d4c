"""The tables and the figure of `lab protocols`."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from lab.figures import BLUE, GREEN, ORANGE, Plot, Theme, panel
from lab.protocols import hostile, measure
from lab.protocols.grammars import GRAMMARS
from lab.report import Column, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"JSON lines": BLUE, "XML": ORANGE, "msgpack": GREEN}


def result(seconds_each: float) -> Result:
    """Measure and attack all three. `seconds_each`: time for one measurement of speed."""
    costs = measure.rows(seconds_each)
    attacks = _attacks()
    damage = _damage()
    return Result(
        command="lab protocols",
        title="The grammar: JSON lines, XML and msgpack side by side",
        parameters={"messages": list(measure.SAMPLES), "seconds_per_measurement": seconds_each},
        tables=[_cost_table(costs), _attack_table(attacks), _damage_table(damage)],
        plots=[_plot(costs)],
        summary=_summary(costs, attacks, damage),
    )


def _attacks() -> list[dict[str, Any]]:
    rows = []
    for case in hostile.CASES:
        for grammar in GRAMMARS:
            data = case.data.get(grammar.name)
            if data is None:
                continue
            ours, theirs = hostile.guarded(grammar, data), hostile.naive(grammar, data)
            row: dict[str, Any] = {"attack": case.name, "question": case.point, "grammar": grammar.name}
            row |= {"sent_bytes": len(data), "guarded": str(ours.fate), "guarded_detail": ours.detail}
            row |= {"naive": str(theirs.fate), "naive_detail": theirs.detail}
            rows.append(row)
    return rows


def _damage() -> list[dict[str, Any]]:
    message = measure.SAMPLES["request"]
    rows = []
    for grammar in GRAMMARS:
        cuts, flips = hostile.cut_everywhere(grammar, message), hostile.flip_every_bit(grammar, message)
        rows.append(
            {
                "grammar": grammar.name,
                "cuts": cuts.places,
                "cuts_accepted": cuts.accepted,
                "cuts_refused_at_end": cuts.refused_at_end,
                "flips": flips.bits,
                "flips_refused": flips.refused,
                "flips_waiting": flips.waits,
                "flips_unchanged": flips.unchanged,
                "flips_another": flips.another,
                "undetected_share": flips.another / flips.bits,
            }
        )
    return rows


def _cost_table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        Column("message", "message"),
        Column("grammar", "grammar"),
        Column("wire_bytes", "bytes on the wire", lambda n: f"{n:,}"),
        Column("against_smallest", "against the smallest", lambda r: f"{r:.2f} x"),
        Column("encode_us", "encode, µs", _micro),
        Column("decode_us", "decode and check, µs", _micro),
    )
    return Table("cost", "What a message costs", columns, rows)


def _attack_table(rows: list[dict[str, Any]]) -> Table:
    shown = [
        row
        | {
            "guarded_text": f"{row['guarded']}: {row['guarded_detail']}",
            "naive_text": f"{row['naive']}: {row['naive_detail']}",
        }
        for row in rows
    ]
    columns = (
        Column("attack", "attack"),
        Column("grammar", "grammar"),
        Column("sent_bytes", "bytes", lambda n: f"{n:,}"),
        Column("guarded_text", "our decoder"),
        Column("naive_text", "the library as a tutorial calls it"),
    )
    note = " · ".join(f"{case.name}: {case.point}" for case in hostile.CASES)
    return Table("hostile", "What a liar can do", columns, shown, note)


def _damage_table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        Column("grammar", "grammar"),
        Column("cuts", "cut after each byte"),
        Column("cuts_accepted", "accepted"),
        Column("cuts_refused_at_end", "refused at the end"),
        Column("flips", "each bit flipped", lambda n: f"{n:,}"),
        Column("flips_refused", "refused", lambda n: f"{n:,}"),
        Column("flips_waiting", "waits for more"),
        Column("flips_unchanged", "same message"),
        Column("flips_another", "another message, unnoticed", lambda n: f"{n:,}"),
        Column("undetected_share", "share", lambda s: f"{s:.0%}"),
    )
    note = (
        "The request, cut and damaged. Some damage passes unnoticed in all: that is why pieces have hashes."
    )
    return Table("damage", "What an accident does", columns, rows, note)


def _summary(
    costs: list[dict[str, Any]], attacks: list[dict[str, Any]], damage: list[dict[str, Any]]
) -> list[str]:
    piece = {row["grammar"]: row for row in costs if row["message"].startswith("piece")}
    json, xml, packed = (piece[name] for name in COLOURS)
    ours, theirs = (Counter(row[who] for row in attacks) for who in ("guarded", "naive"))
    lost = max(damage, key=lambda row: row["undetected_share"])
    return [
        f"A piece of 64 KiB: msgpack adds {packed['wire_bytes'] - measure.PIECE_BYTES} bytes, JSON"
        f" {json['wire_bytes'] - measure.PIECE_BYTES:,}, XML {xml['wire_bytes'] - measure.PIECE_BYTES:,}"
        " (bytes written as base64).",
        f"Of {len(attacks)} hostile messages our decoders accept {ours['accepted']}; the bare libraries"
        f" accept {theirs['accepted']} and wait for more on {theirs['waits']}.",
        f"Flip one bit of a request: in {lost['undetected_share']:.0%} of all cases {lost['grammar']} reads"
        " another valid message.",
    ]


def _plot(rows: list[dict[str, Any]]) -> Plot:
    def draw(figure: "Figure", theme: Theme) -> None:
        grid = figure.subplots(2, len(measure.SAMPLES))
        for column, message in enumerate(measure.SAMPLES):
            of_message = [row for row in rows if row["message"] == message]
            names = [row["grammar"] for row in of_message]
            colours = [theme.series[COLOURS[name]] for name in names]
            upper, lower = grid[0][column], grid[1][column]
            panel(upper, message[0].upper() + message[1:])
            sizes = [row["wire_bytes"] for row in of_message]
            upper.barh(names, sizes, color=colours, height=0.62)
            for y, size in enumerate(sizes):
                upper.annotate(f"{size:,}", (size, y), xytext=(4, 0), textcoords="offset points", va="center")
            upper.set_xlabel("bytes on the wire")
            encode = [row["encode_us"] for row in of_message]
            decode = [row["decode_us"] for row in of_message]
            lower.barh(names, encode, color=colours, height=0.62)
            lower.barh(names, decode, left=encode, color=colours, height=0.62, alpha=0.45)
            for y, (e, d) in enumerate(zip(encode, decode, strict=True)):
                text = f"{_micro(e)} + {_micro(d)}"
                lower.annotate(text, (e + d, y), xytext=(4, 0), textcoords="offset points", va="center")
            lower.set_xlabel("µs: encode (full), decode (pale)")
            for axes, longest in (
                (upper, max(sizes)),
                (lower, max(e + d for e, d in zip(encode, decode, strict=True))),
            ):
                axes.invert_yaxis()
                axes.set_xlim(0, longest * 1.5)
                axes.grid(visible=False, axis="y")
                axes.tick_params(axis="y", length=0)
                axes.locator_params(axis="x", nbins=4)
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
                if column:
                    axes.set_yticklabels([])

    caption = (
        "Measured in one process, best of several rounds; decoding includes framing and checking every field."
        f" The same message in each grammar; data is {measure.PIECE_BYTES // 1024} KiB of random bytes, which"
        " text grammars write as base64."
    )
    title = "Text grammars pay a third more for bytes, and many times more in time"
    return Plot("protocols", title, caption, draw, (10, 5.4))


def _micro(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

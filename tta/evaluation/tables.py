"""The lines of a results folder as Markdown, CSV and JSON; where a method hurts is marked in each."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tta.evaluation.interval import Interval
from tta.evaluation.lines import HELPS, HURTS, Line, hurting
from tta.evaluation.results import Group


def span(gain: Interval) -> str:
    """Gain with its interval, in points.

    >>> span(Interval(-1.0, -2.04, 0.0)), span(Interval(3.0, None, None))
    ('-1.0 [-2.0, +0.0]', '+3.0')
    """
    if gain.low is None or gain.high is None:
        return f"{gain.mean:+.1f}"
    return f"{gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"


def chance(p: float) -> str:
    """A p-value in few characters.

    >>> chance(0.0431), chance(1e-7), chance(1.0)
    ('0.043', '< 0.001', '1')
    """
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


COLUMNS = (
    "protocol", "method", "batch", "images", "frozen %", "error %", "gain, points [95 %]", "worst visit",
    "ECE %, frozen → adapted", "ms a frame", "p (Holm)", "verdict",
)  # fmt: skip


def table(found: Sequence[Line]) -> str:
    """Markdown, a row a method and protocol; where it hurts is in bold with a mark before it."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for x in found:
        tested = x.adapter != "none"
        verdict = {HURTS: f"▼ **{HURTS}**", HELPS: f"▲ {HELPS}"}.get(x.verdict, x.verdict)
        gain = f"**{span(x.gain)}**" if x.verdict == HURTS else span(x.gain)
        method = f"**{x.method}**" if x.verdict == HURTS else x.method
        cells = (
            x.protocol,
            method,
            str(x.batch),
            f"{x.images:,}",
            f"{x.frozen_error:.1f}",
            f"{x.error:.1f}",
            gain,
            f"{x.worst[0]:+.1f} {x.worst[1]}",
            f"{x.frozen_ece:.1f} → {x.ece:.1f}",
            f"{x.ms_per_frame:.2f}",
            chance(x.p_holm) if tested else "",
            verdict if tested else "the source model",
        )
        rows.append("| " + " | ".join(_plain(cell) for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def where_it_hurts(found: Sequence[Line]) -> str:
    """Markdown: all lines that hurt, worst first, or that there are none."""
    tested = sum(x.adapter != "none" for x in found)
    hurt = hurting(found)
    if not hurt:
        return f"None of {tested} tested cells is worse than the source model at 5 %.\n"
    rows = [f"{len(hurt)} of {tested} tested cells are worse than the source model at 5 %:\n"]
    for x in hurt:
        rows.append(
            f"- ▼ **{_plain(x.method)}** under `{x.protocol}`, batch {x.batch}: {span(x.gain)} points, "
            f"{x.frozen_error:.1f} % → {x.error:.1f} %; worst visit {_plain(x.worst[1])} {x.worst[0]:+.1f}; "
            f"{x.broken:,} answers broken, {x.repaired:,} repaired"
        )
    return "\n".join(rows) + "\n"


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def write_tables(folder: Path, groups: Sequence[Group], found: Sequence[Line]) -> None:
    """``results.csv`` with a row a visit, ``summary.csv`` with a row a method and protocol."""
    rows = [row for group in groups for row in group.rows]
    with open(folder / "results.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / "summary.csv", "w", newline="", encoding="utf-8") as file:
        flat = [_flat(line) for line in found]
        columns = csv.DictWriter(file, list(flat[0]) if flat else [])
        columns.writeheader()
        columns.writerows(flat)


def _flat(line: Line) -> dict[str, object]:
    """A line as one row of plain values."""
    found: dict[str, object] = {}
    for name, value in asdict(line).items():
        if name == "error_span":
            found |= {"error_low": value["low"], "error_high": value["high"]}
        elif name == "gain":
            found |= {"gain": value["mean"], "gain_low": value["low"], "gain_high": value["high"]}
        elif name == "worst":
            found |= {"worst_gain": value[0], "worst_visit": value[1]}
        else:
            found[name] = value
    return found


def to_json(found: Sequence[Line]) -> str:
    """The lines as JSON."""
    return json.dumps([asdict(line) for line in found], indent=1, allow_nan=False) + "\n"


__all__ = ["COLUMNS", "chance", "span", "table", "to_json", "where_it_hurts", "write_tables"]

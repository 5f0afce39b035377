"""Gain in points, methods by protocols, as a heat map with its numbers in it."""

from __future__ import annotations

from collections.abc import Sequence

from tta.evaluation.lines import HURTS, SAME, Line
from tta.evaluation.plots import LINE, scale, shade, style
from tta.evaluation.svg import Drawing, width_of

WIDE, HIGH = 92, 30  # of a cell


def gain_heat(found: Sequence[Line]) -> str:
    """An SVG file; what hurts has a mark, what is no difference at 5 % is in brackets, no cell is a dot."""
    found = [line for line in found if line.adapter != "none"]
    alone = len({line.batch for line in found}) == 1
    rows = list(dict.fromkeys(_row(line, alone) for line in found))
    columns = list(dict.fromkeys(line.protocol for line in found))
    left = int(max([70.0, *(width_of(row, 12) for row in rows)])) + 18
    names = [column.replace(":", ":\n").split("\n") for column in columns]
    top = 46 + LINE * max((len(name) for name in names), default=1)
    width = max(left + WIDE * len(columns) + 12, 560)
    drawing = Drawing(width, top + HIGH * len(rows) + 62, 1, left)
    drawing.text(14, 24, "Gain over the source model, in points of error", "title")
    for k, name in enumerate(names):
        for j, part in enumerate(name):
            place = top - 8 - LINE * (len(name) - 1 - j)
            drawing.text(left + (k + 0.5) * WIDE, place, part, "", "middle")
    for k, row in enumerate(rows):
        drawing.text(left - 10, top + (k + 0.5) * HIGH + 4, row, "", "end")
    most = max((abs(line.gain.mean) for line in found), default=1.0) or 1.0
    there = {(_row(line, alone), line.protocol): line for line in found}
    for j, row in enumerate(rows):
        for k, column in enumerate(columns):
            x, y = left + k * WIDE, top + j * HIGH
            line = there.get((row, column))
            if line is None:
                drawing.rect(x, y, WIDE, HIGH, "cell empty")
                drawing.text(x + WIDE / 2, y + HIGH / 2 + 4, "·", "note", "middle")
                continue
            colour, light = shade(line.gain.mean, most)
            drawing.rect(x, y, WIDE, HIGH, "cell", fill=colour)
            number = f"{line.gain.mean:+.1f}"
            text = f"▼ {number}" if line.verdict == HURTS else number
            text = f"({number})" if line.verdict == SAME else text
            css = ("hurts " if line.verdict == HURTS else "") + ("light" if light else "")
            drawing.text(x + WIDE / 2, y + HIGH / 2 + 4, text, css.strip(), "middle")
    below = top + HIGH * len(rows) + 14
    scale(
        drawing, left, below, most, "points; ▼ hurts, (no difference), at 5 % of all cells together"
    )
    drawing.width = int(max(width, left + 230 + width_of("x" * 58, 12)))
    said = "; ".join(
        f"{x.method} under {x.protocol}: {x.gain.mean:+.1f}, {x.verdict}" for x in found
    )
    return drawing.file(style(), "Gain over the source model by method and protocol", said)


def _row(line: Line, alone: bool) -> str:
    return line.method if alone else f"{line.method}, batch {line.batch}"


__all__ = ["gain_heat"]

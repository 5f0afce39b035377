"""Gain against the frames of a step: how small a batch a method can live with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.evaluation.lines import Line
from tta.evaluation.plots import Panel, Pen, style
from tta.evaluation.svg import Drawing, width_of

HEIGHT = 300


def batches(found: Sequence[Line], pens: dict[str, Pen]) -> str:
    """An SVG file, from the lines of one protocol; whiskers are the 95 % intervals."""
    found = [line for line in found if line.adapter != "none"]
    methods = list(dict.fromkeys(line.method for line in found))
    sizes = sorted({line.batch for line in found})
    values = [v for x in found for v in (x.gain.mean, x.gain.low, x.gain.high) if v is not None]
    low, high = min(0.0, *values), max(0.0, *values)
    pad = 0.06 * ((high - low) or 1.0)
    right = int(max(width_of(method, 12) for method in methods)) + 40
    drawing = Drawing(620 + right, 50 + HEIGHT + 46, max(1, len(sizes) - 1), 70, right)
    panel = Panel(drawing, 50, 50 + HEIGHT, low - pad, high + pad)
    what = f"Gain by batch size, {found[0].protocol}"
    drawing.text(14, 24, what, "title")
    panel.rule("", signed=True)
    drawing.text(14, 44, "points", "note")
    for k, size in enumerate(sizes):
        drawing.text(float(drawing.x(k)), panel.bottom + 18, str(size), "tick", "middle")
    drawing.text(drawing.end, panel.bottom + 36, "frames a step", "note", "end")
    ends = []
    for j, method in enumerate(methods):
        own = sorted((line for line in found if line.method == method), key=lambda x: x.batch)
        pen = pens[method]
        aside = 2.4 * (j - (len(methods) - 1) / 2)  # so that whiskers do not hide one another
        x = drawing.x(np.array([sizes.index(line.batch) for line in own])) + aside
        y = panel.y(np.array([line.gain.mean for line in own]))
        drawing.path(x, y, "curve", stroke=pen.colour, stroke_dasharray=pen.dash)
        for line, a, b in zip(own, x, y):
            drawing.rect(a - 3, b - 3, 6, 6, "", fill=pen.colour)
            if line.gain.low is not None and line.gain.high is not None:
                reach = panel.y(np.array([line.gain.low, line.gain.high]))
                drawing.line(a, float(reach[0]), a, float(reach[1]), "whisker", stroke=pen.colour)
        ends.append((own[-1].gain.mean, method, pen))
    panel.ends(ends)
    said = "; ".join(f"{x.method} at {x.batch}: {x.gain.mean:+.1f}" for x in found)
    return drawing.file(style(), what, said)


__all__ = ["batches"]

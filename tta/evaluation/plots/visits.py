"""Error visit by visit, in the order of the stream: where a method gets lost, and whether it finds back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.evaluation.plots import Panel, Pen, style
from tta.evaluation.results import Group
from tta.evaluation.svg import Drawing, width_of

NAMED = 24  # visits up to which each has its name below it
HEIGHT = 300


def visits(groups: Sequence[Group], pens: dict[str, Pen]) -> str:
    """An SVG file, from groups of one protocol and batch; ``none`` or the frozen answers are the source."""
    group = groups[0]
    curves = {"source": [frozen for _, frozen, _, _ in group.visits()]}
    names = [name for name, *_ in group.visits()]
    for each in groups:
        if each.adapter != "none":
            curves[each.method] = [error for _, _, error, _ in each.visits()]
    most = max(max(curve) for curve in curves.values())
    named = len(names) <= NAMED
    room = 14 + (0.75 * max(width_of(name) for name in names) if named else 18)
    right = int(max(width_of(name, 12) for name in curves)) + 40
    width = max(760, 60 + right + 30 * len(names)) if named else 980
    drawing = Drawing(width, 50 + HEIGHT + room + 16, max(1, len(names) - 1), 62, right)
    panel = Panel(drawing, 50, 50 + HEIGHT, 0, max(5.0, min(100.0, 1.08 * most)))
    what = f"Error by visit, {group.protocol}, batch {group.batch}"
    drawing.text(14, 24, what, "title")
    panel.rule(" %")
    x = drawing.x(np.arange(len(names)))
    if named:
        for at, name in zip(x, names):
            drawing.line(at, panel.bottom, at, panel.bottom + 4, "axis")
            turn = f"rotate(-45 {at:.1f} {panel.bottom + 14:.1f})"
            drawing.text(at + 3, panel.bottom + 14, name, "tick", "end", transform=turn)
    else:
        for k in np.unique(np.linspace(0, len(names) - 1, 9).round().astype(int)):
            drawing.text(float(x[k]), panel.bottom + 16, str(k + 1), "tick", "middle")
        drawing.text(drawing.end, panel.bottom + 30, "visit", "note", "end")
    ends = []
    for method, curve in curves.items():
        pen = pens["none" if method == "source" else method]
        y = panel.y(np.array(curve))
        drawing.path(x, y, "curve", stroke=pen.colour, stroke_dasharray=pen.dash)
        if named:
            for a, b in zip(x, y):
                drawing.rect(a - 2.5, b - 2.5, 5, 5, "", fill=pen.colour)
        ends.append((curve[-1], method, pen))
    panel.ends(ends)
    said = "; ".join(
        f"{method}: {np.mean(curve):.1f} % on average" for method, curve in curves.items()
    )
    return drawing.file(style(), what, said)


__all__ = ["visits"]

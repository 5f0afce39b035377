"""Error of each class, frozen against adapted: which classes pay for what others gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.evaluation.plots import LINE, scale, shade, style
from tta.evaluation.reliability import error_by_class
from tta.evaluation.results import Group
from tta.evaluation.svg import Drawing, width_of

MOST = 20  # classes that are drawn
WIDE, HIGH = 58, 28


def classes(groups: Sequence[Group], names: Sequence[str]) -> str:
    """An SVG file, from groups of one protocol and batch.

    The first row is the source model's error in percent; below it each method's, coloured by how many points
    better or worse it is. Of more than twenty classes those that change most are drawn.
    """
    group = groups[0]
    count = 1 + max(int(max(each.images["label"].max() for each in groups)), len(names) - 1)
    source = error_by_class(group.images["frozen"], group.images["label"], count)
    rows = {
        each.method: (
            error_by_class(each.images["pre"], each.images["label"], count),
            error_by_class(each.images["frozen"], each.images["label"], count),
        )
        for each in groups
        if each.adapter != "none"
    }
    gains = np.array([frozen - error for error, frozen in rows.values()]).reshape(-1, count)
    seen = np.flatnonzero(np.isfinite(source))
    change = np.nan_to_num(np.abs(gains)).max(0, initial=0)
    shown = np.sort(seen[np.argsort(-change[seen], kind="stable")[:MOST]])
    title = f"Error in % by class, {group.protocol}, batch {group.batch}"
    if len(shown) < len(seen):
        title += f": the {len(shown)} of {len(seen)} that change most"
    left = int(max(width_of(name, 12) for name in ("source", *rows))) + 30
    words = [names[k] if k < len(names) else str(k) for k in shown.tolist()]
    turned = any(width_of(word) > WIDE - 4 for word in words)
    top = 46 + (0.75 * max(map(width_of, words)) + 8 if turned else LINE)
    most = float(np.nan_to_num(np.abs(gains)).max(initial=0)) or 1.0
    width = max(left + WIDE * len(shown) + (70 if turned else 14), left + 430, 560)
    drawing = Drawing(int(width), top + HIGH * (len(rows) + 1) + 62, 1, left)
    drawing.text(14, 24, title, "title")
    for k, word in enumerate(words):
        x = left + (k + 0.5) * WIDE
        turn = {"transform": f"rotate(-45 {x:.1f} {top - 8:.1f})"} if turned else {}
        drawing.text(x, top - 8, word, "tick", "start" if turned else "middle", **turn)
    drawing.text(left - 10, top + HIGH / 2 + 4, "source", "", "end")
    for k, value in enumerate(source[shown].tolist()):
        drawing.rect(left + k * WIDE, top, WIDE, HIGH, "cell empty")
        drawing.text(left + (k + 0.5) * WIDE, top + HIGH / 2 + 4, f"{value:.1f}", "", "middle")
    for j, (method, (error, frozen)) in enumerate(rows.items(), 1):
        y = top + j * HIGH
        drawing.text(left - 10, y + HIGH / 2 + 4, method, "", "end")
        for k, label in enumerate(shown.tolist()):
            if not np.isfinite(error[label]):
                continue
            colour, light = shade(float(frozen[label] - error[label]), most)
            drawing.rect(left + k * WIDE, y, WIDE, HIGH, "cell", fill=colour)
            css = "light" if light else ""
            drawing.text(
                left + (k + 0.5) * WIDE, y + HIGH / 2 + 4, f"{error[label]:.1f}", css, "middle"
            )
    below = top + HIGH * (len(rows) + 1) + 14
    scale(drawing, left, below, most, "points better than the source")
    said = "; ".join(
        f"{method}: {', '.join(f'{w} {e:.1f} %' for w, e in zip(words, error[shown]))}"
        for method, (error, _) in rows.items()
    )
    return drawing.file(style(), title, said)


__all__ = ["classes"]

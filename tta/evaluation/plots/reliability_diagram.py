"""Reliability diagrams: how often an answer is right whose confidence is so much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.evaluation.plots import style
from tta.evaluation.reliability import BINS, calibration_error, reliability
from tta.evaluation.results import Group
from tta.evaluation.svg import Drawing
from tta.records import Array

SIDE, GAP, ACROSS = 176, 44, 4


def reliability_diagram(groups: Sequence[Group]) -> str:
    """An SVG file with a panel each method, from groups of one protocol and batch.

    Bars are accuracy by confidence; what of the diagonal lies above a bar is overconfidence, in orange. Gray
    bars on the ground are the share of the images.
    """
    group = groups[0]
    panels: list[tuple[str, Array, Array]] = [
        ("source", group.images["frozen_confidence"], group.right("frozen"))
    ]
    panels += [
        (each.method, each.images["pre_confidence"], each.right())
        for each in groups
        if each.adapter != "none"
    ]
    rows = -(-len(panels) // ACROSS)
    title = f"Reliability, {group.protocol}, batch {group.batch}"
    across = min(ACROSS, max(2, len(panels)))
    drawing = Drawing(40 + across * (SIDE + GAP), 44 + rows * (SIDE + 66) + 10, 1, 46)
    drawing.text(14, 24, title, "title")
    said = []
    for k, (name, confidence, right) in enumerate(panels):
        row, column = divmod(k, ACROSS)
        error = 100 * calibration_error(confidence, right)
        x, y = 46 + column * (SIDE + GAP), 62 + row * (SIDE + 66)
        drawing.text(x, y - 7, f"{name}: ECE {error:.1f} %")
        _panel(drawing, x, y, confidence, right)
        said.append(f"{name}: expected calibration error {error:.1f} %")
    return drawing.file(style(), title, "; ".join(said))


def _panel(drawing: Drawing, x: float, y: float, confidence: Array, right: Array) -> None:
    bottom, wide = y + SIDE, SIDE / BINS
    found = reliability(confidence, right)
    total = sum(each.images for each in found)
    for each in found:
        at = x + wide * max(0, int(np.ceil(each.confidence * BINS)) - 1)
        high, sure = SIDE * each.accuracy, SIDE * each.confidence
        share = SIDE * each.images / total
        drawing.rect(at + 0.5, bottom - high, wide - 1, high, "", fill="#0067a8", opacity="0.75")
        if sure > high:
            drawing.rect(at + 0.5, bottom - sure, wide - 1, sure - high, "sure")
        drawing.rect(at + wide / 2 - 1.5, bottom - share, 3, share, "share")
    drawing.line(x, bottom, x + SIDE, y, "zero")
    drawing.line(x, bottom, x + SIDE, bottom, "axis")
    drawing.line(x, y, x, bottom, "axis")
    for share in (0.0, 0.5, 1.0):
        drawing.text(x - 5, bottom - share * SIDE + 4, f"{100 * share:.0f} %", "tick", "end")
        drawing.text(x + share * SIDE, bottom + 15, f"{100 * share:.0f} %", "tick", "middle")
    drawing.text(x + SIDE / 2, bottom + 30, "confidence", "tick", "middle")


__all__ = ["reliability_diagram"]

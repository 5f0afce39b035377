"""Small pictures in rows, each with a few words: what was seen, and what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.evaluation.picture import data_uri, is_image
from tta.evaluation.plots import COLOURS, style
from tta.evaluation.svg import Drawing
from tta.records import Array

ACROSS, SIDE, WIDE, HIGH = 6, 112, 164, 186


def contact_sheet(title: str, cards: Sequence[tuple[Array | None, Sequence[str]]]) -> str:
    """An SVG file that carries its pictures; signals ``(C, T)`` are drawn as curves."""
    rows = -(-len(cards) // ACROSS)
    drawing = Drawing(ACROSS * WIDE + 16, 40 + rows * HIGH, 1, 0)
    drawing.text(14, 24, title, "title")
    for k, (picture, words) in enumerate(cards):
        row, column = divmod(k, ACROSS)
        x, y = 14.0 + column * WIDE, 40.0 + row * HIGH
        if picture is None:
            drawing.rect(x, y, SIDE, SIDE, "empty")
            drawing.text(x + SIDE / 2, y + SIDE / 2, "not kept", "note", "middle")
        elif is_image(picture):
            height, width = picture.shape[:2]
            ratio = SIDE / max(height, width)
            drawing.image(data_uri(picture), x, y, width * ratio, height * ratio)
        else:
            _signals(drawing, x, y, picture)
        for j, text in enumerate(words):
            short = text if len(text) <= 25 else text[:24] + "…"
            drawing.text(x, y + SIDE + 16 + 15 * j, short, "tick" if j else "")
    said = "; ".join(", ".join(words) for _, words in cards)
    return drawing.file(style(), title, said)


def _signals(drawing: Drawing, x: float, y: float, window: Array) -> None:
    low, high = float(window.min()), float(window.max())
    drawing.rect(x, y, SIDE, SIDE, "empty")
    for k, signal in enumerate(np.atleast_2d(window)[: len(COLOURS)]):
        across = x + np.linspace(0, SIDE, len(signal))
        up = y + SIDE * (0.96 - 0.92 * (signal - low) / ((high - low) or 1.0))
        drawing.path(across, up, "whisker", stroke=COLOURS[k])


__all__ = ["contact_sheet"]

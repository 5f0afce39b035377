"""The plots of a results folder, each a function from figures to an SVG file; one plot, one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from tta.evaluation.svg import Drawing
from tta.records import Array

HELPED, MIDDLE, HURT = (0, 103, 168), (247, 247, 247), (194, 78, 0)  # told apart by any eye
SOURCE = "#1b1b1f"
COLOURS = (  # Okabe and Ito's for all kinds of colour vision, without yellow; then again in dashes
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#7a5c00",
)  # fmt: skip
DASHES = ("none", "7 3", "2 2.5", "9 3 2 3")
LINE = 15  # height of a line of text


@dataclass(frozen=True, slots=True)
class Pen:
    """How a method is drawn, the same in all plots of a folder."""

    colour: str
    dash: str


def pens(methods: Sequence[str]) -> dict[str, Pen]:
    """A pen each; ``none`` is the source model, black and dashed."""
    found = {}
    for k, method in enumerate(m for m in dict.fromkeys(methods) if m != "none"):
        turn, at = divmod(k, len(COLOURS))
        found[method] = Pen(COLOURS[at], DASHES[turn % len(DASHES)])
    return {**found, "none": Pen(SOURCE, "5 3")}


@lru_cache
def style() -> str:
    """The style sheet of the plots."""
    return (files("tta.evaluation") / "plots.css").read_text(encoding="utf-8")


def shade(value: float, most: float) -> tuple[str, bool]:
    """Colour of a gain on a scale of ±most, and whether text on it is light.

    By the root of its size, so that a gain of one point shows beside one of fifty.
    """
    share = float(np.sqrt(min(1.0, abs(value) / most))) if most > 0 else 0.0
    end = HELPED if value >= 0 else HURT
    rgb = [round(a + share * (b - a)) for a, b in zip(MIDDLE, end)]
    light = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 140
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})", light


def scale(drawing: Drawing, x: float, y: float, most: float, what: str) -> None:
    """The colour scale of ``shade`` with its numbers."""
    steps, wide = 41, 5.0
    shares = np.linspace(-1, 1, steps)
    for k, share in enumerate(shares):
        colour, _ = shade(float(np.sign(share) * share**2 * most), most)
        drawing.rect(x + k * wide, y, wide + 0.3, 10, "", fill=colour)
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        at = x + (share + 1) / 2 * (steps - 1) * wide + wide / 2
        text = f"{np.sign(share) * share**2 * most:+.1f}" if share else "0"
        drawing.text(at, y + 23, text, "tick", "middle")
    drawing.text(x + steps * wide + 24, y + 10, what, "note")


@dataclass(frozen=True, slots=True)
class Panel:
    """A field of a drawing whose height stands for values from ``low`` to ``high``."""

    drawing: Drawing
    top: float
    bottom: float
    low: float
    high: float

    def y(self, value: Array | float) -> Array:
        """Values as vertical places."""
        share = (np.asarray(value, np.float64) - self.low) / (self.high - self.low)
        return np.asarray(self.bottom - share * (self.bottom - self.top))

    def rule(self, unit: str, signed: bool = False) -> None:
        """Horizontal lines with their numbers, at round values."""
        for value in round_values(self.low, self.high):
            at = float(self.y(value))
            css = "zero" if signed and value == 0 else "grid"
            self.drawing.line(self.drawing.left, at, self.drawing.end, at, css)
            text = f"{value:+g}" if signed and value else f"{value:g}"
            self.drawing.text(self.drawing.left - 7, at + 4, f"{text}{unit}", "tick", "end")

    def ends(self, named: Sequence[tuple[float, str, Pen]]) -> None:
        """The name of each curve behind its end ``(value, name, pen)``, moved apart where they meet."""
        order = sorted(named, key=lambda each: -each[0])
        wanted = [float(self.y(value)) for value, _, _ in order]
        places = apart(wanted, LINE, self.top + 4, self.bottom)
        x = self.drawing.end
        for (_, name, pen), own, place in zip(order, wanted, places):
            self.drawing.path(
                np.array([x + 2, x + 12, x + 20]), np.array([own, place, place]), "leader"
            )
            self.drawing.text(x + 24, place + 4, name, style=f"fill:{pen.colour};font-weight:600")


def apart(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Rising places at least ``step`` apart, near those wanted, within ``low`` to ``high`` if they fit.

    >>> apart([0.0, 1.0, 40.0], 10, 0, 100)
    [0.0, 10.0, 40.0]
    >>> apart([99.0, 100.0], 10.0, 0.0, 100.0)
    [90.0, 100.0]
    """
    found: list[float] = []
    for value in wanted:
        found.append(max(value, low, found[-1] + step if found else low))
    for k in range(len(found) - 1, -1, -1):
        limit = high if k == len(found) - 1 else found[k + 1] - step
        found[k] = min(found[k], limit)
    return found


def round_values(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many.

    >>> round_values(0, 50), round_values(-3, 8)
    ([0.0, 10.0, 20.0, 30.0, 40.0, 50.0], [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0])
    """
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(float(f * power) for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [round(k * step, 10) for k in range(first, last + 1)]


__all__ = ["LINE", "Panel", "Pen", "apart", "pens", "round_values", "scale", "shade", "style"]

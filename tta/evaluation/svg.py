"""SVG in strings: shapes, text, and a drawing whose left margin holds the names of what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import numpy as np

from tta.records import Array


@dataclass
class Drawing:
    """One panel along the stream.

    Args:
        width: of the drawing, in its own units (pixels on a screen of that width).
        height: likewise.
        length: rows of the stream, drawn over the width between the margins.
        left: left margin.
        right: right margin.
    """

    width: int
    height: float
    length: int
    left: int
    right: int = 10
    parts: list[str] = field(default_factory=list)

    def x(self, at: Array | float) -> Array:
        """Places along the stream as horizontal places in the drawing."""
        span = self.width - self.left - self.right
        return np.asarray(self.left + np.asarray(at, np.float64) / max(1, self.length) * span)

    @property
    def end(self) -> int:
        """Where the stream ends."""
        return self.width - self.right

    def rect(self, x: float, y: float, width: float, height: float, css: str, **more: str) -> None:
        """A filled rectangle."""
        box = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"'
        self.parts.append(f'<rect {box} class="{css}"{_more(more)}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str, **more: str) -> None:
        """A straight line."""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self.parts.append(f'<line {ends} class="{css}"{_more(more)}/>')

    def path(self, x: Array, y: Array, css: str, closed: bool = False, **more: str) -> None:
        """A line through points."""
        if len(x):
            points = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))
            end = "Z" if closed else ""
            self.parts.append(f'<path d="M{points}{end}" class="{css}"{_more(more)}/>')

    def ticks(self, x: Iterable[float], y: float, height: float, css: str) -> None:
        """Short upright lines, all in one element."""
        data = "".join(f"M{a:.1f} {y:.1f}v{height:.1f}" for a in x)
        if data:
            self.parts.append(f'<path d="{data}" class="{css}"/>')

    def text(
        self, x: float, y: float, text: str, css: str = "", anchor: str = "start", **more: str
    ) -> None:
        """One line of text."""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.parts.append(f'<text {place} class="{css}"{_more(more)}>{escape(text)}</text>')

    def image(self, uri: str, x: float, y: float, width: float, height: float) -> None:
        """A picture, stretched, its pixels sharp."""
        box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.parts.append(f'<image {box} preserveAspectRatio="none" class="sharp" href="{uri}"/>')

    def svg(self, css: str, title: str, description: str) -> str:
        """The whole element; title and description are for those who do not see it."""
        said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        box = f'viewBox="0 0 {self.width} {self.height:.0f}"'
        data = f'data-left="{self.left}" data-right="{self.right}"'
        label = escape(f"{title}. {description}", quote=True)
        head = f'<svg class="{css}" {box} {data} role="img" aria-label="{label}">'
        return head + said + "".join(self.parts) + "</svg>"

    def file(self, style: str, title: str, description: str) -> str:
        """A file of its own, on white ground, with its style sheet in it."""
        said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        size = f'width="{self.width}" height="{self.height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {self.width} {self.height:.0f}"'
        ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
        body = "\n".join(self.parts)
        return f'{head} role="img">\n{said}\n<style>\n{style}</style>\n{ground}\n{body}\n</svg>\n'


def _more(attributes: dict[str, str]) -> str:
    return "".join(f' {k.replace("_", "-")}="{escape(v)}"' for k, v in attributes.items())


def width_of(text: str, size: float = 11) -> float:
    """About how wide a text is, in units of a drawing."""
    return 0.56 * size * len(text)


def brief(value: float) -> str:
    """A number in few characters.

    >>> brief(0.0000941), brief(1234.5), brief(0.25)
    ('9.4e-5', '1.2e3', '0.25')
    """
    mantissa, e, power = f"{value:.2g}".partition("e")
    return mantissa + (f"e{int(power)}" if e else "")


def nice_top(value: float) -> float:
    """The end of an axis from 0 that holds the value: 1, 2, 2.5, 4, 5, 8 or 10 times a power of ten.

    >>> nice_top(0.37), nice_top(0.0), round(nice_top(0.081), 3)
    (0.4, 1.0, 0.1)
    """
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(f * power for f in (1, 2, 2.5, 4, 5, 8, 10) if f * power >= value * 0.999))


def runs(groups: Array) -> Sequence[slice]:
    """Stretches of equal values.

    >>> runs(np.array([0, 0, 1]))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    if not len(groups):
        return []
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    return [slice(a, b) for a, b in pairwise(edges)]


__all__ = ["Drawing", "brief", "nice_top", "runs", "width_of"]

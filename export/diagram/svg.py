"""Draws columns as plain SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from tta.export.diagram.layout import LETTER, NAMES, PITCH, START, WIDTH, Column, Row
from tta.export.diagram.parts import Columns, Operation, Wire

INK, PALE, BATCH, MIXED = "#333a45", "#8d97a5", "#2f6fd0", "#e2571e"
ADAPTIVE, EDGE, PAPER = "#cdeccf", "#1e7a34", "#ffffff"
_HALO = {"stroke": PAPER, "stroke-width": 3, "paint-order": "stroke"}
FONT = "DejaVu Sans, Verdana, Helvetica, sans-serif"
HEAD, FOOT, MARGIN = 74, 118, 24


def svg(given: Columns, rows: Sequence[Row], heading: str, lines: Sequence[str]) -> str:
    """The drawing.

    Args:
        given: what it shows.
        rows: where that goes, see ``layout.lay_out``.
        heading: the title.
        lines: what stands below it.
    """
    height = HEAD + 15 * len(lines) + (rows[-1].y + rows[-1].height if rows else 0) + FOOT
    pen = _Pen(given)
    pen.text(MARGIN, 30, heading, size=17, weight="bold")
    for k, line in enumerate(lines):
        pen.text(MARGIN, 50 + 15 * k, line, size=11, fill="#5a6472")
    top = HEAD - 22 + 15 * len(lines)
    pen.parts.append(f'<g transform="translate({MARGIN},{top})">')
    for k, row in enumerate(rows):
        pen.row(row, last=k == len(rows) - 1, first=k == 0)
    pen.parts.append("</g>")
    pen.legend(height - FOOT + 16)
    size = f'width="{WIDTH + 2 * MARGIN}" height="{height:.0f}"'
    box = f'viewBox="0 0 {WIDTH + 2 * MARGIN} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} font-family={quoteattr(FONT)}>\n'
        f"<title>{escape(heading)}</title>\n"
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(pen.parts) + "\n</svg>\n"
    )


class _Pen:
    """Collects the elements of the drawing; wires first, boxes over what they consume."""

    def __init__(self, given: Columns) -> None:
        self.given = given
        self.parts: list[str] = []
        self.named: list[
            tuple[float, float, str]
        ] = []  # written over the wires of a row, at its end

    def text(self, x: float, y: float, text: str, **style: object) -> None:
        """Words; ``size`` and ``anchor`` for short."""
        named = {"size": "font-size", "anchor": "text-anchor", "weight": "font-weight"}
        given = {"size": 9.5, "fill": INK, **style}
        attributes = " ".join(f'{named.get(k, k)}="{v}"' for k, v in given.items())
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>')

    def line(self, x0: float, y0: float, x1: float, y1: float, stroke: str, width: float) -> None:
        """A wire: straight, or an s-curve to another height."""
        if y0 == y1:
            path = f"M{x0:.1f} {y0:.1f}H{x1:.1f}"
        else:
            middle = (x0 + x1) / 2
            path = (
                f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
            )
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>'
        )

    def wires(self, tensor: str) -> Iterator[tuple[int, Wire, str, float]]:
        """Wires of a tensor with their colour and thickness."""
        for k, wire in enumerate(self.given.wires[tensor]):
            if wire.batch:
                yield k, wire, MIXED if tensor in self.given.mixed else BATCH, 2.2
            else:
                yield k, wire, INK, 1.1

    def span(self, row: Row, lane: int, tensor: str, x0: float, x1: float) -> None:
        """A tensor's wires from x0 to x1."""
        for k, _, colour, width in self.wires(tensor):
            y = row.tops[lane] + PITCH * k
            self.line(x0, y, x1, y, colour, width)

    def labels(self, row: Row, lane: int, tensor: str, x: float) -> None:
        """Names and lengths of a tensor's axes, above its wires."""
        for k, wire, colour, _ in self.wires(tensor):
            y = row.tops[lane] + PITCH * k - 3
            self.text(x, y, wire.text, size=9, fill=colour if wire.batch else INK)

    def row(self, row: Row, first: bool, last: bool) -> None:
        """One row from its left end to its right one."""
        for lane, tensor in row.alive.items():
            self.span(row, lane, tensor, 0, row.columns[0].x)
            self.labels(row, lane, tensor, 6)
            if first:
                middle = row.tops[lane] - 16
                self.text(0, middle, tensor, size=10, weight="bold")
        for column in row.columns:
            end = column.x + column.width + column.data
            self.separators(row, column, end)
            self.column(row, column, end)
        for x, y, names in self.named:
            self.text(x, y, names, anchor="middle", fill=EDGE, weight="bold", **_HALO)
        self.named.clear()
        ending = row.columns[-1]
        end = ending.x + ending.width + ending.data
        for lane, tensor in ending.after.items():
            bottom = row.tops[lane] + PITCH * (len(self.given.wires[tensor]) - 1)
            if last:
                self.text(
                    end + 6, (row.tops[lane] + bottom) / 2 + 3, tensor, size=10, weight="bold"
                )
            else:
                self.span(row, lane, tensor, end, end + 8)
                self.text(end + 12, (row.tops[lane] + bottom) / 2 + 4, "…", size=13, fill=PALE)

    def separators(self, row: Row, column: Column, end: float) -> None:
        """Dashed lines between the tensors of a tuple."""
        lanes = sorted({*column.before, *column.after})
        for lane in lanes[1:]:
            y = row.tops[lane] - 21
            self.parts.append(
                f'<path d="M{column.x:.1f} {y:.1f}H{end:.1f}" stroke="{PALE}" stroke-width="0.8" '
                'stroke-dasharray="4 4"/>'
            )

    def column(self, row: Row, column: Column, end: float) -> None:
        """A box or a copy, and the data column behind it."""
        x0, x1 = column.x, column.x + column.width
        op = column.operation
        taken = set() if op is None else {*column.sources, *column.targets}
        for lane, tensor in column.before.items():
            if lane not in taken:
                self.span(row, lane, tensor, x0, x1)
        if op is None:
            self.copy(row, column)
        else:
            for lane in set(column.sources) - set(column.targets):
                if column.after.get(lane) == column.before[lane]:  # still needed
                    self.span(row, lane, column.before[lane], x0, x1)
            self.box(row, column, op)
        for lane, tensor in column.after.items():
            self.span(row, lane, tensor, x1, end)
            if lane in column.labelled:
                self.labels(row, lane, tensor, x1 + 5)
        for name, lane in zip(() if op is None else op.outputs, column.targets):
            if name in self.given.outputs and (op is not self.given.operations[-1]):
                self.tap(row, lane, x1 + column.data / 2, name)

    def tap(self, row: Row, lane: int, x: float, name: str) -> None:
        """An output of the graph that other operations use as well."""
        y = row.tops[lane]
        self.parts.append(
            f'<path d="M{x:.1f} {y - 20:.1f}V{y - 3:.1f}" stroke="{INK}" stroke-width="0.8"/>'
        )
        self.text(x, y - 23, name, size=10, anchor="middle", weight="bold")

    def copy(self, row: Row, column: Column) -> None:
        """A tensor goes on in two lanes."""
        (source,), (target,) = column.sources, column.targets
        for k, _, colour, width in self.wires(column.before[source]):
            y0, y1 = row.tops[source] + PITCH * k, row.tops[target] + PITCH * k
            self.line(column.x + 3, y0, column.x + column.width, y1, colour, width)
            self.parts.append(
                f'<circle cx="{column.x + 3:.1f}" cy="{y0}" r="2.4" fill="{colour}"/>'
            )

    def box(self, row: Row, column: Column, op: Operation) -> None:
        """The wires that an operation takes, its box over those it consumes, the others over the box."""
        x0, x1, target = column.x, column.x + column.width, column.targets[0]
        top = row.tops[target]
        out = op.outputs[0]
        after = self.given.wires[out]
        edge = column.centre - 12 if len(column.sources) > 1 else column.centre
        passing: list[tuple[float, float, str, float]] = []
        heights = []
        for index, (name, lane) in enumerate(zip(dict.fromkeys(op.inputs), column.sources)):
            for k, wire, colour, width in self.wires(name):
                y0 = row.tops[lane] + PITCH * k
                consumed = index == 0 and self.given.kept[name][k] in op.consumed
                same = k < len(after) and after[k] == wire
                if consumed or not same:
                    y1 = y0 if lane == target else top + PITCH * min(k, max(len(after) - 1, 0))
                    self.line(x0, y0, edge, y1, colour, width)
                    self.line(edge, y1, column.centre, y1, colour, width)
                    heights.append(y1)
                else:
                    passing.append((y0, top + PITCH * k, colour, width))
        for k, wire, colour, width in self.wires(out):
            y = top + PITCH * k
            if not op.inputs or self._made(op, k, wire):
                self.line(column.centre, y, x1, y, colour, width)
                heights.append(y)
        flat = not heights
        if flat:
            heights = [top, top + PITCH * (len(after) - 1)]
        self.frame(op, column, min(heights), max(heights), flat)
        for y0, y1, colour, width in passing:
            self.line(x0, y0, edge, y1, colour, width)
            self.line(edge, y1, x1, y1, colour, width)
        self.text(column.centre, top - 12, op.text, size=9.5, anchor="middle")
        if op.layers:
            self.names(row, column, op)

    def _made(self, op: Operation, k: int, wire: Wire) -> bool:
        """Whether a wire of the result begins in the box."""
        first = self.given.wires[op.inputs[0]]
        kept = self.given.kept[op.inputs[0]]
        return k >= len(first) or first[k] != wire or kept[k] in op.consumed

    def frame(self, op: Operation, column: Column, top: float, bottom: float, flat: bool) -> None:
        """The box itself: bold where weights are learned, green where they adapt, round if nonlinear."""
        wide = 14 if flat else min(column.width - 6, 24)
        x, y = column.centre - wide / 2, top - 6
        fill = ADAPTIVE if op.layers else "#f3ecd9" if op.nonlinear else "#eceff3"
        edge = EDGE if op.layers else INK
        radius = 6 if op.nonlinear else 0
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{bottom - top + 12:.1f}" '
            f'rx="{radius}" fill="{fill}" stroke="{edge}" stroke-width="{2.6 if op.learned else 1}"/>'
        )

    def names(self, row: Row, column: Column, op: Operation) -> None:
        """Names of adaptable layers, below the lane."""
        lane = column.targets[0]
        y = row.bottoms[lane] - NAMES * row.named[lane] + NAMES * column.level + 9
        self.named.append((column.centre, y, " + ".join(op.layers)))

    def legend(self, y: float) -> None:
        """What the marks mean."""
        x = float(MARGIN)
        self.parts.append(f'<path d="M{x} {y - 6}H{WIDTH + MARGIN}" stroke="#d5dae1"/>')
        for k, group in enumerate(_LEGEND):
            at = x
            for mark, words in group:
                self.parts.append(
                    f'<g transform="translate({at:.1f},{y + 18 + 26 * k:.1f})">{mark}</g>'
                )
                self.text(at + 38, y + 22 + 26 * k, words, size=10.5)
                at += 38 + LETTER * 1.16 * len(words) + 26


def _line(colour: str, width: float, dash: str = "") -> str:
    return f'<path d="M0 0H30" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _rect(fill: str, edge: str, width: float, radius: int) -> str:
    return (
        f'<rect x="3" y="-9" width="24" height="18" rx="{radius}" fill="{fill}" stroke="{edge}" '
        f'stroke-width="{width}"/>'
    )


_LEGEND = (
    (
        (_line(BATCH, 2.2), "batch axis N: each sample by itself"),
        (_line(MIXED, 2.2), "N mixed: samples meet while norms run on batch statistics"),
        (_line(INK, 1.1), "other axis, name and length"),
        (_line(PALE, 0.8, ' stroke-dasharray="4 4"'), "between two tensors"),
    ),
    (
        (_rect(ADAPTIVE, EDGE, 2.6, 6), "adaptable layer, named below"),
        (_rect("#eceff3", INK, 2.6, 0), "bold: learned weights"),
        (_rect("#f3ecd9", INK, 1, 6), "round: nonlinear"),
        (_rect("#eceff3", INK, 1, 0), "linear, nothing learned"),
    ),
    (
        (
            f"{_rect('#eceff3', INK, 1, 0)}{_line(INK, 1.1)}",
            "a wire over a box passes by (the box is broadcast over it); one that ends at a box is consumed",
        ),
    ),
)
__all__ = ["START", "svg"]

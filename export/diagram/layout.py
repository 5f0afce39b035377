"""Where everything goes: operations from left to right, tensors in lanes below one another, in rows.

A tensor keeps its lane as long as something still needs it. Where an operation takes a tensor that is
needed again, the tensor is copied into a free lane first, and the operation's result goes on in the old
one, so the main path stays on top.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tta.export.diagram.parts import Columns, Operation

WIDTH, START = 1480, 64.0  # of a row, and where its first column begins, in pixels
PITCH = 15  # between wires
ABOVE, NAMES = 26, 13  # room above a lane's wires, and for one line of layer names below
LETTER = 5.7  # mean width of a letter of the small font
BOX, JOIN, PLAIN, LABELLED, COPY = 26, 48, 12, 52, 26  # widths, a join being a box where lanes meet


@dataclass
class Column:
    """One operation, or the copy of a tensor into a second lane, with what is alive around it.

    Attributes:
        operation: None for a copy.
        before: tensor by lane, of those alive on its left.
        after: tensor by lane, of those alive on its right.
        sources: lanes of its inputs.
        targets: lanes of its outputs.
        width: of the box.
        x: left edge.
        data: width of the data column behind it.
        labelled: lanes whose wires are labelled on its right.
        level: line below the lane on which the names of its layers stand.
    """

    operation: Operation | None
    before: dict[int, str]
    after: dict[int, str]
    sources: list[int]
    targets: list[int]
    width: float
    x: float = 0.0
    data: float = PLAIN
    labelled: list[int] = field(default_factory=list)
    level: int = 0

    @property
    def centre(self) -> float:
        """Middle of its box; where lanes meet, that stands behind the wires' bends."""
        return self.x + self.width - BOX / 2 if len(self.sources) > 1 else self.x + self.width / 2


@dataclass
class Row:
    """One line of the diagram: its columns, what is alive at its left end, and where lanes lie."""

    columns: list[Column]
    alive: dict[int, str]
    y: float = 0.0
    height: float = 0.0
    tops: dict[int, float] = field(default_factory=dict)
    bottoms: dict[int, float] = field(default_factory=dict)
    named: dict[int, int] = field(default_factory=dict)  # lines of names by lane


def lay_out(given: Columns) -> list[Row]:
    """Rows of columns with all positions."""
    rows = _wrap(_lanes(given), given)
    y = 0.0
    for row in rows:
        row.y = y
        _place(row, given)
        y += row.height
    return rows


def _lanes(given: Columns) -> list[Column]:
    """Columns in order with the lane of each tensor; no positions yet."""
    uses = Counter(name for op in given.operations for name in set(op.inputs))
    alive = dict(enumerate(given.inputs))
    made: list[Column] = []
    for op in given.operations:
        names = list(dict.fromkeys(op.inputs))
        sources = [next(lane for lane, n in sorted(alive.items()) if n == name) for name in names]
        uses.subtract(names)
        ending = sorted(lane for name, lane in zip(names, sources) if not uses[name])
        if names and not ending:
            before, free = dict(alive), _free(alive)
            alive[free] = names[0]
            made.append(Column(None, before, dict(alive), [sources[0]], [free], COPY, data=0.0))
            ending = [sources[0]]
        before = dict(alive)
        for lane in ending:
            del alive[lane]
        targets = []
        for name in op.outputs:
            lane = ending.pop(0) if ending else _free(alive)
            alive[lane] = name
            targets.append(lane)
        width = max(BOX if len(sources) < 2 else JOIN, LETTER * len(op.text) + 4)
        made.append(Column(op, before, dict(alive), sources, targets, width))
        alive = {lane: name for lane, name in alive.items() if uses[name] > 0}
    return made


def _free(alive: dict[int, str]) -> int:
    return next(lane for lane in range(len(alive) + 1) if lane not in alive)


def _wrap(columns: list[Column], given: Columns) -> list[Row]:
    """Deal the columns out to rows, and say where labels and layer names go."""
    rows: list[Row] = []
    x = float("inf")
    ends: dict[tuple[int, int], float] = {}
    for k, column in enumerate(columns):
        _label(column, given)
        need = column.width + column.data
        if column.operation is None and k + 1 < len(columns):
            need += columns[k + 1].width + LABELLED
        if x + need > WIDTH and not (k and columns[k - 1].operation is None):
            rows.append(Row([], column.before))
            x, ends = START, {}
        column.x = x
        if column.operation is not None and column.operation.layers:
            _name(column, column.operation, ends)
        x = column.x + column.width + column.data
        rows[-1].columns.append(column)
    return rows


def _label(column: Column, given: Columns) -> None:
    """Wires are labelled behind an operation that changed them."""
    op = column.operation
    if op is None:
        return
    first = given.wires[op.inputs[0]] if op.inputs else []
    for name, lane in zip(op.outputs, column.targets):
        if given.wires[name] != first:
            column.labelled.append(lane)
            longest = max(len(wire.text) for wire in given.wires[name])
            column.data = max(column.data, LABELLED, LETTER * longest + 16)


def _name(column: Column, op: Operation, ends: dict[tuple[int, int], float]) -> None:
    """Choose the line for the layers' names; widen the gap before the box where both are full."""
    lane = column.targets[0]
    half = LETTER * len(" + ".join(op.layers)) / 2
    left = column.centre - half
    level = min((0, 1), key=lambda k: (ends.get((lane, k), 0.0) > left, k))
    shift = max(0.0, ends.get((lane, level), 0.0) - left, 4 - left)
    column.x += shift
    column.level = level
    ends[lane, level] = left + shift + 2 * half + 10


def _place(row: Row, given: Columns) -> None:
    """Heights of the row's lanes: as many wires as any tensor in it has, and its lines of names."""
    wires: dict[int, int] = {}
    states = [row.alive, *(c.before for c in row.columns), *(c.after for c in row.columns)]
    for alive in states:
        for lane, name in alive.items():
            wires[lane] = max(wires.get(lane, 1), len(given.wires[name]))
    for column in row.columns:
        op = column.operation
        if op is not None and op.layers:
            lane = column.targets[0]
            row.named[lane] = max(row.named.get(lane, 0), column.level + 1)
    y = row.y
    for lane in range(max(wires, default=0) + 1):
        count = wires.get(lane, 0)
        row.tops[lane] = y + ABOVE
        y += ABOVE + PITCH * max(count - 1, 0) + 8 + NAMES * row.named.get(lane, 0) if count else 0
        row.bottoms[lane] = y
    row.height = y - row.y + 16

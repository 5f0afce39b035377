"""Groups nodes that a reader takes for one operation, and drops those that nobody would see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tta.export.diagram.parts import Operation, Wire

VIEWS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Identity")
SIGNS = {"Add": "+", "Sub": "-", "Mul": "×", "Div": "÷"}
POINTWISE = frozenset(
    (
        *SIGNS,
        "Erf",
        "Sigmoid",
        "HardSigmoid",
        "Tanh",
        "Pow",
        "Sqrt",
        "Relu",
        "Clip",
        "Exp",
        "Softplus",
    )
)


def runs(operations: list[Operation], outputs: Sequence[str]) -> list[Operation]:
    """Runs of elementwise operations on one tensor, without weights, as one each."""
    uses = Counter(name for op in operations for name in op.inputs)
    made: list[Operation] = []
    k = 0
    while k < len(operations):
        end = _run(operations, k, uses, outputs)
        run = operations[k : end + 1]
        first = run[0]
        if len(run) > 1:
            kinds = tuple(kind for op in run for kind in op.kinds)
            first = Operation(
                _pointwise(kinds), first.inputs[:1], run[-1].outputs, nonlinear=True, kinds=kinds
            )
        made.append(first)
        k = end + 1
    return made


def _run(
    operations: list[Operation], start: int, uses: Mapping[str, int], outputs: Sequence[str]
) -> int:
    """Last operation of the longest run that begins at ``start``."""
    inside: dict[str, int] = {}  # how often the run itself uses what it makes
    outer: set[str] = set()
    end = start
    for k in range(start, len(operations)):
        op = operations[k]
        if op.learned or op.kinds[0] not in POINTWISE:
            break
        for name in op.inputs:
            if name in inside:
                inside[name] += 1
            else:
                outer.add(name)
        if len(outer) > 1:
            break
        inside.update(dict.fromkeys(op.outputs, 0))
        escaped = [n for n, seen in inside.items() if uses[n] > seen or n in outputs]
        if escaped == op.outputs:
            end = k
    return end


def _pointwise(kinds: Sequence[str]) -> str:
    for mark, name in (("Erf", "gelu"), ("HardSigmoid", "hardswish"), ("Sigmoid", "swish")):
        if mark in kinds:
            return name
    return "·".join(dict.fromkeys(SIGNS.get(kind, kind.lower()) for kind in kinds))


def chains(operations: list[Operation], outputs: Sequence[str]) -> list[Operation]:
    """Views of views become one, and a bias joins the matrix product before it."""
    uses = Counter(name for op in operations for name in op.inputs)
    by_output: dict[str, Operation] = {}
    made: list[Operation] = []
    for op in operations:
        before = by_output.get(op.inputs[0]) if len(op.inputs) == 1 else None
        single = before is not None and uses[op.inputs[0]] == 1 and op.inputs[0] not in outputs
        if before is not None and single and _joins(before, op):
            made.remove(before)
            before.kinds, before.outputs = before.kinds + op.kinds, op.outputs
            if op.text == "pick":
                before.text = "pick"
            op = before
        made.append(op)
        by_output.update(dict.fromkeys(op.outputs, op))
    return made


def _joins(a: Operation, b: Operation) -> bool:
    """Whether b, which alone uses a, becomes part of it."""
    bias = b.kinds == ("Add",) and b.learned and not b.layers
    views = a.kinds[0] in VIEWS and b.kinds[0] in VIEWS
    return views or (a.kinds == ("MatMul",) and a.learned and bias)


def visible(
    operations: list[Operation], wires: Callable[[str], list[Wire]], outputs: Sequence[str]
) -> list[Operation]:
    """Without views that only drop or add axes of length 1: nobody would see them."""
    same: dict[str, str] = {}
    made: list[Operation] = []
    for op in operations:
        op.inputs = [same.get(name, name) for name in op.inputs]
        view = len(op.inputs) == 1 and all(kind in VIEWS for kind in op.kinds)
        if view and op.text != "pick" and wires(op.inputs[0]) == wires(op.outputs[0]):
            if op.outputs[0] not in outputs:
                same[op.outputs[0]] = op.inputs[0]
                continue
            maker = next((o for o in made if op.inputs[0] in o.outputs), None)
            if maker is not None and not any(op.inputs[0] in o.inputs for o in made):
                same[op.inputs[0]] = op.outputs[0]
                maker.outputs = [same.get(name, name) for name in maker.outputs]
                continue
        made.append(op)
    return made

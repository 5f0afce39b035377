"""Adjoints of operators that move elements: the cotangent moves back, repetitions are summed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._broadcast import unbroadcast
from tta.export.gradient._static import (
    AxisOf,
    axis,
    constant,
    first,
    integers,
    pad_axes,
    refuse,
    reshape_like,
    shape,
    zeros_like,
)
from tta.export.operators import Operators, dims, rank
from tta.export.tape import Cotangents, Record


def reshape(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x in another shape: dL/dx = dL/dy in the shape of x."""
    return [reshape_like(op, first(dys), node.x()) if node.active[0] else None]


def transpose(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x with axes permuted: dL/dx = dL/dy permuted back."""
    perm = node.get("perm", None) or range(rank(node.x()))[::-1]
    return [op.Transpose(first(dys), perm=[int(i) for i in np.argsort(perm)])]


def squeeze(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x without axes of length 1: dL/dx = dL/dy with them."""
    axes = integers(node, 1)
    if not node.active[0]:
        return [None]
    if axes is None:
        return [reshape_like(op, first(dys), node.x())]
    return [op.Unsqueeze(first(dys), sorted(axis(a, node.x()) for a in axes))]


def unsqueeze(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x with further axes of length 1: dL/dx = dL/dy without them."""
    axes = integers(node, 1) or []
    y = node.outputs[0]
    return [op.Squeeze(first(dys), [axis(a, y) for a in axes]) if node.active[0] else None]


def expand(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x broadcast to a shape: dL/dx = Σ dL/dy over the axes repeated."""
    if not node.active[0]:
        return [None]
    return [unbroadcast(op, first(dys), node.x(), node.outputs[0])]


def concat(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = (x₁, x₂, …) along an axis: dL/dxₖ = its piece of dL/dy."""
    dy, values = first(dys), [i for i in node.inputs if i is not None]
    k = axis(node.attributes["axis"], node.outputs[0])
    lengths = [dims(v)[k] for v in values]
    static = [d for d in lengths if isinstance(d, int)]
    if len(static) < len(lengths):
        sizes = op.Concat(*(op.Shape(v, start=k, end=k + 1) for v in values), axis=0)
        pieces = op.node("Split", [dy, sizes], {"axis": k}, n_outputs=len(values))
        return [p if on else None for p, on in zip(pieces, node.active)]
    ends = np.cumsum(static)
    return [
        op.Slice(dy, [int(end) - n], [int(end)], [k]) if on else None
        for end, n, on in zip(ends, static, node.active)
    ]


def split(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For (y₁, y₂, …) = x along an axis: dL/dx = (dL/dy₁, dL/dy₂, …)."""
    if not node.active[0]:
        return [None]
    pieces = [zeros_like(op, y) if d is None else d for y, d in zip(node.outputs, dys)]
    return [op.Concat(*pieces, axis=node.get("axis", 0))]


def slice_(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x[start:end:step]: dL/dx = dL/dy in its place, zeros elsewhere."""
    if not node.active[0]:
        return [None]
    dy, x = first(dys), node.x()
    starts, ends = integers(node, 1) or [], integers(node, 2) or []
    axes = integers(node, 3) or list(range(len(starts)))
    steps = integers(node, 4) or [1] * len(starts)
    for start, end, a, step in zip(starts, ends, axes, steps):
        k = axis(a, x)
        length = dims(x)[k]
        if isinstance(length, int):
            dy = place(op, dy, np.arange(length)[start:end:step], k, length)
        elif step == 1 and start >= 0:
            dy = _pad_open(op, dy, x, k, start)
        else:
            raise refuse(node, f"axis {k} of {x.name} has no static length; fix it at export")
    return [dy]


def place(
    op: Operators, dy: ir.Value, picked: npt.NDArray[np.int64], k: int, length: int
) -> ir.Value:
    """Put entry i of axis ``k`` at position picked[i], all distinct; zeros at the others."""
    n = len(picked)
    if np.array_equal(picked, np.arange(length)):
        return dy
    if n and np.array_equal(picked, np.arange(picked[0], picked[0] + n)):
        before = int(picked[0])
        return pad_axes(op, dy, {k: (before, length - n - before)})
    source = np.full(length, n, np.int64)  # n is the zero that Pad appends
    source[picked] = np.arange(n)
    return op.Gather(pad_axes(op, dy, {k: (0, 1)}), source, axis=k)


def _pad_open(op: Operators, dy: ir.Value, x: ir.Value, k: int, start: int) -> ir.Value:
    """``place`` for a run from ``start`` on, on an axis of unknown length."""
    rest = op.Sub(
        op.Shape(x, start=k, end=k + 1), op.Add(op.Shape(dy, start=k, end=k + 1), [start])
    )
    lead, tail = [0] * k, [0] * (rank(x) - k - 1)
    parts = [p for p in (lead, [start], tail, lead) if p] + [rest] + ([tail] if tail else [])
    return op.Pad(dy, op.Concat(*parts, axis=0))


def gather(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x[indices] along an axis: dL/dx[indices] += dL/dy."""
    if not node.active[0]:
        return [None]
    dy, x, indices = first(dys), node.x(), node.x(1)
    k, known = axis(node.get("axis", 0), x), constant(indices)
    length = dims(x)[k]
    if known is not None and known.ndim <= 1 and isinstance(length, int):
        picked = np.ravel(known) % length
        if len(set(picked.tolist())) == len(picked):
            dy = op.Unsqueeze(dy, [k]) if known.ndim == 0 else dy
            return [place(op, dy, picked, k, length)]
    n, r = rank(indices), rank(x)
    front = [*range(k, k + n), *range(k), *range(k + n, r + n - 1)]
    forward = [k, *range(k), *range(k + 1, r)]
    updates = op.Transpose(dy, perm=front) if k else dy
    target = op.Shape(x)
    if k:
        target = op.Gather(target, forward)
    summed = op.ScatterND(
        op.Expand(0.0, target), op.Unsqueeze(indices, [n]), updates, reduction="add"
    )
    return [op.Transpose(summed, perm=[int(i) for i in np.argsort(forward)]) if k else summed]


def gather_elements(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y[i] = x[indices[i]] along an axis: dL/dx[indices[i]] += dL/dy[i]."""
    if not node.active[0]:
        return [None]
    zeros, k = zeros_like(op, node.x()), axis(node.get("axis", 0), node.x())
    return [op.ScatterElements(zeros, node.x(1), first(dys), axis=k, reduction="add")]


def tile(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x repeated: dL/dx = Σ dL/dy over the repetitions."""
    if not node.active[0]:
        return [None]
    dy, x, repeats = first(dys), node.x(), integers(node, 1) or []
    parts: list[int | AxisOf] = []
    summed = []
    for k, n in enumerate(repeats):
        if n != 1:
            summed.append(len(parts))
            parts.append(n)
        parts.append((x, k))
    if not summed:
        return [dy]
    return [op.ReduceSum(op.Reshape(dy, shape(op, parts)), summed, keepdims=0)]


def depth_to_space(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = blocks of channels as positions: dL/dx = positions of dL/dy as blocks of channels."""
    dy, x, b = first(dys), node.x(), int(node.attributes["blocksize"])
    if node.get("mode", "DCR") == "DCR":
        return [op.SpaceToDepth(dy, blocksize=b)]
    y = node.outputs[0]
    parts: list[int | AxisOf] = [(x, 0), (y, 1), (x, 2), b, (x, 3), b]
    blocks = op.Transpose(op.Reshape(dy, shape(op, parts)), perm=[0, 1, 3, 5, 2, 4])
    return [reshape_like(op, blocks, x)]


def space_to_depth(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = positions as blocks of channels: dL/dx = blocks of channels of dL/dy as positions."""
    return [op.DepthToSpace(first(dys), blocksize=int(node.attributes["blocksize"]), mode="DCR")]


def cum_sum(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For yᵢ = Σ_{j ≤ i} xⱼ: dL/dxⱼ = Σ_{i ≥ j} dL/dyᵢ, the same sum from the other end."""
    if not node.active[0]:
        return [None]
    reverse, exclusive = node.get("reverse", 0), node.get("exclusive", 0)
    return [op.CumSum(first(dys), node.x(1), reverse=1 - reverse, exclusive=exclusive)]


def trilu(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = a triangle of x, zeros elsewhere: dL/dx = the same triangle of dL/dy."""
    upper = node.get("upper", 1)
    k = node.inputs[1] if node.has(1) else None
    return [op.Trilu(first(dys), k, upper=upper) if node.active[0] else None]


def dropout(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x in inference: dL/dx = dL/dy."""
    training = constant(node.inputs[2]) if node.has(2) else None
    if node.has(2) and (training is None or bool(training)):
        raise refuse(node, "it is in training mode; export the model in evaluation mode")
    return [first(dys) if node.active[0] else None]


RULES: dict[str, Rule] = {
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Flatten": reshape,
    "Expand": expand,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "GatherElements": gather_elements,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "CumSum": cum_sum,
    "Trilu": trilu,
    "Dropout": dropout,
}

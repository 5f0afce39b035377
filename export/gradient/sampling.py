"""Adjoints of padding and resampling: constant linear maps along single axes, transposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._static import along, axis, constant, first, integers, pad_axes, refuse
from tta.export.operators import Operators, dims, rank
from tta.export.tape import Cotangents, Record

FARTHEST = 2**62  # Slice: to the end


def pad(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x with a frame: dL/dx = dL/dy without it, plus dL/dy where the frame copies x."""
    if not node.active[0]:
        return [None]
    dy, x = first(dys), node.x()
    widths = integers(node, 1) or []
    axes = [axis(a, x) for a in integers(node, 3) or range(rank(x))]
    n = len(axes)
    frame = {k: (widths[i], widths[i + n]) for i, k in enumerate(axes)}
    mode = node.get("mode", "constant")
    if mode == "constant":
        return [_without_frame(op, dy, frame)]
    for k, (before, after) in frame.items():
        if before == after == 0:
            continue
        length = dims(x)[k]
        if not isinstance(length, int):
            raise refuse(node, f"axis {k} of {x.name} has no static length; fix it at export")
        source = np.pad(np.arange(length), (before, after), mode=mode)
        copies = np.zeros((len(source), length))
        copies[np.arange(len(source)), source] = 1.0
        dy = along(op, dy, k, copies)
    return [dy]


def _without_frame(op: Operators, dy: ir.Value, frame: Mapping[int, tuple[int, int]]) -> ir.Value:
    cut = {k: w for k, w in frame.items() if max(w) > 0}
    grown = {k: w for k, w in frame.items() if min(w) < 0}
    if cut:
        starts = [max(b, 0) for b, _ in cut.values()]
        ends = [-a if a > 0 else FARTHEST for _, a in cut.values()]
        dy = op.Slice(dy, starts, ends, list(cut))
    if grown:
        dy = pad_axes(op, dy, {k: (max(-b, 0), max(-a, 0)) for k, (b, a) in grown.items()})
    return dy


def resize(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = R x along each axis: dL/dx = Rᵀ dL/dy; R as onnxruntime resizes unit vectors."""
    if not node.active[0]:
        return [None]
    dy, x, y = first(dys), node.x(), node.outputs[0]
    if node.get("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise refuse(node, "coordinate_transformation_mode tf_crop_and_resize")
    scales = _scales(node)
    maps: dict[int, np.ndarray] = {}
    lengths = list(zip(dims(x), dims(y)))
    for k in scales or range(1, rank(x)):  # sizes alone leave the batch as it is
        before, after = lengths[k]
        if scales.get(k, 1.0) == 1.0 and (before == after or scales):
            continue
        if not isinstance(before, int) or not isinstance(after, int):
            raise refuse(node, f"axis {k} of {x.name} has no static length; fix it at export")
        maps[k] = _interpolation(node.attributes, before, after, scales.get(k))
    times = {k: m.shape[1] // m.shape[0] for k, m in maps.items()}
    copied = all(
        np.array_equal(m, np.repeat(np.eye(len(m)), times[k], axis=1)) for k, m in maps.items()
    )
    if maps and copied and min(maps) >= 2:  # nearest by a whole factor: the sum of each block
        kernel = [times.get(k, 1) for k in range(2, rank(x))]
        mean = op.AveragePool(dy, kernel_shape=kernel, strides=kernel)
        return [op.Mul(mean, float(np.prod(kernel)))]
    for k, matrix in maps.items():
        dy = along(op, dy, k, matrix.T)
    return [dy]


def _scales(node: Record) -> dict[int, float]:
    """Scale by axis where the node gives scales, not sizes."""
    if not node.has(2):
        return {}
    found = constant(node.x(2))
    if found is None:
        raise refuse(node, "its scales are computed; make them constant")
    axes = node.get("axes", None) or range(rank(node.x()))
    return {axis(a, node.x()): float(s) for a, s in zip(axes, np.ravel(found))}


def _interpolation(
    attributes: Mapping[str, Any], before: int, after: int, scale: float | None
) -> np.ndarray:
    """The (before, after) matrix of a resize along one axis."""
    import onnxruntime as ort

    op = Operators()
    x = op.input("x", np.float32, [1, 1, before, before])
    kept = {k: v for k, v in attributes.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    scales = None if scale is None else np.array([1, 1, 1, scale], np.float32)
    sizes = [1, 1, before, after] if scale is None else None
    graph = op.model({"y": op.Resize(x, None, scales, sizes, **kept)}, "interpolation")
    session = ort.InferenceSession(
        ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (matrix,) = session.run(None, {"x": np.eye(before, dtype=np.float32)[None, None]})
    return np.asarray(matrix[0, 0])


RULES: dict[str, Rule] = {"Pad": pad, "Resize": resize}

"""Adjoints of pooling windows: an average is shared out, a maximum goes to where it came from."""

from __future__ import annotations

import numpy as np

from tta.export.gradient import Rule
from tta.export.gradient._static import first, refuse, reshape_like, spatial
from tta.export.gradient.convolution import Window, window
from tta.export.operators import Operators, dims
from tta.export.tape import Cotangents, Record


def average_pool(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For yᵢ = Σ x / nᵢ over window i: dL/dx = Σ dL/dyᵢ / nᵢ over the windows that cover x."""
    x, dy = node.x(), first(dys)
    form = window(node, node.attributes["kernel_shape"])
    n = len(form.kernel)
    share = op.Mul(dy, _reciprocal_counts(node, form))
    lengths, out = dims(x)[2:], dims(node.outputs[0])[2:]
    tiles = [s * o for s, o in zip(form.strides, out) if isinstance(o, int)]
    if form.kernel == form.strides and tiles == lengths and not any(form.pads):
        scales = np.array([1, 1, *form.strides], np.float32)
        return [
            op.Resize(
                share,
                None,
                scales,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ]
    if max(form.strides) == 1:  # windows over dy, reversed: an average that counts zeros in
        pads = [r - p for r, p in zip(form.reach * 2, form.pads)]
        mean = op.AveragePool(share, kernel_shape=list(form.kernel), pads=pads, count_include_pad=1)
        return [op.Mul(mean, float(np.prod(form.kernel)))]
    positions = spatial(node, node.outputs[0])
    extra = [
        i + form.pads[k] + form.pads[k + n] - form.strides[k] * (o - 1) - form.kernel[k]
        for k, (i, o) in enumerate(zip(spatial(node, x), positions))
    ]
    if min(extra) < 0:
        raise refuse(node, "windows of ceil_mode reach past the end; export with ceil_mode=0")
    spread = op.ConvTranspose(
        op.Reshape(share, [-1, 1, *positions]),
        np.ones((1, 1, *form.kernel), np.float32),
        strides=list(form.strides),
        pads=list(form.pads),
        output_padding=extra,
    )
    return [reshape_like(op, spread, x)]


def _reciprocal_counts(node: Record, form: Window) -> np.ndarray | float:
    """1 / nᵢ: one number, or a map over the output positions where padding is not counted."""
    if node.get("count_include_pad", 0) or not any(form.pads):
        return 1.0 / float(np.prod(form.kernel))
    n = len(form.kernel)
    counts = np.ones([1] * (n + 2))
    for k, (length, out) in enumerate(zip(spatial(node, node.x()), spatial(node, node.outputs[0]))):
        begin = np.arange(out) * form.strides[k] - form.pads[k]
        inside = np.minimum(begin + form.kernel[k], length) - np.maximum(begin, 0)
        counts = counts * inside.reshape([-1 if a == k + 2 else 1 for a in range(n + 2)])
    return np.asarray(1.0 / counts, np.float32)


def max_pool(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For yᵢ = x[jᵢ], j the place of the maximum: dL/dx[jᵢ] += dL/dyᵢ."""
    x, dy = node.x(), first(dys)
    form = window(node, node.attributes["kernel_shape"])
    if len(node.outputs) > 1 and not node.get("storage_order", 0):
        indices = node.outputs[1]
    else:
        _, indices = op.node("MaxPool", [x], {**node.attributes, "storage_order": 0}, n_outputs=2)
    overlap = any(r >= s for r, s in zip(form.reach, form.strides))
    flat = op.ScatterElements(
        op.Expand(0.0, op.Reshape(op.Size(x), [1])),
        op.Reshape(indices, [-1]),
        op.Reshape(dy, [-1]),
        reduction="add" if overlap else "none",
    )
    return [reshape_like(op, flat, x)]


RULES: dict[str, Rule] = {"AveragePool": average_pool, "MaxPool": max_pool}

"""Norm layers that do not adapt, in the batch and step graphs.

Behind a convolution that nothing else reads, a fixed batch norm goes into the weights,

    W' = a·W,  b' = a·(b - μ) + β,  a = γ/√(σ² + ε),

for the way forward and, since the adjoint convolves with W', for the way back. The product a·W is written
into the graph and folded when a session is made, so the file holds W once. Elsewhere a fixed batch norm is
the affine y = a·x + (β - a·μ), with dx = a·dy; other norms are computed as if they adapted, without the
gradients of their slots, which nothing reads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tta.export.forward import layer_kind
from tta.export.layers import Norm, vector
from tta.export.lift import Lifted
from tta.export.operators import Operators, dims
from tta.export.optimize.scaled_mask import scaled
from tta.export.tape import Cotangents, Record

Double = npt.NDArray[np.float64]


def folds(lifted: Lifted) -> dict[ir.Node, Norm]:
    """The convolutions that take the fixed batch norm behind them into their weights, and that norm."""
    found = {}
    for norm in lifted.fixed.values():
        node = norm.x.producer()
        if norm.kind != "batch_norm" or node is None or node.op_type != "Conv":
            continue
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        known = vector(node.inputs[1]) is not None and (bias is None or vector(bias) is not None)
        if known and len(norm.x.uses()) == 1 and node not in lifted.hebbian:
            found[node] = norm
    return found


def _affine(norm: Norm) -> tuple[Double, Double]:
    """Gain a and offset β - a·μ of a fixed batch norm."""
    scale, bias, mean, var = (
        norm.slots[role].astype(np.float64) for role in ("scale", "bias", "mean", "var")
    )
    a = scale / np.sqrt(var + norm.attributes["epsilon"])
    return a, bias - a * mean


def folded(
    op: Operators, node: ir.Node, norm: Norm, weight: ir.Value | None
) -> tuple[ir.Value, ir.Value]:
    """Weight and bias of a convolution with the norm in them."""
    assert weight is not None
    a, offset = _affine(norm)
    shape = [d for d in dims(weight) if isinstance(d, int)]
    rows = op.Reshape(weight, [shape[0], -1])
    product = op.Reshape(op.Mul(rows, a.astype(np.float32)[:, None]), shape)
    given = vector(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = offset if given is None else offset + a * given
    return product, op.constant(bias.astype(np.float32))


def record(op: Operators, norm: Norm, x: ir.Value) -> Record:
    """A fixed norm that no convolution takes, as a record whose adjoint gives dL/dx alone."""
    if norm.kind != "batch_norm":
        values = {role: op.constant(value) for role, value in norm.slots.items()}
        made, _ = layer_kind(norm.kind).forward(op, norm, x, values, op.constant(0.0))
        return made
    a, offset = (v.astype(np.float32) for v in _affine(norm))
    zero, one = np.zeros_like(a), np.ones_like(a)
    y = op.BatchNormalization(x, a, offset, zero, one, epsilon=0.0)

    def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
        """For y = a·x + b: dL/dx = a·dL/dy."""
        (dy,) = dys
        assert dy is not None
        return [scaled(op, dy, op.constant(a)) if node.active[0] else None]

    return Record("tta::FixedNorm", norm.name, [x], [y], {}, adjoint)

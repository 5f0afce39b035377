"""A 1x1 convolution and the batch norm behind it, without a pass over what lies between them.

For u = W x + b0, W ``(C, K)``, x ``(N, K, ...)`` with mean m and covariance Σ over frames and positions,

    mean(u) = W m + b0,    var(u) = diag(W Σ Wᵀ)

so the statistics are known before u is, the norm goes into the convolution's weights,

    y = (a·W)(x - x0) + β + a·(W x0 + b0 - μ),    a = γ/√(σ² + ε),

and u is never written. With dz = dL/dy, M values a channel and G = Σ dz (x - x0)ᵀ ``(C, K)``:

    dβ = Σ dz
    dγ = (rowsum(W ⊙ G) + (W x0 + b0 - μ)·dβ)/√(σ² + ε)
    dx = Wᵀ(a·dz) + (Wᵀ diag(b) W)(x - m) + Wᵀ c,
    b = -(α/M)·a·dγ/√(σ² + ε),    c = -(α/M)·a·dβ

which is the gradient of Ioffe & Szegedy ("Batch normalization", ICML 2015, section 3) with
du = a·dz + b·(u - mean(u)) + c put through Wᵀ. A convolution that widens, as in an inverted residual block,
thus costs passes over its narrow input and two matrix products, where the plain way takes some nine passes
over its wide output.

Second moments are taken about a constant x0, the input that the layer's source mean came from, so that they
cancel only far from the source.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from tta.export.layers import Norm, Statistics, Vector, along, attribute, vector
from tta.export.layers._batch_statistics import BatchStatistics
from tta.export.lift import Lifted
from tta.export.operators import Operators, dims
from tta.export.optimize import unblocked
from tta.export.optimize.scaled_mask import scaled
from tta.export.tape import Cotangents, Record
from tta.records import Role

WIDENS = 2  # outputs an input channel from which it pays
MOST_INPUTS = 128  # channels up to which the products cost less than the passes


def products(lifted: Lifted) -> dict[ir.Node, Norm]:
    """The convolutions that are computed with the batch norm behind them, and that norm."""
    found = {}
    for norm in lifted.norms.values():
        node = norm.x.producer()
        if norm.kind != "batch_norm" or node is None or node in lifted.hebbian:
            continue
        if len(norm.x.uses()) == 1 and _suits(node):
            found[node] = norm
    return found


def _suits(node: ir.Node) -> bool:
    weight = vector(node.inputs[1]) if node.op_type == "Conv" else None
    if weight is None or weight.ndim < 3 or weight.size != weight.shape[0] * weight.shape[1]:
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    plain = (
        attribute(node, "group", 1) == 1
        and set(attribute(node, "strides", (1,))) == {1}
        and not any(attribute(node, "pads", (0,)))
        and (bias is None or vector(bias) is not None)
    )
    c, k = weight.shape[:2]
    return plain and c >= WIDENS * k and k <= MOST_INPUTS


def _origin(node: ir.Node, norm: Norm) -> tuple[Vector, Vector]:
    """The constant x0 ``(K,)`` with W x0 + b0 ≈ the norm's source mean, and W x0 + b0 less that mean."""
    weight = vector(node.inputs[1])
    assert weight is not None
    w = weight.reshape(len(weight), -1).astype(np.float64)
    bias = vector(node.inputs[2]) if len(node.inputs) > 2 else None
    wanted = norm.slots["mean"].astype(np.float64) - (0 if bias is None else bias)
    start = np.linalg.lstsq(w, wanted, rcond=None)[0].astype(np.float32)
    return start, (w @ start - wanted).astype(np.float32)


def forward(
    op: Operators,
    node: ir.Node,
    norm: Norm,
    x: ir.Value,
    weight: ir.Value,
    slots: Mapping[Role, ir.Value],
    alpha: ir.Value,
    shared: BatchStatistics,
) -> tuple[Record, Statistics]:
    """Convolution and norm as one record from x; the mean returned is less the norm's source mean.

    Args:
        op: the graph under construction.
        node: the convolution in the source model.
        norm: the batch norm behind it.
        x: the convolution's input ``(N, K, ...)``.
        weight: its kernel ``(C, K, 1, ...)``.
        slots: the norm's slots by role.
        alpha: share of batch statistics.
        shared: what all batch norms of the graph compute in one piece.
    """
    c, k, *ones = (d if isinstance(d, int) else 1 for d in dims(weight))
    w = op.Reshape(weight, [c, k])
    turned = op.Transpose(
        w, perm=[1, 0]
    )  # vectors go first in products: onnxruntime is slow at W v
    axes = [0, *range(2, len(dims(x)))]
    n = shared.count(norm, x)
    start, offset = _origin(node, norm)
    xs = op.Sub(x, along(op, op.constant(start), x, 1))
    middle = op.ReduceMean(xs, axes, keepdims=0)  # m - x0
    flat = op.Reshape(xs, [0, k, -1])
    columns = op.Transpose(flat, perm=[0, 2, 1])
    scatter = op.ReduceSum(op.MatMul(flat, columns), [0], keepdims=0)
    covariance = op.Sub(op.Div(scatter, n), op.Mul(op.Unsqueeze(middle, [1]), middle))
    spread = op.ReduceSum(op.Mul(op.MatMul(w, covariance), w), [1], keepdims=0)
    batch_var = op.Relu(spread)  # rounding must not take it below 0
    batch_mean = op.Add(op.MatMul(middle, turned), op.constant(offset))  # less the source mean
    mean_part, var_part = shared.part(norm)
    mean = op.Add(mean_part, op.Mul(alpha, batch_mean))
    var = op.Add(var_part, op.Mul(alpha, batch_var))  # with epsilon in it
    scale, bias = slots["scale"], slots["bias"]
    shared.remember(norm, scale, var)
    a = op.Div(scale, op.Sqrt(var))
    scaled_weight = op.Reshape(op.Mul(w, op.Unsqueeze(a, [1])), [c, k, *ones])
    y = op.Conv(xs, scaled_weight, op.Add(bias, op.Mul(a, op.Sub(op.constant(offset), mean))))

    def adjoint(op: Operators, record: Record, dys: Cotangents) -> Cotangents:
        """Gradients of x, scale and bias by the formulas above, every sum over a·dz."""
        (dz,) = dys
        assert dz is not None
        vectors = shared.backward(norm)
        adz = scaled(op, dz, vectors.a)
        sum_adz = op.ReduceSum(adz, axes, keepdims=0)
        gram = op.ReduceSum(op.MatMul(op.Reshape(adz, [0, c, -1]), columns), [0], keepdims=0)
        # rowsum(W ⊙ Σ a·dz (x - x0)ᵀ) = Σ a·dz·(u - W x0 - b0)
        along_w = op.ReduceSum(op.Mul(w, gram), [1], keepdims=0)
        u = op.Add(along_w, op.Mul(op.Sub(op.constant(offset), mean), sum_adz))
        dscale, dbias = op.Mul(vectors.ratio, u), op.Mul(vectors.inverse, sum_adz)
        if not record.active[0]:
            return [None, dscale, dbias]
        direct = op.Conv(adz, unblocked.kernel(op, turned, alpha, [k, c, *ones]))
        if shared.constant:
            return [direct, dscale, dbias]
        mixed = op.MatMul(turned, op.Mul(w, op.Unsqueeze(op.Mul(vectors.slope, u), [1])))
        constant = op.MatMul(op.Mul(shared.share(n), sum_adz), w)
        rest = op.Sub(constant, op.MatMul(middle, mixed))  # mixed is symmetric
        through = op.Conv(xs, op.Reshape(mixed, [k, k, *ones]), rest)
        return [op.Add(direct, through), dscale, dbias]

    record = Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint)
    return record, Statistics(batch_mean, batch_var, n)

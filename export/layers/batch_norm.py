"""BatchNorm1d, 2d and 3d: normalization by statistics over the batch and all positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from tta.export.layers import (
    Norm,
    Statistics,
    Vector,
    along,
    attribute,
    channel_axes,
    layer_name,
    vector,
)
from tta.export.layers._batch_statistics import BatchStatistics
from tta.export.layers.power_norm import is_power_norm
from tta.export.operators import Operators, dims, rank
from tta.export.optimize.recompute import again, chain
from tta.export.optimize.scaled_mask import scaled
from tta.export.tape import Cotangents, Record
from tta.records import Role

INSERTED = "tta.inserted"  # in the meta of a node that export put behind a convolution


class BatchNorm:
    """y = scale·(x - μ)/√(σ² + ε) + bias, for x ``(N, C, ...)``, with μ and σ² by the statistics rule.

    Ioffe & Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    kind = "batch_norm"
    Shared = BatchStatistics

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """A ``BatchNormalization`` node with constant parameters."""
        if node.op_type != "BatchNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, scale, bias, mean, var = node.inputs[:5]
        values = [vector(v) for v in (scale, bias, mean, var)]
        if x is None or any(v is None for v in values) or attribute(node, "training_mode", 0):
            return None
        if is_power_norm(node):
            return None
        roles: tuple[Role, ...] = ("scale", "bias", "mean", "var")
        return Norm(
            "batch_norm",
            layer_name(node, scale, mean),
            x,
            node.outputs[0],
            [node],
            {role: v for role, v in zip(roles, values) if v is not None},
            {
                "epsilon": float(attribute(node, "epsilon", 1e-5)),
                **({"inserted": int(values[0].size)} if INSERTED in node.meta else {}),  # type: ignore[union-attr]
            },
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """One BatchNormalization node, which onnxruntime folds into the convolution before it.

        That of an inserted norm has its affine computed in float64 first, so that at the source it is exactly
        1 and 0, and leaves every bit of the convolution as it was.
        """
        if "inserted" in norm.attributes:
            return _exact(op, norm, x, slots)
        return op.BatchNormalization(
            x,
            *(slots[role] for role in ("scale", "bias", "mean", "var")),
            epsilon=norm.attributes["epsilon"],
        )

    @staticmethod
    def forward(
        op: Operators,
        norm: Norm,
        x: ir.Value,
        slots: Mapping[Role, ir.Value],
        alpha: ir.Value,
        shared: BatchStatistics | None = None,
    ) -> tuple[Record, Statistics]:
        """Batch statistics blended with the slots, then the affine in one BatchNormalization.

        With ``shared``, x comes shifted by the source mean m⁰, for which a convolution before it pays
        nothing (its bias), and the mean returned is shifted too. So the batch variance
        E[x²] - E[x]² takes no pass for centring, and cancels only far from the source. Small maps,
        where a channel may have few and nearly equal values, are centred for what little that costs.
        """
        if shared is None:
            return BatchNorm._alone(op, norm, x, slots, alpha)
        (mean_part, var_part), n = shared.part(norm), shared.count(norm, x)
        batch_mean = op.ReduceMean(x, channel_axes(x, 1), keepdims=0)
        centre, z = batch_mean, x
        mean = op.Add(mean_part, op.Mul(alpha, batch_mean))
        if small := _is_small(x):
            z = _centred(op, x, batch_mean)
            mean = op.Sub(mean, batch_mean)
            centre = op.constant(np.zeros(norm.slots["scale"].shape, np.float32))
        square = op.Mul(z, z) if small else op.Mul(_flat(op, x), _flat(op, x))
        batch_var = op.ReduceMean(square, [0, *range(2, rank(square))], keepdims=0)
        if not small:  # rounding must not take it below 0
            batch_var = op.Relu(op.Sub(batch_var, op.Mul(batch_mean, batch_mean)))
        var = op.Add(var_part, op.Mul(alpha, batch_var))  # with epsilon in it
        scale, bias = slots["scale"], slots["bias"]
        y = op.BatchNormalization(z, scale, bias, mean, var, epsilon=0.0)
        shared.remember(norm, scale, var)
        steps = chain(x) if shared.recompute else []
        if steps and steps[0].inputs[0] in shared.dropped:
            steps = []
        if steps:
            shared.dropped.update((x, z))

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            """Gradients of x, scale and bias; the formulas stand beside the lines.

            r = 1/√(σ² + ε), a = scale·r, d = x - μ_b, M values a channel, sums over all but the channel.
            """
            (dy,) = dys
            assert dy is not None
            axes = channel_axes(x, 1)
            vectors = shared.backward(norm)
            ady = scaled(op, dy, vectors.a)
            back = again(op, steps, ady) if steps else x
            kept = back if not small else z if not steps else _centred(op, back, batch_mean)
            sum_ady = op.ReduceSum(ady, axes, keepdims=0)
            sum_adyz = op.ReduceSum(op.Mul(ady, kept), axes, keepdims=0)
            u = op.Sub(sum_adyz, op.Mul(mean, sum_ady))  # a·Σ dy·(x - μ)
            # dL/dscale = r·Σ dy·(x - μ) and dL/dbias = Σ dy
            dscale, dbias = op.Mul(vectors.ratio, u), op.Mul(vectors.inverse, sum_ady)
            if not node.active[0]:
                return [None, dscale, dbias]
            if shared.constant:
                return [ady, dscale, dbias]
            # dL/dσ² = -½·a·r·dscale and dL/dμ = -a·Σ dy; the share α/M of each reaches every value
            share = shared.share(n)
            b = op.Mul(vectors.slope, u)
            c = op.Mul(share, sum_ady)
            # dx = a·dy + b·d + c, the affine of d in one pass
            one = np.ones(norm.slots["scale"].shape, np.float32)
            affine = op.BatchNormalization(kept, b, c, centre, one, epsilon=0.0)
            return [op.Add(ady, affine), dscale, dbias]

        record = Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint)
        return record, Statistics(batch_mean, batch_var, n)

    @staticmethod
    def _alone(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """The layer by itself: it shifts x, and shares with no other."""
        named = {f"{norm.name}.{role}": value for role, value in slots.items()}
        shared = BatchStatistics(op, [norm], lambda name: named[name], alpha, x)
        shifted = op.Sub(x, along(op, op.constant(norm.slots["mean"]), x, 1))
        record, (mean, var, n) = BatchNorm.forward(op, norm, shifted, slots, alpha, shared)
        record.inputs = [x, *record.inputs[1:]]  # dL/dx is that of x minus a constant
        return record, Statistics(shared.true_means([mean])[0], var, n)

    @staticmethod
    def origin(norm: Norm) -> Vector:
        """What the forward wants subtracted from its input, per channel: the source mean."""
        return norm.slots["mean"]


def _exact(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
    """Scale a = γ/√(σ² + ε) and bias β - a·μ in float64, constants that onnxruntime folds at load."""
    double = ir.DataType.DOUBLE.value
    scale, bias, mean, var = (
        op.Cast(slots[role], to=double) for role in ("scale", "bias", "mean", "var")
    )
    epsilon = op.Cast(op.constant(np.float32(norm.attributes["epsilon"])), to=double)
    a = op.Cast(op.Div(scale, op.Sqrt(op.Add(var, epsilon))), to=ir.DataType.FLOAT.value)
    b = op.Sub(bias, op.Mul(op.Cast(a, to=double), mean))
    size = norm.slots["scale"].shape
    zero, one = op.constant(np.zeros(size, np.float32)), op.constant(np.ones(size, np.float32))
    return op.BatchNormalization(
        x, a, op.Cast(b, to=ir.DataType.FLOAT.value), zero, one, epsilon=0.0
    )


SMALL_MAP = 64  # positions up to which a layer's input is centred


def _centred(op: Operators, x: ir.Value, mean: ir.Value) -> ir.Value:
    return op.Sub(x, along(op, mean, x, 1))


def _flat(op: Operators, x: ir.Value) -> ir.Value:
    """X with its positions in one axis.

    onnxruntime would multiply a convolution's output by itself in its blocked layout, and then reorder
    both x and the product for the sums; a Reshape makes it reorder x alone, which the norm needs anyway.
    """
    return op.Reshape(x, [0, 0, -1]) if rank(x) > 3 else x


def _is_small(x: ir.Value) -> bool:
    positions = dims(x)[2:]
    static = [d for d in positions if isinstance(d, int)]
    return len(static) == len(positions) and int(np.prod(static)) <= SMALL_MAP

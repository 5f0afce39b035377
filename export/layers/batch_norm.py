"""BatchNorm1d, 2d and 3d: normalization by statistics over the batch and all positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from tta.export.layers import (
    Norm,
    Statistics,
    along,
    attribute,
    channel_axes,
    layer_name,
    moments,
    vector,
)
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record
from tta.records import Role


class BatchNorm:
    """y = scale·(x - μ)/√(σ² + ε) + bias, for x ``(N, C, ...)``, with μ and σ² by the statistics rule.

    Ioffe & Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
    """

    kind = "batch_norm"

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """A ``BatchNormalization`` node with constant parameters."""
        if node.op_type != "BatchNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, scale, bias, mean, var = node.inputs[:5]
        values = [vector(v) for v in (scale, bias, mean, var)]
        if x is None or any(v is None for v in values) or attribute(node, "training_mode", 0):
            return None
        roles: tuple[Role, ...] = ("scale", "bias", "mean", "var")
        return Norm(
            "batch_norm",
            layer_name(node, scale, mean),
            x,
            node.outputs[0],
            [node],
            {role: v for role, v in zip(roles, values) if v is not None},
            {"epsilon": float(attribute(node, "epsilon", 1e-5))},
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """One BatchNormalization node, which onnxruntime folds into the convolution before it."""
        return op.BatchNormalization(
            x,
            *(slots[role] for role in ("scale", "bias", "mean", "var")),
            epsilon=norm.attributes["epsilon"],
        )

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """Batch statistics blended with the slots, then the affine in one BatchNormalization."""
        epsilon = norm.attributes["epsilon"]
        batch, centred = moments(op, x, 1)
        rest = op.Sub(1.0, alpha)
        mean = op.Add(op.Mul(rest, slots["mean"]), op.Mul(alpha, batch.mean))
        var = op.Add(op.Mul(rest, slots["var"]), op.Mul(alpha, batch.var))
        scale, bias = slots["scale"], slots["bias"]
        y = op.BatchNormalization(x, scale, bias, mean, var, epsilon=epsilon)

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            """Gradients of scale, bias and x; see the formulas beside the lines.

            r = 1/√(σ² + ε), d = x - μ_b, M values a channel, sums over all but the channel.
            """
            (dy,) = dys
            assert dy is not None
            axes = channel_axes(x, 1)
            r = op.Reciprocal(op.Sqrt(op.Add(var, epsilon)))
            sum_dy = op.ReduceSum(dy, axes, keepdims=0)  # Σ dy = dL/dbias
            sum_dyd = op.ReduceSum(op.Mul(dy, centred), axes, keepdims=0)  # Σ dy·d
            # dL/dscale = Σ dy·(x - μ)·r, and x - μ = d + (μ_b - μ)
            offset = op.Sub(batch.mean, mean)
            dscale = op.Mul(r, op.Add(sum_dyd, op.Mul(offset, sum_dy)))
            if not node.active[0]:
                return [None, dscale, sum_dy]
            a = op.Mul(scale, r)
            # dL/dσ² = -½·scale·r²·dscale and dL/dμ = -scale·r·Σ dy; α of each reaches the batch
            dvar = op.Mul(-0.5, op.Mul(op.Mul(a, r), dscale))
            share = op.Div(alpha, batch.n)
            b = op.Mul(op.Mul(2.0, share), dvar)
            c = op.Neg(op.Mul(share, op.Mul(a, sum_dy)))
            # dx = a·dy + b·d + c, the affine of d in one pass
            zero = np.zeros(norm.slots["scale"].shape, np.float32)
            affine = op.BatchNormalization(centred, b, c, zero, zero + 1, epsilon=0.0)
            return [op.Add(op.Mul(dy, along(op, a, x, 1)), affine), dscale, sum_dy]

        return Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint), batch

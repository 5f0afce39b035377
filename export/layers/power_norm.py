"""PowerNorm: normalization by the mean square over the batch and all positions, without a mean."""

from __future__ import annotations

from collections.abc import Mapping

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

MARK = "running_square"  # last part of the name of its statistic


class PowerNorm:
    """y = scale·x/√(φ + ε) + bias for x ``(N, C, ...)``, with φ = (1 - α)·φ_s + α·mean(x²).

    Shen et al., "PowerNorm: rethinking batch normalization in transformers", ICML 2020, eq. 3 (PN-V, at
    α = 1; number not checked). One vector is all that follows the stream, and inference is one factor and
    one summand a channel, or none where a convolution takes them. The gradient always flows through the
    batch's part. ``tta.export.power_norm`` is the torch module.
    """

    kind = "power_norm"

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """A ``BatchNormalization`` whose mean is zero and whose variance is called ``running_square``."""
        if not is_power_norm(node):
            return None
        x, scale, bias, _, square = node.inputs[:5]
        values = [vector(v) for v in (scale, bias, square)]
        if x is None or any(v is None for v in values):
            return None
        roles: tuple[Role, ...] = ("scale", "bias", "square")
        return Norm(
            "power_norm",
            layer_name(node, scale),
            x,
            node.outputs[0],
            [node],
            {role: v for role, v in zip(roles, values) if v is not None},
            {"epsilon": float(attribute(node, "epsilon", 1e-5))},
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """One BatchNormalization node of mean zero, which onnxruntime folds as it does a batch norm."""
        square = slots["square"]
        zero = op.Sub(square, square)
        return op.BatchNormalization(
            x, slots["scale"], slots["bias"], zero, square, epsilon=norm.attributes["epsilon"]
        )

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """The batch's mean square blended with the slot; the moments tell mean and variance apart."""
        batch, _ = moments(op, x, 1)
        own = op.Add(batch.var, op.Mul(batch.mean, batch.mean))
        square = op.Add(op.Mul(op.Sub(1.0, alpha), slots["square"]), op.Mul(alpha, own))
        square = op.Add(square, norm.attributes["epsilon"])
        scale, bias = slots["scale"], slots["bias"]
        r = op.Reciprocal(op.Sqrt(square))
        a = op.Mul(scale, r)
        y = op.Add(op.Mul(x, along(op, a, x, 1)), along(op, bias, x, 1))

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            """With M values a channel: dx = a·dy - (α/M)·a·r²·(Σ dy·x)·x."""
            (dy,) = dys
            assert dy is not None
            axes = channel_axes(x, 1)
            along_x = op.ReduceSum(op.Mul(dy, x), axes, keepdims=0)
            dscale, dbias = op.Mul(r, along_x), op.ReduceSum(dy, axes, keepdims=0)
            if not node.active[0]:
                return [None, dscale, dbias]
            back = op.Mul(op.Div(alpha, batch.n), op.Mul(op.Mul(a, op.Mul(r, r)), along_x))
            dx = op.Sub(op.Mul(dy, along(op, a, x, 1)), op.Mul(x, along(op, back, x, 1)))
            return [dx, dscale, dbias]

        return Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint), batch


def is_power_norm(node: ir.Node) -> bool:
    """Whether a node is one, and no batch norm that happens to have no mean."""
    if node.op_type != "BatchNormalization" or node.domain not in ("", "ai.onnx"):
        return False
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return False
    mean = vector(node.inputs[3])
    named = (node.inputs[4].name or "").rpartition(".")[2] == MARK
    return named and mean is not None and not mean.any()

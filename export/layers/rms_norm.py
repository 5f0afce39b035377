"""RMSNorm: division of each token by its root mean square."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tta.export.layers import (
    Norm,
    Statistics,
    attribute,
    layer_name,
    moments,
    normalized_adjoint,
    vector,
)
from tta.export.operators import Operators, rank
from tta.export.tape import Cotangents, Record
from tta.records import Role


class RmsNorm:
    """y = scale·x/√(mean(x²) + ε) over the last axes of x ``(N, ..., C)``; it has no bias.

    Zhang & Sennrich, "Root mean square layer normalization", NeurIPS 2019, eq. 4. Its ONNX operator is
    newer than the canonical opset, so it is lowered to elementary ones.
    """

    kind = "rms_norm"
    channel = -1

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """An ``RMSNormalization`` node (opset 23) with a constant scale."""
        if node.op_type != "RMSNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, weight = node.inputs[0], node.inputs[1]
        scale = vector(weight)
        if x is None or scale is None:
            return None
        return Norm(
            "rms_norm",
            layer_name(node, weight),
            x,
            node.outputs[0],
            [node],
            {"scale": scale},
            {
                "epsilon": float(attribute(node, "epsilon", 1e-5)),
                "axis": int(attribute(node, "axis", -1)),
            },
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """x·r·scale with r = 1/√(mean(x²) + ε)."""
        return op.Mul(op.Mul(x, _inverse_rms(op, norm, x)), slots["scale"])

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """The same, with x̂ and r kept for the adjoint."""
        scale = slots["scale"]
        n, first = rank(x), norm.attributes["axis"] % rank(x)
        r = _inverse_rms(op, norm, x)
        xhat = op.Mul(x, r)
        y = op.Mul(xhat, scale)
        batch, _ = moments(op, x, n - 1)

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            dy = dys[0]
            assert dy is not None
            dscale = op.ReduceSum(op.Mul(dy, xhat), list(range(first)), keepdims=0)
            if not node.active[0]:
                return [None, dscale]
            own = list(range(first, n))
            dx = normalized_adjoint(op, op.Mul(dy, scale), xhat, r, own, centred=False)
            return [dx, dscale]

        return Record("tta::AdaptiveNorm", norm.name, [x, scale], [y], {}, adjoint), batch


def _inverse_rms(op: Operators, norm: Norm, x: ir.Value) -> ir.Value:
    own = list(range(norm.attributes["axis"] % rank(x), rank(x)))
    power = op.ReduceMean(op.Mul(x, x), own, keepdims=1)
    return op.Reciprocal(op.Sqrt(op.Add(power, norm.attributes["epsilon"])))

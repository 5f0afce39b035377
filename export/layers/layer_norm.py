"""LayerNorm: normalization of each token by its own mean and variance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
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


class LayerNorm:
    """y = scale·(x - mean)/√(var + ε) + bias over the last axes of x ``(N, ..., C)``.

    The statistics are each sample's own, so the statistics rule has nothing to blend; the batch moments
    of its input, over all axes but the last, serve drift. Ba et al., "Layer normalization", 2016, eq. 3.
    """

    kind = "layer_norm"
    channel = -1

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """A ``LayerNormalization`` node with constant parameters."""
        if node.op_type != "LayerNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, weight = node.inputs[0], node.inputs[1]
        given = node.inputs[2] if len(node.inputs) > 2 else None
        scale = vector(weight)
        bias = vector(given) if given is not None else np.zeros_like(scale)
        if x is None or scale is None or bias is None or len(node.outputs) > 1:
            return None
        return Norm(
            "layer_norm",
            layer_name(node, weight, given),
            x,
            node.outputs[0],
            [node],
            {"scale": scale, "bias": np.broadcast_to(bias, scale.shape).copy()},
            {
                "epsilon": float(attribute(node, "epsilon", 1e-5)),
                "axis": int(attribute(node, "axis", -1)),
            },
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """One LayerNormalization node."""
        return op.LayerNormalization(
            x,
            slots["scale"],
            slots["bias"],
            axis=norm.attributes["axis"],
            epsilon=norm.attributes["epsilon"],
        )

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """The same node with its mean and inverse deviation kept for the adjoint."""
        scale, bias = slots["scale"], slots["bias"]
        attributes = {k: norm.attributes[k] for k in ("axis", "epsilon")}
        y, mean, r = op.node("LayerNormalization", [x, scale, bias], attributes, n_outputs=3)
        n, first = rank(x), norm.attributes["axis"] % rank(x)
        batch, _ = moments(op, x, n - 1)

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            dy = dys[0]
            assert dy is not None
            leading = list(range(first))
            xhat = op.Mul(op.Sub(x, mean), r)
            dscale = op.ReduceSum(op.Mul(dy, xhat), leading, keepdims=0)
            dbias = op.ReduceSum(dy, leading, keepdims=0)
            if not node.active[0]:
                return [None, dscale, dbias]
            own = list(range(first, n))
            dx = normalized_adjoint(op, op.Mul(dy, scale), xhat, r, own, centred=True)
            return [dx, dscale, dbias]

        return Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint), batch

"""GroupNorm: normalization of groups of channels by each sample's own statistics."""

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
    normalized_adjoint,
    vector,
)
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record
from tta.records import Role


class GroupNorm:
    """y = scale·(x - mean_g)/√(var_g + ε) + bias, x ``(N, C, ...)`` in G groups of C/G channels.

    Wu & He, "Group normalization", ECCV 2018, eq. 7. Its ONNX operator is newer than the canonical
    opset, so it is lowered to an InstanceNormalization over ``(N, G, -1)`` and a per-channel affine.
    """

    kind = "group_norm"

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """A ``GroupNormalization`` node (opset 21) with constant parameters."""
        if node.op_type != "GroupNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, weight, offset = node.inputs[:3]
        scale, bias = vector(weight), vector(offset)
        if x is None or scale is None or bias is None:
            return None
        return Norm(
            "group_norm",
            layer_name(node, weight, offset),
            x,
            node.outputs[0],
            [node],
            {"scale": scale, "bias": bias},
            {
                "epsilon": float(attribute(node, "epsilon", 1e-5)),
                "groups": int(attribute(node, "num_groups", 1)),
            },
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """Standardized groups, then the affine."""
        xhat = standardized(op, norm, x)
        scaled = op.Mul(xhat, along(op, slots["scale"], x, 1))
        return op.Add(scaled, along(op, slots["bias"], x, 1))

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """The same; the adjoint recomputes the groups' deviations."""
        return grouped_forward(op, norm, x, slots)


def standardized(op: Operators, norm: Norm, x: ir.Value) -> ir.Value:
    """x̂: each sample's groups with mean 0 and variance 1, in x's shape."""
    groups = norm.attributes["groups"]
    one = np.ones(groups, np.float32)
    flat = op.InstanceNormalization(
        op.Reshape(x, [0, groups, -1]), one, one * 0, epsilon=norm.attributes["epsilon"]
    )
    return op.Reshape(flat, op.Shape(x))


def grouped_forward(
    op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]
) -> tuple[Record, Statistics]:
    """Forward and adjoint of a norm over groups of channels (InstanceNorm: one channel each)."""
    groups, epsilon = norm.attributes["groups"], norm.attributes["epsilon"]
    scale, bias = slots["scale"], slots["bias"]
    wide = along(op, scale, x, 1)
    xhat = standardized(op, norm, x)
    y = op.Add(op.Mul(xhat, wide), along(op, bias, x, 1))
    batch, _ = moments(op, x, 1)

    def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
        dy = dys[0]
        assert dy is not None
        axes = channel_axes(x, 1)
        dscale = op.ReduceSum(op.Mul(dy, xhat), axes, keepdims=0)
        dbias = op.ReduceSum(dy, axes, keepdims=0)
        if not node.active[0]:
            return [None, dscale, dbias]
        split = [0, groups, -1]
        xg = op.Reshape(x, split)
        centred = op.Sub(xg, op.ReduceMean(xg, [2], keepdims=1))
        var = op.ReduceMean(op.Mul(centred, centred), [2], keepdims=1)
        r = op.Reciprocal(op.Sqrt(op.Add(var, epsilon)))
        dxg = normalized_adjoint(
            op, op.Reshape(op.Mul(dy, wide), split), op.Mul(centred, r), r, [2], centred=True
        )
        return [op.Reshape(dxg, op.Shape(x)), dscale, dbias]

    return Record("tta::AdaptiveNorm", norm.name, [x, scale, bias], [y], {}, adjoint), batch

"""InstanceNorm: normalization of each channel of each sample by its own statistics."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from tta.export.layers import Norm, Statistics, attribute, layer_name, vector
from tta.export.layers.group_norm import grouped_forward
from tta.export.operators import Operators
from tta.export.tape import Record
from tta.records import Role


class InstanceNorm:
    """y = scale·(x - mean_nc)/√(var_nc + ε) + bias for x ``(N, C, ...)``.

    Ulyanov et al., "Instance normalization", 2016, eq. 2: GroupNorm with one channel a group.
    """

    kind = "instance_norm"

    @staticmethod
    def match(node: ir.Node) -> Norm | None:
        """An ``InstanceNormalization`` node with constant parameters."""
        if node.op_type != "InstanceNormalization" or node.domain not in ("", "ai.onnx"):
            return None
        x, weight, offset = node.inputs[:3]
        scale, bias = vector(weight), vector(offset)
        if x is None or scale is None or bias is None:
            return None
        return Norm(
            "instance_norm",
            layer_name(node, weight, offset),
            x,
            node.outputs[0],
            [node],
            {"scale": scale, "bias": bias},
            {"epsilon": float(attribute(node, "epsilon", 1e-5)), "groups": scale.size},
        )

    @staticmethod
    def infer(op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> ir.Value:
        """One InstanceNormalization node."""
        return op.InstanceNormalization(
            x, slots["scale"], slots["bias"], epsilon=norm.attributes["epsilon"]
        )

    @staticmethod
    def forward(
        op: Operators, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value], alpha: ir.Value
    ) -> tuple[Record, Statistics]:
        """As GroupNorm's."""
        return grouped_forward(op, norm, x, slots)

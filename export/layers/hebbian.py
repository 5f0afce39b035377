"""Hebbian modulation: a soft Hebbian layer around a convolution or linear layer, and its modulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from tta.export.gradient.convolution import weight_adjoint, window
from tta.export.layers import Vector, along, attribute, vector
from tta.export.operators import Operators, dims, rank
from tta.export.tape import Record


@dataclass
class Hebbian:
    """One Hebbian layer chosen in a model.

    Attributes:
        name: its name in the source model.
        node: its Conv, Gemm or MatMul.
        weight: source weight as the node has it.
        units: number of filters or linear units K.
        unit_axis: axis of the weight that counts units.
        modulated: the value behind which the neuro-modulator sits: the output of the norm that
            follows, or else of the node itself.
        channel: the channel axis of that value.
    """

    name: str
    node: ir.Node
    weight: Vector
    units: int
    unit_axis: int
    modulated: ir.Value
    channel: int


@dataclass
class Plasticity:
    """Graph inputs that steer the change: scalars, but for one temperature a layer."""

    eta: ir.Value
    anti: ir.Value
    max_norm: ir.Value
    centre: ir.Value


class Change(NamedTuple):
    """Δw of a layer as the rule says it, and what it comes from.

    Attributes:
        u: pre-activations, without bias.
        s: signed shares of the units, in u's shape.
        dw: Δw summed over batch and positions, before it is divided, in the weight's shape.
        norm0: R = ‖w⁰‖² by unit, in a shape that broadcasts against the weight.
        winner: mean largest share y.
        channel: the axis of u that counts units.
    """

    u: ir.Value
    s: ir.Value
    dw: ir.Value
    norm0: ir.Value
    winner: ir.Value
    channel: int


class HebbianModulation:
    """Soft winner-take-all Hebbian change of a layer's weights, steered by a gain and a shift a channel.

    With patches x, pre-activations u = w·x without bias and K units,

        y_k  = softmax_k(u/τ)                                   soft winner-take-all
        s_k  = y_k, or with anti-Hebbian losers: +y_k for the winner, -y_k for all others
        Δw_k = Σ s_k·(R_k·x - u_k·w_k),  R_k = ‖w⁰_k‖²          summed over batch and positions
        w'_k = (w_k + η·Δw_k)·‖w⁰_k‖/‖w_k + η·Δw_k‖

    Δw_k is orthogonal to w_k where ‖w_k‖ = ‖w⁰_k‖, so filters turn and keep their norm. Δw is divided by
    its largest element (``max_norm``), or by the number of patches. With R = 1 it is the rule of
    Moraitis et al., "SoftHebb", Neuromorph. Comput. Eng. 2022, eq. 4; anti-Hebbian losers after Journé
    et al., "Hebbian deep learning without feedback", ICLR 2023. R_k = ‖w⁰_k‖² and the renormalization
    are departures, made because filters of a trained model are not of unit norm.

    With ``centre`` each patch loses its own mean before it is learned from, x → x - mean_i(x_i), the zeros
    of the padding counted, so that brightness neither decides the competition nor is learned. Since
    w·(x - mean(x)) = (w - mean(w))·x, that costs no more than two means over a filter. Ours as well.

    The neuro-modulator is z' = gain·z + shift per channel, trained by entropy feedback (after Tang et
    al., "Neuro-modulated Hebbian learning for fully test-time adaptation", CVPR 2023). It sits behind the
    norm that follows the layer, where there is one: before it, batch statistics would cancel it.
    """

    kind = "hebbian"

    @staticmethod
    def candidate(node: ir.Node) -> Vector | None:
        """The constant weight of a node that can become a Hebbian layer, else None."""
        if node.domain not in ("", "ai.onnx") or len(node.inputs) < 2:
            return None
        weight = vector(node.inputs[1])
        if weight is None:
            return None
        if node.op_type == "Conv" and attribute(node, "group", 1) == 1:
            return weight
        if node.op_type == "Gemm" and not attribute(node, "transA", 0) and weight.ndim == 2:
            return weight
        return weight if node.op_type == "MatMul" and weight.ndim == 2 else None

    @staticmethod
    def units_axis(node: ir.Node) -> int:
        """Axis of the weight that counts filters or units."""
        transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
        return 0 if node.op_type == "Conv" or transposed else 1

    @staticmethod
    def change(
        op: Operators,
        layer: Hebbian,
        x: ir.Value,
        w: ir.Value,
        source: ir.Value,
        t_invert: ir.Value,
        plasticity: Plasticity,
    ) -> tuple[ir.Value, ir.Value]:
        """The new weight w' (w itself, bit for bit, where η = 0), and the mean largest share y.

        Args:
            op: the graph under construction.
            layer: the layer.
            x: its input.
            w: its weight.
            source: its source weight w⁰.
            t_invert: 1/τ.
            plasticity: η, anti-Hebbian switch, choice of normalization, and centring switch.
        """
        found = HebbianModulation.rule(op, layer, x, w, source, t_invert, plasticity)
        u, dw, norm0 = found.u, found.dw, found.norm0
        inner = [k for k in range(layer.weight.ndim) if k != layer.unit_axis]
        patches = op.Div(op.Cast(op.Size(u), to=ir.DataType.FLOAT.value), np.float32(layer.units))
        largest = op.Add(op.ReduceMax(op.Abs(dw), keepdims=0), np.float32(1e-30))
        divisor = op.Where(op.Greater(plasticity.max_norm, 0.5), largest, patches)
        moved = op.Add(w, op.Mul(plasticity.eta, op.Div(dw, divisor)))
        norm = op.ReduceSumSquare(moved, inner, keepdims=1)
        kept = op.Mul(moved, op.Sqrt(op.Div(norm0, op.Add(norm, np.float32(1e-30)))))
        return op.Where(op.Equal(plasticity.eta, 0.0), w, kept), found.winner

    @staticmethod
    def rule(
        op: Operators,
        layer: Hebbian,
        x: ir.Value,
        w: ir.Value,
        source: ir.Value,
        t_invert: ir.Value,
        plasticity: Plasticity,
    ) -> Change:
        """Δw and what it comes from; arguments as in ``change``."""
        conv = layer.node.op_type == "Conv"
        attributes = {k: a.value for k, a in layer.node.attributes.items()}
        transposed = layer.unit_axis == 0 and not conv
        inner = [k for k in range(layer.weight.ndim) if k != layer.unit_axis]
        centred = _centred(op, w, inner, plasticity.centre)
        if conv:
            u = op.Conv(x, centred, **attributes)
        else:
            u = op.MatMul(x, op.Transpose(centred, perm=[1, 0]) if transposed else centred)
        channel = 1 if conv else rank(x) - 1
        y = op.Softmax(op.Mul(u, t_invert), axis=channel)
        best = op.ReduceMax(y, [channel], keepdims=1)
        winner = op.ReduceMean(best, keepdims=0)
        s = _signed(op, y, u, channel, layer.units, plasticity.anti)

        if conv:
            slide = window(Record("Conv", layer.name, [x, w], [u], attributes), dims(w)[2:])
            yx = weight_adjoint(
                op, x, s, w, strides=slide.strides, pads=slide.pads, dilations=slide.dilations
            )
        else:
            flat_x = op.Reshape(x, [-1, layer.weight.shape[1 - layer.unit_axis]])
            flat_s = op.Reshape(s, [-1, layer.units])
            pair = (flat_s, flat_x) if transposed else (flat_x, flat_s)
            yx = op.MatMul(op.Transpose(pair[0], perm=[1, 0]), pair[1])
        yx = _centred(op, yx, inner, plasticity.centre)
        others = [k for k in range(rank(u)) if k != channel]
        yu = op.ReduceSum(op.Mul(s, u), others, keepdims=0)

        norm0 = op.ReduceSumSquare(source, inner, keepdims=1)
        per_unit = (
            yu if layer.unit_axis == 1 else op.Unsqueeze(yu, [k + 1 for k in range(len(inner))])
        )
        dw = op.Sub(op.Mul(norm0, yx), op.Mul(per_unit, w))
        return Change(u, s, dw, norm0, winner, channel)

    @staticmethod
    def modulate(
        op: Operators, layer: Hebbian, z: ir.Value, gain: ir.Value, shift: ir.Value
    ) -> ir.Value:
        """gain·z + shift along the channel axis."""
        scaled = op.Mul(z, along(op, gain, z, layer.channel))
        return op.Add(scaled, along(op, shift, z, layer.channel))


def _centred(op: Operators, value: ir.Value, inner: list[int], centre: ir.Value) -> ir.Value:
    """Each unit's row without its mean where ``centre`` is 1; the value itself, bit for bit, at 0."""
    return op.Sub(value, op.Mul(centre, op.ReduceMean(value, inner, keepdims=1)))


def _signed(
    op: Operators, y: ir.Value, u: ir.Value, channel: int, units: int, anti: ir.Value
) -> ir.Value:
    """S = y, with the sign of all but the winner flipped where ``anti`` is 1."""
    index = op.ArgMax(u, axis=channel, keepdims=0, select_last_index=0)
    winners = op.OneHot(index, [units], np.array([0, 1], np.float32), axis=channel)
    losers = op.Mul(op.Sub(1.0, winners), op.Mul(anti, 2.0))
    return op.Mul(y, op.Sub(1.0, losers))

"""``explain/<objective>.onnx``: a step with each slot's change taken apart by frame and position.

It is the step graph in which every slot's gradient is a sum over contributions of positions u,

    scale of a norm       c_u = g_u ⊙ x̂_u                  Σ_u c_u = dL/dscale
    bias of a norm        c_u = g_u                        Σ_u c_u = dL/dbias
    gain, shift behind z  c_u = g_u ⊙ z_u, g_u             Σ_u c_u = dL/dgain, dL/dshift
    Hebbian weight        c_u = s_u (R x_u - u_u w)        Σ_u c_u = Δw                     no gradient in it
    mean of a batch norm  c_u = (x_u - μ)/σ                Σ_u c_u = M (μ_b - μ)/σ          nor here
    var of a batch norm   c_u = ((x_u - μ_b)² - σ²)/σ²     Σ_u c_u = M (σ²_b - σ²)/σ²       nor here

with g_u the gradient of the loss at the layer's output, x̂_u its normalized input, μ and σ² the statistics of
the state, μ_b and σ²_b those of the batch, M values a channel. It returns, for frames n and positions u,

    map.<slot>    (N, ...)  |c_nu|₂               where each frame's part of the step came from
    place.<slot>  (...)     |Σ_n c_nu|₂           the same for the batch: what all frames have there adds up
    along.<slot>  (N, ...)  ⟨c_nu, G⟩, G = Σ c    forward (+) or back (-) along the step; sums to |G|²

The first is NormGrad for scaling and bias layers (Rebuffi et al., "There and back again: revisiting
backpropagation saliency methods", CVPR 2020, and "NormGrad: finding the pixels that matter for training",
arXiv:1910.08823), which places a virtual identity layer where none is; here the layer is there and trained,
so the map is the spatial decomposition of the update itself. Statistics and Hebbian weights are ours. For a
Hebbian layer |c_u| is |post|·|pre| but for the rule's own decay; it has no ``place``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from tta.export.forward import layer_kind
from tta.export.layers import Norm, along
from tta.export.layers.hebbian import Hebbian, HebbianModulation
from tta.export.lift import Lifted
from tta.export.operators import Operators, dims, rank
from tta.export.step_graph import Objective, Statistical, step_outputs
from tta.export.tape import Cotangents, Record
from tta.records import Array, Role


@dataclass
class Contribution:
    """What each position adds to a slot's gradient.

    Attributes:
        values: ``(N, ..., C, ...)``.
        own: the slot's axes in them; the sum over all others is the gradient.
    """

    values: ir.Value
    own: Sequence[int]

    def total(self, op: Operators) -> ir.Value:
        """The gradient: the sum over frames and positions, in the slot's shape."""
        others = [k for k in range(rank(self.values)) if k not in self.own]
        return op.ReduceSum(self.values, others, keepdims=0)


@dataclass
class _Explained(Statistical):
    """A step that keeps what each position contributes."""

    parts: dict[str, Contribution] = field(default_factory=dict)  # by slot
    statistics: dict[str, Contribution] = field(default_factory=dict)  # likewise
    inputs: dict[str, tuple[Hebbian, ir.Value, ir.Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.products = {}  # they never write what the norm behind them is given

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        start = len(self.op.nodes)
        y = super()._norm(norm, x)
        record = self.tape[-1]
        slots = {role: self.slots[f"{norm.name}.{role}"] for role in norm.slots}
        xhat = _standardized(self.op, self.op.nodes[start:], y, slots)
        first = norm.attributes.get("axis")
        own = [1] if first is None else list(range(first % rank(x), rank(x)))
        if "mean" in slots:
            self._follow(norm, record.x(), slots)
        inner = record.adjoint
        assert inner is not None

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            """As the layer's own, but with the slots' gradients as sums of contributions."""
            (dy,) = dys
            assert dy is not None
            found = list(inner(op, node, dys))
            for at, role in ((1, "scale"), (2, "bias")):
                if role in norm.slots:
                    part = Contribution(op.Mul(dy, xhat) if role == "scale" else dy, own)
                    self.parts[f"{norm.name}.{role}"] = part
                    found[at] = part.total(op)
            return found

        record.adjoint = adjoint
        return y

    def _follow(self, norm: Norm, x: ir.Value, slots: Mapping[Role, ir.Value]) -> None:
        """What each position adds to the change of the statistics, in deviations of the state's own."""
        op, kind, epsilon = self.op, layer_kind(norm.kind), norm.attributes["epsilon"]
        origin = getattr(kind, "origin", None)  # x and the batch's mean come less it
        mean, var, batch_mean = slots["mean"], slots["var"], self.moments[norm.name].mean
        if origin is not None:
            mean = op.Sub(mean, op.constant(origin(norm)))
        one = np.ones(norm.slots["mean"].shape, np.float32)
        z, centred = (
            op.BatchNormalization(x, one, 0 * one, m, var, epsilon=epsilon)
            for m in (mean, batch_mean)
        )
        expected = along(op, op.Div(var, op.Add(var, epsilon)), x, 1)
        self.statistics[f"{norm.name}.mean"] = Contribution(z, [1])
        self.statistics[f"{norm.name}.var"] = Contribution(
            op.Sub(op.Mul(centred, centred), expected), [1]
        )

    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        gain, shift = (self.slot(f"{layer.name}.{k}") for k in ("gain", "shift"))
        out = HebbianModulation.modulate(self.op, layer, z, gain, shift)

        def adjoint(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
            (dy,) = dys
            assert dy is not None
            own = [layer.channel % rank(z)]
            parts = [Contribution(op.Mul(dy, z), own), Contribution(dy, own)]
            for slot, part in zip((gain, shift), parts):
                self.parts[f"{slot.name}"] = part
            dz = op.Mul(dy, along(op, gain, z, layer.channel))
            return [dz if node.active[0] else None, *(part.total(op) for part in parts)]

        self.tape.append(
            Record("tta::Modulation", layer.name, [z, gain, shift], [out], {}, adjoint)
        )
        return out

    def _hebbian(self, layer: Hebbian) -> ir.Value:
        x = layer.node.inputs[0]
        assert x is not None
        self.inputs[layer.name] = layer, self.env[x], self.slot(f"{layer.name}.weight")
        return super()._hebbian(layer)


def explain_graph(
    lifted: Lifted,
    name: str,
    objective: Objective,
    hebbian: bool = False,
    constant_statistics: bool = False,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
) -> ir.Model:
    """``explain/<name>.onnx``: inputs as of ``step/<name>``, and a map for each slot that it trains.

    Raises:
        NoGradientError: as ``step_graph``.
    """
    forward = _Explained(lifted, constant=constant_statistics)
    op = forward.op
    step = step_outputs(forward, name, objective, hebbian, sources)
    kept = ("grad", "new", "objective")
    named = {k: v for k, v in step.items() if k.partition(".")[0] in kept}
    named |= _maps(op, forward.parts, step) | _maps(op, forward.statistics, step)
    if hebbian:
        for layer, x, weight in forward.inputs.values():
            slot = f"{layer.name}.weight"
            named[f"map.{slot}"], named[f"along.{slot}"] = _hebbian_maps(forward, layer, x, weight)
    return op.model(named, f"explain/{name}")


def explain_batch_graph(lifted: Lifted) -> ir.Model | None:
    """``explain/batch.onnx``: maps of the statistics alone, for methods without gradient.

    None where the model has no statistics that follow a batch.
    """
    forward = _Explained(lifted)
    forward.run()
    named = _maps(forward.op, forward.statistics, {})
    return forward.op.model(named, "explain/batch") if named else None


def _maps(
    op: Operators, parts: Mapping[str, Contribution], step: Mapping[str, ir.Value]
) -> dict[str, ir.Value]:
    """The outputs for each slot; its gradient is the step's, where it has one, since that may be masked."""
    named = {}
    for slot, part in parts.items():

        def length(values: ir.Value, own: Sequence[int] = part.own) -> ir.Value:
            return op.Sqrt(op.ReduceSum(op.Mul(values, values), own, keepdims=0))

        named[f"map.{slot}"] = length(part.values)
        together = op.ReduceSum(part.values, [0], keepdims=1)
        named[f"place.{slot}"] = op.Squeeze(length(together), [0])
        whole = step.get(f"grad.{slot}") or part.total(op)
        wide = along(op, whole, part.values, part.own[0]) if len(part.own) == 1 else whole
        named[f"along.{slot}"] = op.ReduceSum(op.Mul(part.values, wide), part.own, keepdims=0)
    return named


def _standardized(
    op: Operators, nodes: Sequence[ir.Node], y: ir.Value, slots: Mapping[Role, ir.Value]
) -> ir.Value:
    """What a layer's nodes put out with scale 1 and bias 0: its normalized input, whatever its kind."""
    fills: dict[Role, float] = {"scale": 1.0, "bias": 0.0}
    known = {
        slots[role]: op.constant(
            np.full([int(str(d)) for d in dims(slots[role])], fill, np.float32)
        )
        for role, fill in fills.items()
        if role in slots
    }
    for node in list(nodes):
        if any(i in known for i in node.inputs if i is not None):
            inputs = [None if i is None else known.get(i, i) for i in node.inputs]
            outputs = op.node(
                node.op_type, inputs, dict(node.attributes), len(node.outputs), node.domain
            )
            known.update(zip(node.outputs, outputs))
    return known[y]


def _hebbian_maps(
    forward: _Explained, layer: Hebbian, x: ir.Value, w: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """|c_u| and ⟨c_u, Δw⟩ of c_u = s_u (R x_u - u_u w), without forming the outer product.

    |c_u|² = Σ_k s_k² (R_k² |x_u|² - 2 R_k u_k² + u_k² |w_k|²) since w_k·x_u = u_k, and
    ⟨c_u, D⟩ = Σ_k s_k (R_k D_k·x_u - u_k w_k·D_k).
    """
    op, plasticity = forward.op, forward.plasticity
    assert plasticity is not None
    slot = f"{layer.name}.weight"
    source = op.weight(f"source.{slot}", ir.tensor(forward.lifted.values[slot]))
    t_invert = next(i for i in op.inputs if i.name == f"t_invert.{layer.name}")
    rule = HebbianModulation.rule(op, layer, x, w, source, t_invert, plasticity)
    inner = [k for k in range(layer.weight.ndim) if k != layer.unit_axis]

    def spread(values: ir.Value) -> ir.Value:
        return along(op, values, rule.u, rule.channel)

    norm0 = op.ReduceSum(rule.norm0, inner, keepdims=0)
    r, ww = spread(norm0), spread(op.ReduceSum(op.Mul(w, w), inner, keepdims=0))
    wd = spread(op.ReduceSum(op.Mul(w, rule.dw), inner, keepdims=0))
    patch = _linear(
        op, layer, op.Mul(x, x), np.ones_like(layer.weight)
    )  # |x_u|², the same in each k
    projected = _linear(op, layer, x, rule.dw)
    u2 = op.Mul(rule.u, rule.u)
    squares = op.Add(op.Mul(op.Mul(r, r), patch), op.Mul(u2, op.Sub(ww, op.Mul(r, 2.0))))
    weighed = op.Mul(op.Mul(rule.s, rule.s), op.Relu(squares))  # rounding must not take it below 0
    size = op.Sqrt(op.ReduceSum(weighed, [rule.channel], keepdims=0))
    share = op.Mul(rule.s, op.Sub(op.Mul(r, projected), op.Mul(rule.u, wd)))
    return size, op.ReduceSum(share, [rule.channel], keepdims=0)


def _linear(op: Operators, layer: Hebbian, x: ir.Value, w: ir.Value | np.ndarray) -> ir.Value:
    """The layer's own product, without bias, with another weight."""
    if layer.node.op_type == "Conv":
        attributes = {k: a.value for k, a in layer.node.attributes.items()}
        return op.Conv(x, w, **attributes)
    return op.MatMul(x, op.Transpose(w, perm=[1, 0]) if layer.unit_axis == 0 else w)

"""``batch.onnx`` and ``step/<objective>.onnx``: slots as inputs, norms under the statistics rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from tta.errors import ExportError, NoGradientError
from tta.export.forward import Forward, layer_kind
from tta.export.gradient import blocked, reverse
from tta.export.layers import Norm, Statistics, along, attribute, channel_axes, settled, vector
from tta.export.layers.hebbian import Hebbian, HebbianModulation, Plasticity
from tta.export.lift import Lifted, zero_gradient
from tta.export.objectives import LayerStatistics, takes_layers
from tta.export.operators import Operators, dims
from tta.export.optimize import fixed_norm, pointwise, unblocked
from tta.records import Array

GRADIENT_ROLES = ("scale", "bias", "modulation")


class Objective(Protocol):
    """Writes the loss of each frame ``(N,)`` from the outputs, through the operator namespace.

    One that has a third parameter, ``layers``, gets a ``LayerStatistics`` of each norm layer that adapts, by
    name. A loss of the batch as a whole may be a scalar.
    """

    def __call__(self, op: Any, outputs: Mapping[str, Any], /, *layers: Any) -> Any:
        """The loss of each frame, or of the batch."""


@dataclass
class Statistical(Forward):
    """Slots as inputs, norms under the statistics rule."""

    alpha: ir.Value | None = None
    slots: dict[str, ir.Value] = field(default_factory=dict)
    moments: dict[str, Statistics] = field(default_factory=dict)
    answers: dict[str, ir.Value] = field(default_factory=dict)  # what each norm puts out
    shared: dict[str, Any] = field(default_factory=dict)  # by kind
    shifted: set[str] = field(default_factory=set)  # norms whose input is already shifted
    plasticity: Plasticity | None = None
    new: dict[str, ir.Value] = field(default_factory=dict)
    winners: dict[str, ir.Value] = field(default_factory=dict)
    products: dict[ir.Node, Norm] = field(init=False)  # convolutions computed with their norm
    folds: dict[ir.Node, Norm] = field(init=False)  # convolutions that take a fixed norm in
    constant: bool = False  # whether the gradient takes batch statistics for constants
    recompute: bool = False  # whether the way back computes every second norm's input again

    def __post_init__(self) -> None:
        self.products = pointwise.products(self.lifted)
        self.folds = fixed_norm.folds(self.lifted)

    def _node(self, node: ir.Node) -> None:
        if node in self.products:
            return
        norm = self.lifted.norms.get(node)
        before = None if norm is None else norm.x.producer()
        if norm is not None and before is not None and before in self.products:
            self._set(norm.y, self._product(before, norm))
        else:
            super()._node(node)

    def slot(self, name: str) -> ir.Value:
        """The graph's input of that name, made when it is asked for first."""
        if name not in self.slots:
            self.slots[name] = self.op.input(name, np.float32, self.lifted.values[name].shape)
        return self.slots[name]

    def _share(self) -> ir.Value:
        """The input that says how much batch statistics count."""
        if self.alpha is None:
            self.alpha = self.op.input("alpha", np.float32, [])
        return self.alpha

    def _product(self, node: ir.Node, norm: Norm) -> ir.Value:
        """A convolution and the norm behind it in one."""
        x, kernel = node.inputs[:2]
        assert x is not None and kernel is not None
        slots = {role: self.slot(f"{norm.name}.{role}") for role in norm.slots}
        inputs = (self.env[x], self.env[kernel], slots, self._share(), self._shared(norm.kind))
        record, self.moments[norm.name] = pointwise.forward(self.op, node, norm, *inputs)
        self.tape.append(record)
        self.answers[norm.name] = record.outputs[0]
        return record.outputs[0]

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        op = self.op
        kind: Any = layer_kind(norm.kind)
        alpha = self._share()
        slots = {role: self.slot(f"{norm.name}.{role}") for role in norm.slots}
        if not hasattr(kind, "Shared"):
            record, found = kind.forward(op, norm, x, slots, alpha)
        else:
            if norm.name not in self.shifted:
                start = len(op.nodes)
                x = op.Sub(x, along(op, op.constant(kind.origin(norm)), x, 1))
                self.record(start, norm.name)
            shared = self._shared(norm.kind)
            record, found = kind.forward(op, norm, x, slots, alpha, shared)
        self.moments[norm.name] = found
        self.tape.append(record)
        y: ir.Value = record.outputs[0]
        self.answers[norm.name] = y
        return y

    def answered(self) -> dict[str, tuple[ir.Value, ir.Value]]:
        """Mean and biased variance ``(C,)`` of what each norm puts out, recorded for the way back.

        Layers of which these say nothing, see ``settled``, are left out.
        """
        found, start = {}, len(self.op.nodes)
        for norm in self.lifted.norms.values():
            if settled(norm):
                continue
            y = self.answers[norm.name]
            axes = channel_axes(y, getattr(layer_kind(norm.kind), "channel", 1))
            mean = self.op.ReduceMean(y, axes, keepdims=1)
            centred = self.op.Sub(y, mean)
            var = self.op.ReduceMean(self.op.Mul(centred, centred), axes, keepdims=0)
            found[norm.name] = (self.op.Squeeze(mean, axes), var)
        self.record(start, "layer statistics")
        return found

    def _shared(self, kind: str) -> Any:
        """What the layers of a kind compute in one piece, made when the first of them is met."""
        if kind not in self.shared:
            norms = [n for n in self.lifted.norms.values() if n.kind == kind]
            layer: Any = layer_kind(kind)
            samples = self.env[self.lifted.input]
            self.shared[kind] = layer.Shared(self.op, norms, self.slot, self._share(), samples)
            self.shared[kind].constant = self.constant
            self.shared[kind].recompute = self.recompute
        return self.shared[kind]

    def emit(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value]:
        """A copy of a node; a convolution's bias takes the shift that a norm behind it asks for.

        A fixed norm behind a convolution goes into its weights.
        """
        inputs = list(inputs)
        if node in self.folds:
            inputs[1:] = fixed_norm.folded(self.op, node, self.folds[node], inputs[1])
            return super().emit(node, inputs)
        if unblocked.suits(node) and inputs[1] is not None:
            inputs[1] = unblocked.kernel(self.op, inputs[1], self._share())
        users = [user for user, _ in node.outputs[0].uses()]
        norm = self.lifted.norms.get(users[0]) if len(users) == 1 else None
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        given = vector(bias)
        kind: Any = None if norm is None else layer_kind(norm.kind)
        if (
            norm is None
            or node.op_type not in ("Conv", "Gemm")
            or not hasattr(kind, "origin")
            or (bias is not None and given is None)
            or attribute(node, "beta", 1.0) != 1.0
        ):
            return super().emit(node, inputs)
        origin = kind.origin(norm)
        shifted = self.op.constant((0 if given is None else given) - origin)
        self.shifted.add(norm.name)
        return super().emit(node, [*inputs[:2], shifted])

    def _fixed(self, norm: Norm, x: ir.Value) -> ir.Value:
        if any(norm is taken for taken in self.folds.values()):
            return x  # the convolution's output is the norm's already
        record = fixed_norm.record(self.op, norm, x)
        self.tape.append(record)
        return record.outputs[0]

    def _hebbian(self, layer: Hebbian) -> ir.Value:
        name = f"{layer.name}.weight"
        weight = self.slot(name)
        if self.plasticity is not None:
            source = self.op.weight(f"source.{name}", ir.tensor(self.lifted.values[name]))
            t_invert = self.op.input(f"t_invert.{layer.name}", np.float32, [])
            x = layer.node.inputs[0]
            assert x is not None
            weight, self.winners[layer.name] = HebbianModulation.change(
                self.op, layer, self.env[x], weight, source, t_invert, self.plasticity
            )
            self.new[name] = weight
        return self._linear(layer, weight)

    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        gain, shift = (self.slot(f"{layer.name}.{k}") for k in ("gain", "shift"))
        start = len(self.op.nodes)
        out = HebbianModulation.modulate(self.op, layer, z, gain, shift)
        self.record(start, layer.name)
        return out

    def results(self, outputs: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
        """Outputs of the graph by name: task outputs, features, moments by layer."""
        named = dict(outputs)
        for kind, shared in self.shared.items():
            layers = [n.name for n in self.lifted.norms.values() if n.kind == kind]
            means = shared.true_means([self.moments[layer].mean for layer in layers])
            for layer, mean in zip(layers, means):
                self.moments[layer] = self.moments[layer]._replace(mean=mean)
        for layer, statistics in self.moments.items():
            for key, value in zip(("mean", "var", "count"), statistics):
                named[f"{key}.{layer}"] = value
        return named


def batch_graph(lifted: Lifted) -> ir.Model:
    """``batch.onnx``: the forward under the statistics rule, with batch moments by layer."""
    forward = Statistical(lifted)
    outputs = forward.run()
    return forward.op.model(forward.results(outputs), "batch")


def answers_graph(lifted: Lifted) -> ir.Model:
    """A graph of mean and variance of what each norm layer puts out, ``mean.<layer>``, ``var.<layer>``."""
    forward = Statistical(lifted)
    forward.run()
    named = {}
    for layer, pair in forward.answered().items():
        named[f"mean.{layer}"], named[f"var.{layer}"] = pair
    return forward.op.model(named, "answers")


def step_graph(
    lifted: Lifted,
    name: str,
    objective: Objective,
    hebbian: bool = False,
    constant_statistics: bool = False,
    recompute: bool = False,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
) -> ir.Model:
    """``step/<name>.onnx``: the batch graph with objective, gradients and Hebbian change.

    The gradients are those of (1/N)·Σ w_i·ℓ_i with the sample weights w and the objective ℓ; of a scalar ℓ
    they are those of ℓ times the mean weight. ``sources`` are mean and variance of what each norm layer puts
    out on source data, for an objective that takes layers. With
    ``constant_statistics`` they take batch means and variances for constants, which leaves out a pass or two
    a layer and is no longer the gradient of the objective at α > 0. With ``recompute`` the way back computes
    every second norm's input again instead of keeping it, see ``export/optimize/recompute.py``.

    Raises:
        NoGradientError: an operator between a layer and the objective has no gradient rule; the
            message names the node and the layers that could still be adapted.
    """
    forward = Statistical(lifted, constant=constant_statistics, recompute=recompute)
    return forward.op.model(
        step_outputs(forward, name, objective, hebbian, sources), f"step/{name}"
    )


def step_outputs(
    forward: Statistical,
    name: str,
    objective: Objective,
    hebbian: bool,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
) -> dict[str, ir.Value]:
    """Emit a step into an empty forward; its outputs by name."""
    op, lifted = forward.op, forward.lifted
    if hebbian:
        forward.plasticity = Plasticity(
            *(op.input(n, np.float32, []) for n in ("eta", "anti", "max_norm", "centre"))
        )
    outputs = forward.run()
    layered = takes_layers(objective)
    layers = _layers(forward, sources or {}) if layered else ()
    start = len(op.nodes)
    loss = objective(op, outputs, *layers)
    forward.record(start, name)
    named = forward.results(outputs)
    named["objective"] = loss
    named.update({f"new.{slot}": value for slot, value in forward.new.items()})
    named.update({f"winner.{layer}": value for layer, value in forward.winners.items()})

    trained = [s.name for s in lifted.slots if s.role in GRADIENT_ROLES]
    wanted = {n: forward.slots[n] for n in trained if n in forward.slots}
    weight = op.input("sample_weight", np.float32, ["N"])
    if loss.shape is not None and not dims(loss):
        seed = op.ReduceMean(weight, [0], keepdims=0)
    else:
        seed = op.Div(weight, op.Cast(op.Size(weight), to=ir.DataType.FLOAT.value))
    try:
        gradients = reverse(op, forward.tape, {loss: seed}, wanted.values())
    except NoGradientError as error:
        raise NoGradientError(_still(lifted, forward, loss, wanted, str(error))) from error
    found = {n: gradients.get(value) for n, value in wanted.items()}
    given = {n: g for n, g in found.items() if g is not None}
    if forward.alpha is not None and not forward.constant and not layered:
        silent = {n: given[n] for n in zero_gradient(lifted) if n in given}
        given |= _masked(op, silent, forward.alpha)
    for slot, value in wanted.items():
        named[f"grad.{slot}"] = given[slot] if slot in given else op.Mul(value, 0.0)
    return named


def _layers(
    forward: Statistical, sources: Mapping[str, tuple[Array, Array]]
) -> tuple[dict[str, LayerStatistics]]:
    """The third argument of an objective."""
    constant = forward.op.constant
    found = {
        layer: LayerStatistics(*pair, *(constant(np.float32(v)) for v in sources[layer]))
        for layer, pair in forward.answered().items()
    }
    if not found:
        raise ExportError(
            "an objective asks for the statistics of layers, but no norm that adapts has any that its input "
            "decides (an InstanceNorm has none): leave that objective out"
        )
    return (found,)


def _masked(op: Operators, silent: Mapping[str, ir.Value], alpha: ir.Value) -> dict[str, ir.Value]:
    """Gradients ``(C,)`` that are rounding noise at α = 1, zeroed there, all in one piece."""
    if not silent:
        return {}
    partial = op.Cast(op.Less(alpha, 1.0), to=ir.DataType.FLOAT.value)
    joined = op.Mul(op.Concat(*silent.values(), axis=0), partial)
    sizes = [dims(value)[0] for value in silent.values()]
    split = op.node("Split", [joined, np.array(sizes, np.int64)], {"axis": 0}, len(sizes))
    return dict(zip(silent, split))


def _still(
    lifted: Lifted,
    forward: Statistical,
    loss: ir.Value,
    wanted: Mapping[str, ir.Value],
    message: str,
) -> str:
    """The message, with the layers whose way to the objective is free."""
    _, tainted = blocked(forward.tape, [loss])
    layer_of = {s.name: s.layer for s in lifted.slots}
    stuck = {layer_of[n] for n, value in wanted.items() if value in tainted}
    free = dict.fromkeys(layer_of[n] for n in wanted if layer_of[n] not in stuck)
    rest = f"could still be adapted: {', '.join(free)}" if free else "no layer lies behind it"
    return f"{message}; {rest}"

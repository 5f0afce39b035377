"""Builds the bundle's graphs from a lifted model: infer, batch and step.

Each is the model run symbolically once: every node is emitted again, an adaptable layer by its layer file.
``infer`` shows the layers as local functions ``tta::AdaptiveNorm`` and ``tta::HebbianModulation``, with the
slots as weights; ``batch`` and ``step`` take the slots as inputs and keep the statistics rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from tta import registry
from tta.errors import NoGradientError
from tta.export.gradient import blocked, reverse
from tta.export.layers import Layer, Norm, Statistics, along, attribute, vector
from tta.export.layers.hebbian import Hebbian, HebbianModulation, Plasticity
from tta.export.lift import Lifted, zero_gradient
from tta.export.operators import OPSET, Operators, dims
from tta.export.tape import Record

GRADIENT_ROLES = ("scale", "bias", "modulation")


class Objective(Protocol):
    """Writes the loss of each frame ``(N,)`` from the outputs, through the operator namespace."""

    def __call__(self, op: Any, outputs: Mapping[str, Any]) -> Any:
        """The loss of each frame."""


@dataclass
class _Forward:
    """The model run symbolically into ``op``; subclasses say what a layer becomes."""

    lifted: Lifted
    op: Operators = field(default_factory=Operators)
    env: dict[ir.Value, ir.Value] = field(default_factory=dict)
    tape: list[Record] = field(default_factory=list)
    features: ir.Value | None = None

    def run(self) -> dict[str, ir.Value]:
        """Emit every node; returns the task outputs and the features by name."""
        lifted, op = self.lifted, self.op
        x = lifted.input
        assert x.name is not None and x.type is not None
        batch = ["N", *dims(x)[1:]]
        self.env[x] = op.input(x.name, x.type.dtype.numpy(), batch)
        for value in lifted.model.graph.initializers.values():
            if value.const_value is not None and value.uses():
                name = f"source.{value.name}" if value.name in lifted.values else f"{value.name}"
                self.env[value] = op.weight(name, value.const_value)
        for node in lifted.model.graph:
            self._node(node)
        outputs = {name: self.env[value] for name, value in lifted.outputs.items()}
        outputs["features"] = self.features or next(iter(outputs.values()))
        return outputs

    def _node(self, node: ir.Node) -> None:
        lifted = self.lifted
        head = lifted.head
        if node in lifted.norms:
            norm = lifted.norms[node]
            self._set(norm.y, self._norm(norm, self.env[norm.x]))
        elif head is not None and node is head.nodes[-1]:
            self._set(head.logits, self._head())
        elif head is not None and node in head.nodes:
            return
        elif node in lifted.hebbian:
            self._set(node.outputs[0], self._hebbian(lifted.hebbian[node]))
        else:
            self._copy(node, [None if i is None else self.env[i] for i in node.inputs])

    def _set(self, old: ir.Value, new: ir.Value) -> None:
        self.env[old] = new
        if new.shape is None:
            new.shape, new.type = old.shape, old.type
        for layer in self.lifted.hebbian.values():
            if layer.modulated is old:
                self.env[old] = self._modulate(layer, new)

    def _copy(self, node: ir.Node, inputs: list[ir.Value | None]) -> None:
        start = len(self.op.nodes)
        outputs = self.emit(node, inputs)
        self.record(start, node.name or "")
        for old, new in zip(node.outputs, outputs):
            new.type = new.type or old.type
            if new.shape is None or any(d is None for d in dims(new)):
                new.shape = old.shape
            self._set(old, new)

    def emit(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value]:
        """A copy of a node on other inputs; its outputs."""
        return self.op.node(
            node.op_type, inputs, dict(node.attributes), len(node.outputs), node.domain
        )

    def record(self, start: int, name: str = "") -> None:
        """Put the nodes emitted since ``start`` on the tape."""
        for node in self.op.nodes[start:]:
            plain = {k: a.value for k, a in node.attributes.items()}
            self.tape.append(
                Record(node.op_type, name or node.name or "", node.inputs, node.outputs, plain)
            )

    def _head(self) -> ir.Value:
        head, op = self.lifted.head, self.op
        assert head is not None
        self.features = self.env[head.features]
        start = len(op.nodes)
        shifted = op.Add(self.features, self.slot("features.shift"))
        logits = op.Gemm(shifted, self.slot("head.weight"), self.slot("head.bias"), transB=1)
        self.record(start, head.name)
        return logits

    def slot(self, name: str) -> ir.Value:
        """The value that holds a slot in this graph."""
        raise NotImplementedError  # each graph has its own way

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        raise NotImplementedError  # a function in infer, the statistics rule elsewhere

    def _hebbian(self, layer: Hebbian) -> ir.Value:
        raise NotImplementedError

    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        raise NotImplementedError

    def _linear(self, layer: Hebbian, weight: ir.Value) -> ir.Value:
        """The Hebbian layer's own node with another weight."""
        inputs = [None if i is None else self.env[i] for i in layer.node.inputs]
        inputs[1] = weight
        start = len(self.op.nodes)
        (out,) = self.emit(layer.node, inputs)
        self.record(start, layer.name)
        return out


@dataclass
class _Infer(_Forward):
    """Layers as local functions, slots as weights."""

    functions: dict[tuple[str, str], ir.Function] = field(default_factory=dict)  # by name, variant
    waiting: dict[ir.Value, tuple[Hebbian, ir.Value]] = field(default_factory=dict)

    def slot(self, name: str) -> ir.Value:
        return self.op.weight(name, ir.tensor(self.lifted.values[name], name=name))

    def _hebbian(self, layer: Hebbian) -> ir.Value:
        """Emit the layer with its norm and modulator as one function."""
        out = layer.node.outputs[0]
        if layer.modulated is out:
            return self._region(layer, None)
        return self._placeholder(layer, out)

    def _placeholder(self, layer: Hebbian, out: ir.Value) -> ir.Value:
        """Stands for the linear output until the norm behind it is reached."""
        value = ir.Value(name="", type=out.type, shape=out.shape)
        self.waiting[value] = (layer, value)
        return value

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        if x in self.waiting:
            layer, _ = self.waiting.pop(x)
            return self._region(layer, norm)
        roles = list(norm.slots)

        def body(op: Operators, values: list[ir.Value]) -> ir.Value:
            return _layer(norm.kind).infer(op, norm, values[0], dict(zip(roles, values[1:])))

        inputs = [x, *(self.slot(f"{norm.name}.{r}") for r in roles)]
        key = ";".join(
            [norm.kind, *(f"{k}={v}" for k, v in norm.attributes.items()), f"{len(dims(x))}d"]
        )
        return self._call("AdaptiveNorm", key, ["x", *roles], inputs, body)

    def _region(self, layer: Hebbian, norm: Norm | None) -> ir.Value:
        names = [f"{layer.name}.weight", f"{layer.name}.gain", f"{layer.name}.shift"]
        extra = [self.env[i] for i in layer.node.inputs[2:] if i is not None]
        roles = list(norm.slots) if norm else []
        x = layer.node.inputs[0]
        assert x is not None
        inputs = [
            self.env[x],
            *(self.slot(n) for n in names),
            *extra,
            *(self.slot(f"{norm.name}.{r}") for r in roles if norm),
        ]

        def body(op: Operators, values: list[ir.Value]) -> ir.Value:
            x, weight, gain, shift, *rest = values
            linear = [x, weight, *rest[: len(extra)]]
            (out,) = op.node(layer.node.op_type, linear, dict(layer.node.attributes))
            if norm is not None:
                slots = dict(zip(norm.slots, rest[len(extra) :]))
                out.shape = out.shape or norm.x.shape
                out = _layer(norm.kind).infer(op, norm, out, slots)
            out.shape = out.shape or layer.modulated.shape
            return HebbianModulation.modulate(op, layer, out, gain, shift)

        arguments = ["x", "weight", "gain", "shift", *(["b"] if extra else []), *roles]
        return self._call("HebbianModulation", layer.name, arguments, inputs, body)

    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        return z  # the region's function has done it

    def _call(
        self,
        name: str,
        variant: str,
        arguments: list[str],
        inputs: list[ir.Value],
        body: Callable[[Operators, list[ir.Value]], ir.Value],
    ) -> ir.Value:
        """Call the function of that variant; a second variant of a name gets a number.

        Overloads would say it better, but onnxruntime reads them only since 1.23 or so.
        """
        key = (name, variant)
        if key not in self.functions:
            others = sum(known == name for known, _ in self.functions)
            numbered = f"{name}_{others + 1}" if others else name
            self.functions[key] = _function(numbered, arguments, inputs, body)
        node = ir.Node("tta", self.functions[key].name, inputs, name=self.op.name(name))
        node.outputs[0].name = node.name
        self.op.nodes.append(node)
        return node.outputs[0]


def _function(
    name: str,
    arguments: list[str],
    inputs: list[ir.Value],
    body: Callable[[Operators, list[ir.Value]], ir.Value],
) -> ir.Function:
    """A local function; its constants become Constant nodes, since functions hold no weights."""
    op = Operators()
    values = []
    for argument, given in zip(arguments, inputs):
        value = ir.Value(name=op.name(argument), type=given.type, shape=given.shape)
        values.append(value)
    y = body(op, values)
    (result,) = op.node("Identity", [y])
    result.name = "y"
    constants = []
    for value in op.initializers.values():
        if value.uses() and value.const_value is not None:
            node = ir.Node("", "Constant", [], [ir.AttrTensor("value", value.const_value)])
            node.outputs[0].name = value.name
            ir.convenience.replace_all_uses_with(value, node.outputs[0])
            constants.append(node)
    graph = ir.Graph(values, [result], nodes=[*constants, *op.nodes], opset_imports={"": OPSET})
    return ir.Function("tta", name, graph=graph, attributes=[])


@dataclass
class _Statistics(_Forward):
    """Slots as inputs, norms under the statistics rule."""

    alpha: ir.Value | None = None
    slots: dict[str, ir.Value] = field(default_factory=dict)
    moments: dict[str, Statistics] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)  # by kind
    shifted: set[str] = field(default_factory=set)  # norms whose input is already shifted
    plasticity: Plasticity | None = None
    new: dict[str, ir.Value] = field(default_factory=dict)
    winners: dict[str, ir.Value] = field(default_factory=dict)

    def slot(self, name: str) -> ir.Value:
        if name not in self.slots:
            self.slots[name] = self.op.input(name, np.float32, self.lifted.values[name].shape)
        return self.slots[name]

    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        op = self.op
        kind: Any = _layer(norm.kind)
        if self.alpha is None:
            self.alpha = op.input("alpha", np.float32, [])
        slots = {role: self.slot(f"{norm.name}.{role}") for role in norm.slots}
        if not hasattr(kind, "Shared"):
            record, found = kind.forward(op, norm, x, slots, self.alpha)
        else:
            if norm.name not in self.shifted:
                start = len(op.nodes)
                x = op.Sub(x, along(op, op.constant(kind.origin(norm)), x, 1))
                self.record(start, norm.name)
            shared = self._shared(norm.kind)
            record, found = kind.forward(op, norm, x, slots, self.alpha, shared)
        self.moments[norm.name] = found
        self.tape.append(record)
        y: ir.Value = record.outputs[0]
        return y

    def _shared(self, kind: str) -> Any:
        """What the layers of a kind compute in one piece, made when the first of them is met."""
        if kind not in self.shared:
            norms = [n for n in self.lifted.norms.values() if n.kind == kind]
            assert self.alpha is not None
            layer: Any = _layer(kind)
            samples = self.env[self.lifted.input]
            self.shared[kind] = layer.Shared(self.op, norms, self.slot, self.alpha, samples)
        return self.shared[kind]

    def emit(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value]:
        """A copy of a node; a convolution's bias takes the shift that a norm behind it asks for."""
        users = [user for user, _ in node.outputs[0].uses()]
        norm = self.lifted.norms.get(users[0]) if len(users) == 1 else None
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        given = vector(bias)
        kind: Any = None if norm is None else _layer(norm.kind)
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


def infer_graph(lifted: Lifted) -> ir.Model:
    """``infer.onnx``: task outputs and features with the slots as weights."""
    forward = _Infer(lifted)
    outputs = forward.run()
    return forward.op.model(outputs, "infer", list(forward.functions.values()))


def batch_graph(lifted: Lifted) -> ir.Model:
    """``batch.onnx``: the forward under the statistics rule, with batch moments by layer."""
    forward = _Statistics(lifted)
    outputs = forward.run()
    return forward.op.model(forward.results(outputs), "batch")


def step_graph(lifted: Lifted, name: str, objective: Objective, hebbian: bool = False) -> ir.Model:
    """``step/<name>.onnx``: the batch graph with objective, gradients and Hebbian change.

    The gradients are those of (1/N)·Σ w_i·ℓ_i with the sample weights w and the objective ℓ.

    Raises:
        NoGradientError: an operator between a layer and the objective has no gradient rule; the
            message names the node and the layers that could still be adapted.
    """
    forward = _Statistics(lifted)
    op = forward.op
    if hebbian:
        forward.plasticity = Plasticity(
            *(op.input(n, np.float32, []) for n in ("eta", "anti", "max_norm"))
        )
    outputs = forward.run()
    start = len(op.nodes)
    loss = objective(op, outputs)
    forward.record(start, name)
    named = forward.results(outputs)
    named["objective"] = loss
    named.update({f"new.{slot}": value for slot, value in forward.new.items()})
    named.update({f"winner.{layer}": value for layer, value in forward.winners.items()})

    trained = [s.name for s in lifted.slots if s.role in GRADIENT_ROLES]
    wanted = {n: forward.slots[n] for n in trained if n in forward.slots}
    weight = op.input("sample_weight", np.float32, ["N"])
    seed = op.Div(weight, op.Cast(op.Size(weight), to=ir.DataType.FLOAT.value))
    try:
        gradients = reverse(op, forward.tape, {loss: seed}, wanted.values())
    except NoGradientError as error:
        raise NoGradientError(_still(lifted, forward, loss, wanted, str(error))) from error
    silent = set(zero_gradient(lifted))
    partial = None
    for slot, value in wanted.items():
        gradient = gradients.get(value)
        if gradient is None:
            gradient = op.Mul(value, 0.0)
        elif slot in silent and forward.alpha is not None:
            if partial is None:
                partial = op.Cast(op.Less(forward.alpha, 1.0), to=ir.DataType.FLOAT.value)
            gradient = op.Mul(gradient, partial)
        named[f"grad.{slot}"] = gradient
    return op.model(named, f"step/{name}")


def _still(
    lifted: Lifted,
    forward: _Statistics,
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


def _layer(kind: str) -> type[Layer]:
    found: type[Layer] = registry.load("tta.export.layers", kind)
    return found

"""The model run symbolically: every node is emitted again, an adaptable layer by its layer file.

Each graph of a bundle is one such run; what a layer becomes is its own, see ``infer_graph`` and
``step_graph``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from tta import registry
from tta.export.gradient.activation import mask
from tta.export.layers import Layer, Norm
from tta.export.layers.hebbian import Hebbian
from tta.export.lift import Lifted
from tta.export.operators import Operators, dims
from tta.export.tape import Record


@dataclass
class Forward(ABC):
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
        outputs["features"] = self.features or self._penultimate()
        return outputs

    def _penultimate(self) -> ir.Value:
        """Features of a model that does not end in a linear layer, ``(N, D)``: means over positions.

        They are what its last convolution is given, where one alone leads to the primary output, else that
        output itself.
        """
        value = next(iter(self.lifted.outputs.values()))
        last = _last_convolutions(value)
        single = last[0].inputs[0] if len(last) == 1 else None
        found = self.env[value if single is None else single]
        if found.shape is None or len(found.shape) < 3:
            return found
        axes = [1] if single is None else list(range(2, len(found.shape)))
        return self.op.ReduceMean(found, axes, keepdims=0)

    def _node(self, node: ir.Node) -> None:
        lifted = self.lifted
        head = lifted.head
        if node in lifted.norms:
            norm = lifted.norms[node]
            self._set(norm.y, self._norm(norm, self.env[norm.x]))
        elif node in lifted.fixed:
            norm = lifted.fixed[node]
            self._set(norm.y, self._fixed(norm, self.env[norm.x]))
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
        for node in list(self.op.nodes[start:]):
            plain = {k: a.value for k, a in node.attributes.items()}
            made = Record(node.op_type, name or node.name or "", node.inputs, node.outputs, plain)
            made.mask = mask(self.op, made)
            self.tape.append(made)

    def _head(self) -> ir.Value:
        head, op = self.lifted.head, self.op
        assert head is not None
        self.features = self.env[head.features]
        start = len(op.nodes)
        shifted = op.Add(self.features, self.slot("features.shift"))
        logits = op.Gemm(shifted, self.slot("head.weight"), self.slot("head.bias"), transB=1)
        self.record(start, head.name)
        return logits

    @abstractmethod
    def slot(self, name: str) -> ir.Value:
        """The value that holds a slot in this graph."""

    @abstractmethod
    def _norm(self, norm: Norm, x: ir.Value) -> ir.Value:
        """A norm layer: a function in infer, the statistics rule elsewhere."""

    def _fixed(self, norm: Norm, x: ir.Value) -> ir.Value:
        """A norm layer that does not adapt: its plain lowering with its source values."""
        values = {role: self.op.constant(value) for role, value in norm.slots.items()}
        return layer_kind(norm.kind).infer(self.op, norm, x, values)

    @abstractmethod
    def _hebbian(self, layer: Hebbian) -> ir.Value:
        """A Hebbian layer's linear output."""

    @abstractmethod
    def _modulate(self, layer: Hebbian, z: ir.Value) -> ir.Value:
        """What the neuro-modulator makes of z."""

    def _linear(self, layer: Hebbian, weight: ir.Value) -> ir.Value:
        """The Hebbian layer's own node with another weight."""
        inputs = [None if i is None else self.env[i] for i in layer.node.inputs]
        inputs[1] = weight
        start = len(self.op.nodes)
        (out,) = self.emit(layer.node, inputs)
        self.record(start, layer.name)
        return out


def layer_kind(kind: str) -> type[Layer]:
    """The layer class of a kind."""
    found: type[Layer] = registry.load("tta.export.layers", kind)
    return found


def _last_convolutions(value: ir.Value) -> list[ir.Node]:
    """Convolutions behind which no other leads to a value."""
    found: dict[ir.Node, None] = {}
    waiting, seen = [value], set[ir.Value]()
    while waiting:
        node = (here := waiting.pop()).producer()
        if node is None or here in seen:
            continue
        seen.add(here)
        if node.op_type == "Conv":
            found[node] = None
        else:
            waiting += [i for i in node.inputs if i is not None]
    return list(found)

"""``infer.onnx``: slots as weights, layers visible as local functions.

The functions ``tta::AdaptiveNorm`` and ``tta::HebbianModulation`` show in a viewer where a model can
adapt; onnxruntime inlines them at load and folds norms into convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx_ir as ir

from tta.export.forward import Forward, layer_kind
from tta.export.layers import Norm
from tta.export.layers.hebbian import Hebbian, HebbianModulation
from tta.export.lift import Lifted
from tta.export.operators import OPSET, Operators, dims


@dataclass
class _Infer(Forward):
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
            return layer_kind(norm.kind).infer(op, norm, values[0], dict(zip(roles, values[1:])))

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
                out = layer_kind(norm.kind).infer(op, norm, out, slots)
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


def infer_graph(lifted: Lifted) -> ir.Model:
    """``infer.onnx``: task outputs and features with the slots as weights."""
    forward = _Infer(lifted)
    outputs = forward.run()
    return forward.op.model(outputs, "infer", list(forward.functions.values()))

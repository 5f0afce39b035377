"""Finds what can adapt in a canonical model: norm layers, Hebbian layers, features and head.

The model itself is not changed: a ``Lifted`` says which nodes are layers, and the graphs are built from
both by emitting every node anew.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from tta import registry
from tta.errors import ExportError
from tta.export.choice import Layers, chosen
from tta.export.layers import Layer, Norm, Vector, attribute, layer_name, vector
from tta.export.layers.hebbian import Hebbian, HebbianModulation
from tta.export.operators import dims, rank
from tta.records import Slot


@dataclass
class Head:
    """The last linear layer: logits = features·Wᵀ + b.

    Attributes:
        name: its name in the source model.
        nodes: its nodes, Gemm or MatMul with Add.
        features: its input ``(N, D)``.
        logits: its output ``(N, K)``.
        weight: ``(K, D)``.
        bias: ``(K,)``.
    """

    name: str
    nodes: Sequence[ir.Node]
    features: ir.Value
    logits: ir.Value
    weight: Vector
    bias: Vector


@dataclass
class Lifted:
    """A canonical model with its adaptable layers.

    Attributes:
        model: the canonical model.
        input: its input.
        outputs: its outputs by the name they get in the bundle, the primary one first.
        norms: norm layers that adapt, by their first node.
        fixed: norm layers that do not, likewise.
        hebbian: Hebbian layers by their node.
        head: the last linear layer, None if the model ends otherwise.
        slots: every slot in graph order.
        values: source value by slot name.
    """

    model: ir.Model
    input: ir.Value
    outputs: Mapping[str, ir.Value]
    norms: dict[ir.Node, Norm] = field(default_factory=dict)
    fixed: dict[ir.Node, Norm] = field(default_factory=dict)
    hebbian: dict[ir.Node, Hebbian] = field(default_factory=dict)
    head: Head | None = None
    slots: list[Slot] = field(default_factory=list)
    values: dict[str, Vector] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, str]:
        """Kind by layer name, in graph order."""
        found = {n.name: n.kind for n in self.norms.values()}
        return {**found, **{h.name: HebbianModulation.kind for h in self.hebbian.values()}}

    def add(self, slot: Slot, value: Vector) -> None:
        """Register a slot with its source value."""
        if slot.name in self.values:
            raise ExportError(f"two layers of the model are called {slot.layer!r}; rename one")
        self.slots.append(slot)
        self.values[slot.name] = np.ascontiguousarray(value, dtype=np.float32)


def lift(
    model: ir.Model,
    hebbian: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    layers: Layers = "all",
) -> Lifted:
    """Find the adaptable layers of a canonical model.

    Args:
        model: the canonical model, with one input and a symbolic batch axis.
        hebbian: names of the layers that become Hebbian; None takes the first convolution (the first
            linear layer if there is none), an empty list none.
        output_names: names of the outputs in the bundle; default ``logits``, ``output_1``, ...
        layers: norm layers that adapt, see ``export/choice.py``; the others stay as they are. Where the
            first convolution's norm is not among them, no layer becomes Hebbian unless it is named.

    Raises:
        ExportError: several inputs, nothing to adapt, or a layer name that does not exist.
    """
    graph = model.graph
    if len(graph.inputs) != 1:
        inputs = [i.name for i in graph.inputs]
        raise ExportError(f"the model has inputs {inputs}; export takes models with one input")
    names: list[str] = list(
        output_names or ["logits", *(f"output_{k}" for k in range(1, len(graph.outputs)))]
    )
    if len(names) != len(graph.outputs) or len(set(names)) != len(names) or "features" in names:
        raise ExportError(
            f"the model has {len(graph.outputs)} outputs, so it needs as many distinct names, and "
            f"none may be 'features', but got {names}"
        )
    lifted = Lifted(model, graph.inputs[0], dict(zip(names, graph.outputs)))
    kinds: list[type[Layer]] = [
        registry.load("tta.export.layers", n)
        for n in registry.names("tta.export.layers")
        if n != HebbianModulation.kind
    ]
    matched = {n: next((m for kind in kinds if (m := kind.match(n))), None) for n in graph}
    norms = {node: norm for node, norm in matched.items() if norm is not None}
    if not norms and layers != "all":
        raise ExportError(
            f"layers {layers!r} chooses among norm layers, but the model has none: leave it out"
        )
    adaptable = chosen([norm.name for norm in norms.values()], layers)
    for node, norm in norms.items():
        if norm.name not in adaptable:
            lifted.fixed[node] = norm
            continue
        lifted.norms[node] = norm
        for role, value in norm.slots.items():
            name = f"{norm.name}.{role}"
            lifted.add(Slot(name, role, norm.name, value.shape), value)
    lifted.head = _find_head(lifted.outputs[names[0]])
    last = lifted.head.nodes if lifted.head else ()
    for node, weight in _chosen(graph, hebbian, last).items():
        behind = [user for user, _ in _through_bias(node).uses()]
        if hebbian is not None or not lifted.fixed.keys() & behind:
            _add_hebbian(lifted, node, weight)
    if lifted.head is not None:
        head = lifted.head
        width = head.weight.shape[1]
        lifted.add(
            Slot("features.shift", "feature_shift", "features", (width,)),
            np.zeros(width, np.float32),
        )
        lifted.add(Slot("head.weight", "head_weight", head.name, head.weight.shape), head.weight)
        lifted.add(Slot("head.bias", "head_bias", head.name, head.bias.shape), head.bias)
    if not lifted.norms and not lifted.hebbian:
        raise ExportError(
            "nothing to adapt here: the model has no BatchNorm, LayerNorm, GroupNorm, InstanceNorm or "
            "RMSNorm, and no convolution or linear layer was chosen as Hebbian"
        )
    return lifted


def _chosen(
    graph: ir.Graph, names: Sequence[str] | None, head: Sequence[ir.Node]
) -> dict[ir.Node, Vector]:
    """Nodes that become Hebbian layers, with their weights; the classifier itself stays as it is."""
    candidates: dict[str, tuple[ir.Node, Vector]] = {}
    for node in graph:
        if node in head:
            continue
        weight = HebbianModulation.candidate(node)
        if weight is not None:
            candidates[layer_name(node, node.inputs[1])] = (node, weight)
    if names is None:
        convolutions = [n for n, (node, _) in candidates.items() if node.op_type == "Conv"]
        names = (convolutions or list(candidates))[:1]
    chosen = {}
    for name in names:
        if name not in candidates:
            near = difflib.get_close_matches(name, candidates, n=3) or list(candidates)[:8]
            raise ExportError(
                f"no ungrouped convolution or linear layer is named {name!r}; "
                f"nearest: {', '.join(near)}"
            )
        node, weight = candidates[name]
        chosen[node] = weight
    return chosen


def _add_hebbian(lifted: Lifted, node: ir.Node, weight: Vector) -> None:
    name = layer_name(node, node.inputs[1])
    unit_axis = HebbianModulation.units_axis(node)
    units = weight.shape[unit_axis]
    out = _through_bias(node)
    following = [user for user, _ in out.uses()]
    norm = lifted.norms.get(following[0]) if len(following) == 1 else None
    modulated = norm.y if norm is not None else out
    channel = 1 if node.op_type == "Conv" else rank(modulated) - 1
    if norm is not None and norm.slots["scale"].size != units:
        modulated = out
    lifted.hebbian[node] = Hebbian(name, node, weight, units, unit_axis, modulated, channel)
    lifted.add(Slot(f"{name}.weight", "weight", name, weight.shape), weight)
    lifted.add(Slot(f"{name}.gain", "modulation", name, (units,)), np.ones(units, np.float32))
    lifted.add(Slot(f"{name}.shift", "modulation", name, (units,)), np.zeros(units, np.float32))


def _through_bias(node: ir.Node) -> ir.Value:
    """Output of a linear layer with its bias, where that is an Add of its own."""
    out = node.outputs[0]
    users = [user for user, _ in out.uses()]
    if node.op_type == "MatMul" and len(users) == 1 and users[0].op_type == "Add":
        other = [i for i in users[0].inputs if i is not out]
        if len(other) == 1 and vector(other[0]) is not None:
            return users[0].outputs[0]
    return out


def _find_head(logits: ir.Value) -> Head | None:
    """The linear layer that ends the model, if one does."""
    node = logits.producer()
    if node is None or logits.shape is None or rank(logits) != 2:
        return None
    if node.op_type == "Gemm":
        plain = not attribute(node, "transA", 0) and all(
            attribute(node, scale, 1.0) == 1.0 for scale in ("alpha", "beta")
        )
        weight = vector(node.inputs[1])
        bias = vector(node.inputs[2]) if len(node.inputs) > 2 else None
        features = node.inputs[0]
        if not plain or weight is None or features is None:
            return None
        if not attribute(node, "transB", 0):
            weight = weight.T
        name = layer_name(node, node.inputs[1])
        nodes = [node]
    elif node.op_type in ("Add", "MatMul"):
        bias, product = None, node
        if node.op_type == "Add":
            constants = [i for i in node.inputs if vector(i) is not None]
            others = [i for i in node.inputs if vector(i) is None and i is not None]
            if len(constants) != 1 or len(others) != 1:
                return None
            bias, found = vector(constants[0]), others[0].producer()
            if found is None or found.op_type != "MatMul" or len(others[0].uses()) != 1:
                return None
            product = found
        weight, features = vector(product.inputs[1]), product.inputs[0]
        if weight is None or features is None or weight.ndim != 2:
            return None
        weight = weight.T
        name = layer_name(product, product.inputs[1], *node.inputs)
        nodes = [product] if product is node else [product, node]
    else:
        return None
    classes = weight.shape[0]
    bias = np.zeros(classes, np.float32) if bias is None else np.broadcast_to(bias, (classes,))
    if len(dims(features)) != 2:
        return None
    return Head(name, nodes, features, logits, weight, bias)


_INVARIANT = ("batch_norm", "instance_norm")


def zero_gradient(lifted: Lifted) -> tuple[str, ...]:
    """Slots that shift a channel and whose gradient is exactly zero under batch statistics (α = 1).

    A constant added to a channel passes unpadded convolutions, matrix products, sums and pooling as a
    constant of each channel, and a batch norm or instance norm then subtracts it. Its gradient is
    rounding noise, which Adam would blow up into a random walk.
    """
    found = []
    for norm in lifted.norms.values():
        if "bias" in norm.slots and norm.kind != "layer_norm" and _cancels(lifted, norm.y):
            found.append(f"{norm.name}.bias")
    for layer in lifted.hebbian.values():
        if _cancels(lifted, layer.modulated):
            found += [f"{layer.name}.gain", f"{layer.name}.shift"][1:]
    return tuple(found)


def _cancels(lifted: Lifted, value: ir.Value, seen: set[ir.Value] | None = None) -> bool:
    seen = set() if seen is None else seen
    if value in seen:
        return True
    seen.add(value)
    if any(value is o for o in lifted.outputs.values()) or not value.uses():
        return False
    for node, index in value.uses():
        norm = lifted.norms.get(node)
        if norm is not None and norm.kind in _INVARIANT:
            continue
        if not (index == 0 or node.op_type == "Add") or not _carries_constant(node):
            return False
        if not all(_cancels(lifted, out, seen) for out in node.outputs):
            return False
    return True


def _carries_constant(node: ir.Node) -> bool:
    """Whether a channel's constant comes out as a constant of each channel."""
    if node.op_type in ("Conv", "AveragePool"):
        padded = any(attribute(node, "pads", (0,))) or attribute(
            node, "auto_pad", "NOTSET"
        ) not in (
            "NOTSET",
            "VALID",
            "",
        )
        return not padded
    if node.op_type == "MaxPool":
        return True
    if node.op_type in ("Gemm", "MatMul"):
        return node.inputs[0] is not None and rank(node.inputs[0]) == 2
    return node.op_type == "Add" and all(
        i is not None and i.shape is not None and rank(i) == rank(node.outputs[0])
        for i in node.inputs
    )

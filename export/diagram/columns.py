"""What a diagram shows: the operations of ``infer.onnx`` in order, and the tensors between them.

Only what carries samples is shown: weights are part of their operation, shape arithmetic is nobody's
business. Runs of elementwise nodes (a GELU is five) and of reshapes are one operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tta.bundle import Bundle
from tta.export.axes import BATCH, Tensor, length, title
from tta.export.coupling import Labels, labels, read
from tta.export.diagram.grouping import SIGNS, VIEWS, chains, runs, visible
from tta.export.diagram.parts import Columns, Operation, Wire
from tta.export.layers import attribute
from tta.manifest import Manifest

LINEAR = ("Neg", "Cast", "Pad", "Resize", "Dropout", "Expand", "Tile")


def columns(bundle: Bundle) -> Columns:
    """The columns of a bundle's ``infer.onnx``."""
    path = bundle.graph("infer")
    found, graph = labels(read(path)), ir.load(path).graph
    shown = {v.name for n in graph for v in n.outputs if v.name and found[v.name].batched}
    source = [i.name or "" for i in graph.inputs if i.name and found[i.name].batched]
    shown.update(source)
    layer_of = {slot.name: slot.layer for slot in bundle.manifest.slots}
    made = [
        _operation(node, found, shown, layer_of, bundle.manifest)
        for node in graph
        if any(v.name in shown for v in node.outputs)
    ]
    outputs = [o.name or "" for o in graph.outputs]
    made = visible(
        chains(runs(made, outputs), outputs), lambda name: _wires(found[name])[0], outputs
    )
    drawn = {*source, *(name for op in made for name in (*op.inputs, *op.outputs))}
    wires, kept = {}, {}
    for name in sorted(drawn):
        wires[name], kept[name] = _wires(found[name])
    mixed = {name for name in drawn if found[name].state == "mixed"}
    for op in made:
        if op.mixes or any(i in mixed for i in op.inputs):
            mixed.update(op.outputs)
    return Columns(made, wires, kept, mixed, source, [o for o in outputs if o in drawn])


def _wires(tensor: Tensor) -> tuple[list[Wire], list[int]]:
    wires, kept = [], []
    for k, axis in enumerate(tensor.axes):
        rest = length(tuple(p for p in axis if p.name != BATCH))
        has_batch = any(p.name == BATCH for p in axis)
        if has_batch or title(axis) or rest != 1:
            wires.append(Wire(title(axis), 0 if has_batch and rest == 1 else rest))
            kept.append(k)
    return wires, kept


def _operation(
    node: ir.Node,
    found: Labels,
    shown: set[str],
    layer_of: Mapping[str, str],
    manifest: Manifest,
) -> Operation:
    inputs = [i.name for i in node.inputs if i is not None and i.name in shown and i.name]
    weights = [i for i in node.inputs if i is not None and i.is_initializer()]
    layers = tuple(
        dict.fromkeys(layer_of[w.name] for w in weights if w.name and w.name in layer_of)
    )
    first = found[inputs[0]] if inputs else None
    parameters = [w for w in weights if w.const_value is not None and _is_parameter(w)]
    text, consumed, nonlinear = _told(node, first, layers, manifest)
    return Operation(
        text,
        inputs,
        [v.name for v in node.outputs if v.name in shown and v.name],
        frozenset(consumed),
        layers,
        bool(layers or parameters),
        nonlinear,
        any(layer in manifest.batch_coupled for layer in layers),
        (node.op_type,),
    )


def _is_parameter(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.size > 1


def _told(
    node: ir.Node, x: Tensor | None, layers: Sequence[str], manifest: Manifest
) -> tuple[str, list[int], bool]:
    """Text above the box, consumed axes of its first input, whether it is nonlinear."""
    rank = len(x.axes) if x is not None else 0
    positions, kind = list(range(2, rank)), node.op_type
    coupled = [0] if any(layer in manifest.batch_coupled for layer in layers) else []
    if node.domain == "tta":
        kinds = {manifest.layers.get(layer, "") for layer in layers}
        if kind.startswith("HebbianModulation"):
            return "hebbian", [*coupled, 1, *positions], True
        (norm,) = kinds or {""}
        if norm == "batch_norm":
            return "batch norm", [*coupled, *positions], True
        over = {"layer_norm": [rank - 1], "rms_norm": [rank - 1], "instance_norm": positions}
        return norm.replace("_", " "), [*coupled, *over.get(norm, [1, *positions])], True
    if kind in ("Conv", "ConvTranspose"):
        return _convolution(node, x, positions)
    if kind == "Gemm" or (kind == "MatMul" and any(_given(i) for i in node.inputs)):
        return "linear", [rank - 1], False
    if kind == "MatMul":
        return "matmul", [rank - 1], False
    if kind.startswith("Global") or kind.endswith("Pool"):
        name = kind.removeprefix("Global").removesuffix("Pool").lower()
        return f"{name} pool", positions, "Max" in kind
    if kind.startswith("Reduce"):
        return kind.removeprefix("Reduce").lower(), _reduced(node, rank), "Mean" not in kind
    if kind in ("Softmax", "LogSoftmax"):
        return kind.lower(), [int(attribute(node, "axis", -1)) % rank], True
    if kind in ("LSTM", "GRU", "RNN"):
        return kind, [0, 2], True
    if kind in VIEWS:
        return ("pick" if kind in ("Slice", "Gather") else "rearrange"), [], False
    if kind == "Concat":
        return "concat", [int(attribute(node, "axis", 0)) % rank], False
    if kind in SIGNS:
        return SIGNS[kind], [], False
    return {"Clip": "clip", "Expand": "repeat"}.get(kind, kind.lower()), [], kind not in LINEAR


def _given(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _convolution(
    node: ir.Node, x: Tensor | None, positions: list[int]
) -> tuple[str, list[int], bool]:
    kernel = [int(k) for k in attribute(node, "kernel_shape", ())]
    strides = {int(s) for s in attribute(node, "strides", ())} or {1}
    channels = x.shape[1] if x is not None else 0
    depthwise = int(attribute(node, "group", 1)) == channels > 1
    text = "×".join(map(str, kernel)) or "conv"
    if max(strides) > 1:
        text += f" /{max(strides)}"
    still = max(kernel, default=2) == 1 and strides == {1}
    consumed = [] if depthwise else [1]
    return text, consumed + ([] if still else positions), False


def _reduced(node: ir.Node, rank: int) -> list[int]:
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = attribute(node, "axes", None)
    if given is not None and given.const_value is not None:
        axes = given.const_value.numpy().ravel()
    return [int(k) % rank for k in (axes if axes is not None else range(1, rank))]

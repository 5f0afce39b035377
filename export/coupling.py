"""The batch-coupling pass: which tensors mix samples, and which layers need more than one frame.

``labels`` answers for every tensor of a graph, by the rules in ``export/axes/``. ``batch_coupled`` asks the
same of each norm layer by itself, so that a layer is not blamed for one before it; its answer goes into
the manifest, where the runtime finds whether a batch is large enough for a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnx.reference import ReferenceEvaluator

from tta.errors import ExportError
from tta.export.axes import (
    BATCH,
    NAMES,
    SIZES,
    Call,
    Part,
    Tensor,
    Value,
    fresh,
    rules,
)
from tta.export.forward import layer_kind
from tta.export.layers import Norm
from tta.export.lift import Lifted
from tta.export.operators import OPSET, Operators, dims

OPEN = 224  # stands for a length that only a run tells, other than the batch's
SMALL = 512  # elements up to which known values are followed


@dataclass(frozen=True)
class Labels:
    """The answer for one graph: a ``Tensor`` by value name, and the operators that have no rule."""

    tensors: Mapping[str, Tensor]
    unknown: Sequence[str]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def named(self, state: str) -> list[str]:
        """Names of the tensors in that state, in graph order."""
        return [name for name, tensor in self.tensors.items() if tensor.state == state]


def read(path: str | Path) -> ir.Model:
    """A graph of a bundle with its local functions inlined."""
    model = ir.load(path)
    for function in model.functions.values():
        for node in function:
            for value in node.outputs:
                value.shape = None  # that of the call it was made for; others differ
    passes.InlinePass()(model)
    return model


def labels(model: ir.Model, known: Mapping[str, float] | None = None) -> Labels:
    """Axes and state of every tensor of a graph without local functions.

    Args:
        model: the graph; the batch's axis is the first open one in front of an input.
        known: graph inputs whose value is given, ``{"alpha": 0.0}``.

    Raises:
        ExportError: the graph has no batch axis, a known input that it does not have, or a node whose
            output shape cannot be told.
    """
    graph = model.graph
    walk = _Walk(model, _batch_symbol(graph))
    given = dict(known or {})
    for value in graph.initializers.values():
        walk.constant(value)
    for value in graph.inputs:
        if value.name not in graph.initializers:
            walk.input(value, given.pop(value.name or "", None))
    if given:
        raise ExportError(
            f"the graph has no input {', '.join(map(repr, given))} that could be known"
        )
    for node in graph:
        walk.node(node)
    return Labels(walk.tensors, tuple(dict.fromkeys(walk.unknown)))


def _batch_symbol(graph: ir.Graph) -> str:
    """Name of the batch's length: the first open axis in front of an input."""
    for value in graph.inputs:
        if value.shape is not None and len(value.shape) and isinstance(dims(value)[0], str):
            return str(dims(value)[0])
    raise ExportError(
        "no input of the graph has an open batch axis in front: export with a batch axis that stays open"
    )


class _Walk:
    """Goes through a graph once, node after node."""

    def __init__(self, model: ir.Model, symbol: str) -> None:
        self.symbol = symbol
        self.opset = model.graph.opset_imports.get("", OPSET)
        self.tensors: dict[str, Tensor] = {}
        self.types: dict[str, onnx.TypeProto] = {}
        self.unknown: list[str] = []

    def constant(self, value: ir.Value) -> None:
        tensor = value.const_value
        if tensor is None or value.name is None:
            raise ExportError(f"initializer {value.name} has no value")
        shape = list(tensor.shape.numpy())
        made = Tensor(tuple(fresh(n) for n in shape))
        if tensor.size <= SMALL and not isinstance(tensor, ir.ExternalTensor):
            array = tensor.numpy()
            made = replace(made, values=(array, array), zero=not array.any())
        self._add(value.name, made, tensor.dtype.value)

    def input(self, value: ir.Value, known: float | None) -> None:
        lengths = dims(value)
        names = NAMES.get(len(lengths), ())
        if self.symbol not in lengths:
            names = ("C",) if len(lengths) == 1 else ()
        axes = []
        for k, d in enumerate(lengths):
            name = names[k] if k < len(names) else ""
            size = d if isinstance(d, int) else OPEN
            axes.append((Part(BATCH, SIZES[0]) if d == self.symbol else Part(name, size),))
        made = Tensor(tuple(axes))
        if known is not None:
            array = np.full(made.shape, known, np.float32)
            made = replace(made, values=(array, array), zero=not array.any())
        assert value.name is not None and value.type is not None
        self._add(value.name, made, value.type.dtype.value)

    def node(self, node: ir.Node) -> None:
        inputs = [None if i is None or not i.name else self.tensors[i.name] for i in node.inputs]
        attributes = {k: a.value for k, a in node.attributes.items()}
        if node.op_type == "Constant":
            return self._literal(node, attributes)
        shapes = self._shapes(node, inputs)
        call = Call(node.op_type, node.name or "", attributes, inputs, shapes)
        found = self._evaluated(node, call) or self._by_rule(node, call)
        for value, made in zip(node.outputs, found):
            self.tensors[value.name or ""] = self._traced(value.name or "", call, made)
        return None

    def _by_rule(self, node: ir.Node, call: Call) -> Sequence[Tensor]:
        rule = rules().get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is not None:
            found = rule(call)
            if [made.shape for made in found[: len(call.shapes)]] == list(call.shapes):
                return found
        self.unknown.append(node.op_type)
        touched = call.any_mixed() or any(x is not None and x.batched for x in call.inputs)
        return [Tensor(tuple(fresh(n) for n in shape), touched) for shape in call.shapes]

    def _traced(self, name: str, call: Call, made: Tensor) -> Tensor:
        """The result with its name where it may become a term, and the node that mixed first."""
        if made.state != "mixed":
            return made
        before = next((x.cause for x in call.inputs if x is not None and x.state == "mixed"), "")
        here = f"{call.op_type} {call.name}".strip()
        return replace(made, root=made.root or name, cause=before or here)

    def _literal(self, node: ir.Node, attributes: Mapping[str, Any]) -> None:
        if "value" in attributes:
            array = np.asarray(attributes["value"].numpy())
        else:  # value_float, value_ints, ...
            (given,) = attributes.values()
            array = np.asarray(given)
            array = array.astype(
                {"f": np.float32, "i": np.int64}.get(array.dtype.kind, array.dtype)
            )
        made = Tensor(tuple(fresh(n) for n in array.shape), zero=not array.any())
        if array.size <= SMALL:
            made = replace(made, values=(array, array))
        self._add(node.outputs[0].name or "", made, ir.DataType.from_numpy(array.dtype).value)

    def _evaluated(self, node: ir.Node, call: Call) -> Sequence[Tensor]:
        """Results for both sizes of the batch where all inputs are known; empty where they are not."""
        given = [x for x in call.inputs if x is not None]
        if not given or any(x.values is None for x in given) or node.domain not in ("", "ai.onnx"):
            return ()
        if any(int(np.prod(shape)) > SMALL for shape in call.shapes):
            return ()
        evaluator = ReferenceEvaluator(ir.to_proto(node))
        results: list[Sequence[Value]] = []
        for k in range(len(SIZES)):
            feed = {
                str(i.name): x.values[k]
                for i, x in zip(node.inputs, call.inputs)
                if i is not None and x is not None and x.values is not None
            }
            results.append([np.asarray(r) for r in evaluator.run(None, feed)])
        if [r.shape for r in results[0]] != [r.shape for r in results[1]]:
            return ()
        return [
            Tensor(
                tuple(fresh(n) for n in a.shape),
                mixed=not np.array_equal(a, b),
                zero=not a.any() and not b.any(),
                values=(a, b),
            )
            for a, b in zip(*results)
        ]

    def _shapes(self, node: ir.Node, inputs: Sequence[Tensor | None]) -> list[tuple[int, ...]]:
        """Output shapes by onnx's own inference, for a batch of ``SIZES[0]``."""
        types, data = {}, {}
        for value, x in zip(node.inputs, inputs):
            if value is None or x is None or not value.name:
                continue
            types[value.name] = self.types[value.name]
            if x.values is not None:
                data[value.name] = onnx.numpy_helper.from_array(np.asarray(x.values[0]))
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                ir.to_proto(node),
                types,
                data,
                opset_imports=[onnx.helper.make_opsetid("", self.opset)],
            )
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, RuntimeError):
            found = {}
        shapes: list[tuple[int, ...]] = []
        for value in node.outputs:
            if not value.name:
                shapes.append(())
                continue
            shape, kind = self._told(value, found.get(value.name))
            self.types[value.name] = onnx.helper.make_tensor_type_proto(kind, shape)
            shapes.append(shape)
        return shapes

    def _told(self, value: ir.Value, found: onnx.TypeProto | None) -> tuple[tuple[int, ...], int]:
        """Shape and element type from inference, or else as the graph itself says."""
        if found is not None and found.tensor_type.HasField("shape"):
            lengths = found.tensor_type.shape.dim
            if all(d.HasField("dim_value") for d in lengths):
                return tuple(d.dim_value for d in lengths), found.tensor_type.elem_type
        if value.shape is None or value.type is None:
            producer = value.producer()
            name = "" if producer is None else f"{producer.op_type} {producer.name}"
            raise ExportError(f"the shape of {value.name} ({name}) cannot be told")
        sizes = {self.symbol: SIZES[0]}
        known = [d if isinstance(d, int) else sizes.get(d or "", OPEN) for d in dims(value)]
        return tuple(known), value.type.dtype.value

    def _add(self, name: str, made: Tensor, dtype: int) -> None:
        self.tensors[name] = made
        self.types[name] = onnx.helper.make_tensor_type_proto(dtype, made.shape)


def batch_coupled(lifted: Lifted) -> dict[str, int]:
    """Layers whose statistics mix samples: how many values one frame gives each channel there.

    A layer is asked by itself, on an input of its own: it mixes if samples meet in its output under batch
    statistics. -1 stands for a number that only a run tells.
    """
    found = {}
    for norm in lifted.norms.values():
        y, count = _alone(norm)
        if y.state != "mixed":
            continue
        if count.values is None or not all(isinstance(d, int) for d in dims(norm.x)[2:]):
            found[norm.name] = -1
        else:
            found[norm.name] = round(float(count.values[0]) / SIZES[0])
    return found


def _alone(norm: Norm) -> tuple[Tensor, Tensor]:
    """Labels of a layer's output, and of its number of values a channel, on an input of its own."""
    op = Operators()
    x = op.input("x", np.float32, [BATCH, *dims(norm.x)[1:]])
    alpha = op.input("alpha", np.float32, [])
    slots = {r: op.input(f"slot.{r}", np.float32, v.shape) for r, v in norm.slots.items()}
    record, statistics = layer_kind(norm.kind).forward(op, norm, x, slots, alpha)
    answer = labels(op.model({"y": record.outputs[0], "n": statistics.n}, norm.name))
    return answer["y"], answer["n"]


__all__ = ["Labels", "batch_coupled", "labels", "read"]

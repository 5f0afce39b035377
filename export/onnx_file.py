"""Reads an ONNX file of any producer into the form that ``canonical`` takes.

::

    load ─> inline functions ─> opset 18 ─> one float input (N, ...) ─> infer shapes

What a file cannot become is refused by the name of its node, with the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxruntime as ort
from onnxscript import optimizer

from tta.errors import ExportError
from tta.export.operators import OPSET
from tta.records import Array

OLDEST = 7  # opset from which onnx converts
CONTROL = ("If", "Loop", "Scan")
LARGE = 1 << 31  # bytes: protobuf's limit, and so that of shape inference in one piece


@dataclass
class OnnxFile:
    """An ONNX file as a model to export; ``outputs`` asks the file itself, in onnxruntime.

    Attributes:
        path: the file.
        model: the graph, batch axis symbolic, opset 18 or newer.
        probabilities: whether the file ends in a softmax that ``model`` ends before.
        batch: the batch size that the file is written for, None for any.
        folded: convolutions that got a norm behind them, see ``folded_norms``.
    """

    path: Path
    model: ir.Model
    probabilities: bool = False
    batch: int | None = None
    folded: Sequence[str] = field(default_factory=tuple)

    def outputs(self, x: Array) -> list[Array]:
        """Outputs of the file for x ``(N, ...)``, N frames at a time where it is written for N."""
        size = self.batch or len(x)
        proto = _loaded(self.path)
        axes = proto.graph.input[0].type.tensor_type.shape.dim
        for axis, length in zip(axes, (size, *x.shape[1:])):
            axis.dim_value = length
        for value in proto.graph.output:  # they were written for other sizes
            value.type.tensor_type.ClearField("shape")
        del proto.graph.value_info[:]
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        name, short = session.get_inputs()[0].name, -len(x) % size
        padded = np.concatenate([x, *[x[-1:]] * short])
        parts = [
            session.run(None, {name: padded[k : k + size]}) for k in range(0, len(padded), size)
        ]
        return [np.concatenate(each)[: len(x)] for each in zip(*parts)]


def read(
    path: str | Path, sample: Sequence[int] | None = None, open_size: int | None = None
) -> OnnxFile:
    """Read a model file.

    Args:
        path: the ``.onnx`` file, external data beside it.
        sample: shape of one sample, for inputs whose size the file leaves open.
        open_size: length of open axes where there is no sample; None refuses them.

    Raises:
        ExportError: the file or its data cannot be read, or the model has control flow, several inputs,
            another input type than float32, or tensors of unknown rank.
    """
    file = Path(path)
    proto = _loaded(file)
    probabilities = _before_softmax(proto.graph)  # conversion would wrap it
    model = ir.from_proto(_converted(proto))
    passes.InlinePass()(model)
    passes.RemoveInitializersFromInputsPass()(model)
    _name_nodes(model.graph)
    batch = _free_batch(model.graph, sample, open_size)
    optimizer.fold_constants(model, onnx_shape_inference=False)  # an If on a constant goes here
    _no_control_flow(model.graph)
    model = _inferred(model, batch)
    return OnnxFile(file, model, probabilities, batch)


def _loaded(file: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load(file, load_external_data=False)
        if not proto.graph.node:
            raise ValueError("it holds no graph")
    except OSError as error:
        raise ExportError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's own kinds
        raise ExportError(f"{file} is no ONNX model: {_first(error)}") from error
    try:
        onnx.load_external_data_for_model(proto, str(file.parent))
    except Exception as error:
        for tensor in proto.graph.initializer:
            entries = {e.key: e.value for e in tensor.external_data}
            location = entries.get("location")
            if location and not (file.parent / location).is_file():
                raise ExportError(
                    f"weight {tensor.name} of {file.name} lies in {location}, which is not beside it: "
                    "copy that file into the model's folder"
                ) from error
        raise ExportError(
            f"external data of {file.name} cannot be read: {_first(error)}"
        ) from error
    return proto


def _converted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in opset 18 at least; newer ones are brought down by ``canonical``."""
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise ExportError(
            f"the model is written in opset {opset}, and export reads {OLDEST} and newer: export it anew "
            f"with opset_version={OPSET}"
        )
    for node in proto.graph.node:
        if node.domain not in ("", "ai.onnx") and not any(
            f.domain == node.domain and f.name == node.op_type for f in proto.functions
        ):
            raise ExportError(
                f"node {node.name or node.output[0]} is {node.domain}::{node.op_type}, which is no standard "
                "operator: export the model without operators of a runtime of its own"
            )
    if opset >= OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, OPSET)
    except Exception as error:
        raise ExportError(
            f"the model cannot be brought from opset {opset} to {OPSET}: {_first(error)}; export it anew "
            f"with opset_version={OPSET}"
        ) from error


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own; layers are called by it."""
    taken: set[str] = set()
    for node in graph:
        name = node.name or node.outputs[0].name or node.op_type
        while name in taken:
            name = f"{name}_{node.op_type}"
        node.name = name
        taken.add(name)


def _free_batch(graph: ir.Graph, sample: Sequence[int] | None, open_size: int | None) -> int | None:
    """Make the first axis symbolic, and the others fixed; returns the batch size there was."""
    inputs = list(graph.inputs)
    if len(inputs) != 1:
        named = ", ".join(str(i.name) for i in inputs)
        norms = any("Normalization" in node.op_type for node in graph)
        why = "" if norms else "nothing to adapt here, because it has no normalization layer, and "
        raise ExportError(
            f"{why}the model has {len(inputs)} inputs ({named}) where export takes one: make the others "
            "constants (a recurrent state, say), and export the model anew"
        )
    x = inputs[0]
    if x.type is None or x.type.dtype != ir.DataType.FLOAT:
        found = "unknown" if x.type is None else x.type.dtype.name.lower()
        raise ExportError(
            f"nothing to adapt here, because input {x.name} is of type {found} and export takes float32: cut "
            "the model behind the embedding or the cast that makes it float"
        )
    if x.shape is None or len(x.shape) < 2:
        raise ExportError(
            f"input {x.name} has no known rank of (N, ...): set its shape with onnx.tools.update_model_dims"
        )
    first, *rest = [d if isinstance(d, int) and d > 0 else None for d in x.shape]
    if sample is not None and len(sample) == len(rest):  # the channels stay as they are
        rest = [rest[0] or sample[0], *sample[1:]] if len(rest) > 1 else [rest[0] or sample[0]]
    rest = [d or open_size for d in rest]
    if None in rest:
        shape = ", ".join("?" if d is None else str(d) for d in rest)
        raise ExportError(
            f"input {x.name} is (N, {shape}), and its size is open: pass --samples, whose shape decides it"
        )
    x.shape = ir.Shape(["N", *(d for d in rest if d is not None)])
    for node in graph:  # shapes that were written for another batch
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    for value in graph.outputs:
        value.shape = None
    return first if first and first > 0 else None


def _no_control_flow(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type in CONTROL:
            raise ExportError(
                f"node {node.name} is control flow ({node.op_type}), which no gradient passes: export the "
                "model with that branch fixed, or the loop unrolled"
            )


def _inferred(model: ir.Model, batch: int | None) -> ir.Model:
    """Shapes by onnx, with Reshape targets that hold the batch size made to copy it."""
    for _ in range(2):
        proto = ir.to_proto(model)
        try:
            if proto.ByteSize() < LARGE:
                proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        except Exception as error:
            raise ExportError(
                f"the model's shapes contradict each other: {_first(error)}"
            ) from error
        model = ir.from_proto(proto)
        if batch is None or not _copy_batch(model.graph, batch):
            break
        for node in model.graph:
            for value in node.outputs:
                value.shape = None
    for node in model.graph:
        for value in node.outputs:
            if value.shape is None and value.uses() and value.name:
                raise ExportError(
                    f"node {node.name} ({node.op_type}) has an output of unknown rank: fix the shapes that "
                    "it depends on, and run onnxsim or onnxruntime's symbolic shape inference on the model"
                )
    return model


def _copy_batch(graph: ir.Graph, batch: int) -> bool:
    """Let Reshape take the first axis as it comes where its target names the batch size."""
    changed = False
    for node in graph:
        if node.op_type != "Reshape" or node.inputs[1] is None or node.inputs[0] is None:
            continue
        shape = ir.convenience.get_const_tensor(node.inputs[1])
        x = node.inputs[0].shape
        if shape is None or x is None or not len(x) or isinstance(x[0], int):
            continue
        target = shape.numpy().astype(np.int64).ravel()
        if not len(target) or target[0] != batch or not target.all():
            continue
        node.attributes.pop("allowzero", None)
        target = target.copy()
        target[0] = 0
        value = ir.Value(
            name=f"{node.name}.shape",
            type=ir.TensorType(ir.DataType.INT64),
            shape=ir.Shape([len(target)]),
            const_value=ir.tensor(target),
        )
        graph.register_initializer(value)
        node.replace_input_with(1, value)
        changed = True
    return changed


def _before_softmax(graph: onnx.GraphProto) -> bool:
    """End a classifier ``(N, K)`` before its softmax; whether it had one."""
    makers = {name: node for node in graph.node for name in node.output}
    out = graph.output[0]
    node = makers.get(out.name)
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Softmax" or len(out.type.tensor_type.shape.dim) != 2:
        return False
    if not all(a.i in (-1, 1) for a in node.attribute if a.name == "axis"):
        return False
    logits = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None)
    if any(logits.name == other.name for other in graph.output):
        return False
    graph.output[0].CopyFrom(logits)
    return True


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

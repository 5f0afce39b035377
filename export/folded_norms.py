"""Puts a norm behind each convolution of a model whose BatchNorms are folded into their convolutions.

A folded norm has left no trace of its statistics, so they are measured: with mean and var of what the
convolution puts out on calibration frames, per channel,

    y = γ·(x - mean)/√(var + ε) + β,    γ = √(var + ε),    β = mean

is the identity at the source, and an adaptable BatchNorm everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from tta.errors import ExportError
from tta.export.layers import vector
from tta.export.layers.batch_norm import INSERTED
from tta.export.onnx_file import OnnxFile
from tta.export.operators import IR_VERSION, Operators, rank
from tta.moments import blend
from tta.records import Array
from tta.runtime.session import options

EPSILON = float(np.float32(1e-5))  # as the graph's attribute holds it
CHUNK = 32
LINEAR = (
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Identity",
    "Concat",
    "Slice",
    "Sigmoid",
    "Softmax",
)
NORMS = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization")


def bare(model: ir.Model) -> list[ir.Node]:
    """Convolutions behind which a norm may have been: those without one.

    Left out are the last ones, whose output is an answer, and those that see one position (squeeze and
    excitation), where a batch has too few values for statistics.
    """
    outputs = set(model.graph.outputs)
    return [
        node
        for node in model.graph
        if node.op_type == "Conv"
        and vector(node.inputs[1]) is not None
        and not _answers(node.outputs[0], outputs)
        and not any(user.op_type in NORMS for user, _ in node.outputs[0].uses())
        and not _one_position(node.outputs[0])
    ]


def looks_folded(model: ir.Model) -> bool:
    """Whether most convolutions have no norm behind them, and no norm of another kind takes its place."""
    kinds = [node.op_type for node in model.graph if node.op_type in NORMS]
    return len(bare(model)) > len(kinds) and set(kinds) <= {"BatchNormalization"}


def inserts(model: ir.Model, norms: str) -> bool:
    """Whether the option ``norms`` asks for inserted norms in this model.

    Raises:
        ExportError: an unknown option, or no convolution that could have one.
    """
    if norms not in ("auto", "insert", "keep"):
        raise ExportError(f"norms is auto, insert or keep, but is {norms!r}")
    if norms == "insert" and not bare(model):
        raise ExportError(
            "no convolution of this model is without a norm: leave out --norms insert"
        )
    return norms == "insert" or (norms == "auto" and looks_folded(model))


def with_norms(file: OnnxFile, model: ir.Model, samples: Array) -> OnnxFile:
    """Insert the norms into the canonical model, with statistics measured on the samples.

    Args:
        file: where the model comes from.
        model: the canonical model; it is changed in place.
        samples: preprocessed source samples ``(N, ...)``.

    Raises:
        ExportError: a convolution puts out what is not finite.
    """
    nodes = bare(model)
    found = _measured(model, nodes, samples)
    for node, (mean, var) in zip(nodes, found):
        if not (np.isfinite(mean).all() and np.isfinite(var).all()):
            raise ExportError(
                f"node {node.name} (Conv) puts out what is not finite: pass samples as the model "
                "takes them"
            )
        _insert(model.graph, node, mean, var)
    return replace(file, model=model, folded=[str(node.name) for node in nodes])


def _insert(graph: ir.Graph, node: ir.Node, mean: Array, var: Array) -> None:
    scale = np.sqrt(var.astype(np.float64) + EPSILON).astype(np.float32)
    # the variance whose root that scale is to half a unit in the last place: γ/√(var + ε) rounds to 1
    exact = (scale.astype(np.float64) ** 2 - EPSILON).clip(0).astype(np.float32)
    name = f"{node.name}.norm".replace("/", ".").strip(".")
    values: dict[str, Array] = {
        "weight": scale,
        "bias": mean,
        "running_mean": mean.copy(),
        "running_var": exact,
    }
    parameters = []
    for role, array in values.items():
        value = ir.Value(
            name=f"{name}.{role}",
            type=ir.TensorType(ir.DataType.FLOAT),
            shape=ir.Shape([len(array)]),
            const_value=ir.tensor(np.ascontiguousarray(array, np.float32)),
        )
        graph.register_initializer(value)
        parameters.append(value)
    x = node.outputs[0]
    uses = list(x.uses())
    attributes = [ir.AttrFloat32("epsilon", EPSILON)]
    norm = ir.Node("", "BatchNormalization", [x, *parameters], attributes, name=name)
    norm.meta[INSERTED] = True
    y = norm.outputs[0]
    y.name, y.type, y.shape = f"{name}.y", x.type, x.shape
    for user, index in uses:
        user.replace_input_with(index, y)
    graph.insert_after(node, norm)


def _measured(
    model: ir.Model, nodes: Sequence[ir.Node], samples: Array
) -> list[tuple[Array, Array]]:
    """Mean and biased variance ``(C,)`` of what each node puts out on the samples."""
    proto = ir.to_proto(model)
    proto.ir_version = max(proto.ir_version, IR_VERSION)
    del proto.graph.output[:]
    op = Operators()
    op.reserve(v.name for n in model.graph for v in n.outputs)
    op.reserve(model.graph.initializers)
    wanted: dict[str, ir.Value] = {}
    for k, node in enumerate(nodes):
        x = ir.Value(
            name=node.outputs[0].name, type=node.outputs[0].type, shape=node.outputs[0].shape
        )
        axes = [0, *range(2, rank(x))]
        mean = op.ReduceMean(x, axes, keepdims=1)
        centred = op.Sub(x, mean)
        wanted[f"tta.mean.{k}"] = op.ReduceMean(x, axes, keepdims=0)
        wanted[f"tta.var.{k}"] = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=0)
    for key, value in wanted.items():
        value.name = key
        value.type = ir.TensorType(ir.DataType.FLOAT)
    proto.graph.node.extend(ir.to_proto(node) for node in op.nodes)
    for value in op.initializers.values():
        assert value.const_value is not None
        tensor = ir.to_proto(value.const_value)
        tensor.name = str(value.name)
        proto.graph.initializer.append(tensor)
    proto.graph.output.extend(ir.to_proto(value) for value in wanted.values())
    session = ort.InferenceSession(
        proto.SerializeToString(), options(), providers=["CPUExecutionProvider"]
    )
    found: list[tuple[Array, Array]] = []
    for start in range(0, len(samples), CHUNK):
        chunk = np.asarray(samples[start : start + CHUNK], np.float32)
        flat = session.run(list(wanted), {str(model.graph.inputs[0].name): chunk})
        new = list(zip(flat[::2], flat[1::2]))
        share = len(chunk) / (start + len(chunk))
        found = [blend(old, each, share) for old, each in zip(found or new, new)]
    return found


def _answers(value: ir.Value, outputs: set[ir.Value]) -> bool:
    """Whether a value is an output, or becomes one without a nonlinearity that others use."""
    if value in outputs:
        return True
    return any(
        user.op_type in LINEAR and _answers(user.outputs[0], outputs) for user, _ in value.uses()
    )


def _one_position(value: ir.Value) -> bool:
    return value.shape is not None and all(d == 1 for d in list(value.shape)[2:])

"""Brings a model into the canonical form that the rest of export reads.

Constants folded and lifted to initializers, identities gone, newer operators written in opset 18, one
initializer a parameter, shapes inferred. Norm operators that opset 18 lacks (GroupNormalization,
RMSNormalization) stay: their layers lower them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript import optimizer

from tta.errors import ExportError
from tta.export.operators import OPSET, Operators, rank

NORMS = ("GroupNormalization", "RMSNormalization")


def canonical(model: ir.Model) -> ir.Model:
    """The same function in canonical form; the model is changed in place and returned.

    Raises:
        ExportError: an operator or attribute has no form in the canonical opset.
    """
    _fold(model)
    for node in list(model.graph):
        lower = _LOWER.get(node.op_type)
        if lower is not None and node.domain in ("", "ai.onnx"):
            _replace(model.graph, node, lower)
    _fold(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _own_initializers(model.graph)
    _drop_zero_biases(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    _check_opset(model.graph)
    model.graph.opset_imports[""] = OPSET
    return model


def _fold(model: ir.Model) -> None:
    optimizer.fold_constants(model, onnx_shape_inference=True)
    for each in (
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
    ):
        each(model)


def _replace(
    graph: ir.Graph, node: ir.Node, lower: Callable[[Operators, ir.Node], ir.Value]
) -> None:
    """Put what ``lower`` emits in the node's place; its output keeps name, type and shape."""
    op = Operators()
    op.reserve(v.name for n in graph for v in n.outputs)
    op.reserve(graph.initializers)
    result = lower(op, node)
    old = node.outputs[0]
    result.type, result.shape = old.type, old.shape
    name = old.name
    for value in op.initializers.values():
        graph.register_initializer(value)
    graph.insert_before(node, op.nodes)
    ir.convenience.replace_all_uses_with(old, result)
    for k, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[k] = result
    graph.remove(node, safe=True)
    result.name = name


def _x(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    if value is None:
        raise ExportError(f"node {node.name} ({node.op_type}) lacks its input {index}")
    return value


def _attr(node: ir.Node, name: str, default: object) -> object:
    found = node.attributes.get(name)
    return default if found is None else found.value


def _gelu(op: Operators, node: ir.Node) -> ir.Value:
    """Gelu(x) = x·Φ(x), by erf or by the tanh approximation."""
    x = _x(node, 0)
    if _attr(node, "approximate", "none") == "tanh":
        inner = op.Mul(math.sqrt(2 / math.pi), op.Add(x, op.Mul(0.044715, op.Mul(x, op.Mul(x, x)))))
        phi = op.Mul(0.5, op.Add(1.0, op.Tanh(inner)))
    else:
        phi = op.Mul(0.5, op.Add(1.0, op.Erf(op.Mul(x, 1 / math.sqrt(2)))))
    return op.Mul(x, phi)


def _swish(op: Operators, node: ir.Node) -> ir.Value:
    """Swish(x) = x·sigmoid(alpha·x)."""
    x, alpha = _x(node, 0), float(_attr(node, "alpha", 1.0))  # type: ignore[arg-type]
    return op.Mul(x, op.Sigmoid(x if alpha == 1.0 else op.Mul(x, alpha)))


def _attention(op: Operators, node: ir.Node) -> ir.Value:
    """softmax(Q·Kᵀ·scale + mask)·V for 4-D Q, K, V ``(N, heads, L, D)``."""
    q, k, v = _x(node, 0), _x(node, 1), _x(node, 2)
    extra = [i for i in node.inputs[4:] if i is not None]
    plain = rank(q) == 4 and not extra and len(node.outputs) == 1
    if not plain or _attr(node, "softcap", 0.0) or _attr(node, "q_num_heads", 0):
        raise ExportError(
            f"node {node.name} (Attention) uses options that export does not know: "
            "write the attention with matmul and softmax in the model"
        )
    assert q.shape is not None
    depth = q.shape[3]
    if not isinstance(depth, int):
        raise ExportError(f"node {node.name} (Attention) has no fixed head size")
    scale = _attr(node, "scale", None) or 1 / math.sqrt(depth)
    scores = op.Mul(op.MatMul(q, op.Transpose(k, perm=[0, 1, 3, 2])), float(scale))  # type: ignore[arg-type]
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is not None:
        scores = op.Add(scores, mask)
    if _attr(node, "is_causal", 0):
        length = q.shape[2]
        if not isinstance(length, int):
            raise ExportError(f"node {node.name} (Attention) is causal over an unknown length")
        ahead = np.triu(np.full((length, length), -1e30, np.float32), 1)
        scores = op.Add(scores, ahead)
    return op.MatMul(op.Softmax(scores, axis=-1), v)


_LOWER: dict[str, Callable[[Operators, ir.Node], ir.Value]] = {
    "Gelu": _gelu,
    "Swish": _swish,
    "Attention": _attention,
}


def _own_initializers(graph: ir.Graph) -> None:
    """Give each norm and each weighted node its own parameters where a model shares equal ones.

    A fresh BatchNorm's ones and zeros are often one tensor; an update of one layer must not change
    another.
    """
    taken: set[str] = set()
    for node in graph:
        if not ("Normalization" in node.op_type or node.op_type in ("Conv", "Gemm", "MatMul")):
            continue
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.name is None or index == 0:
                continue
            if value.name in taken:
                if "Normalization" in node.op_type and value.name.endswith(".weight"):
                    layer = value.name.removesuffix(".weight")
                    raise ExportError(
                        f"norm layer {layer} is used more than once, and its uses see different "
                        "statistics: give each use a norm layer of its own in the model"
                    )
                copy = ir.Value(
                    name=f"{node.name}.{index}",
                    type=value.type,
                    shape=value.shape,
                    const_value=ir.tensor(value.const_value.numpy().copy()),
                )
                graph.register_initializer(copy)
                node.replace_input_with(index, copy)
                taken.add(copy.name or "")
            taken.add(value.name)


def _drop_zero_biases(graph: ir.Graph) -> None:
    """Torch writes a zero bias for convolutions that have none."""
    for node in graph:
        if node.op_type == "Conv" and len(node.inputs) == 3:
            bias = node.inputs[2]
            if bias is None or (
                bias.const_value is not None and not bias.const_value.numpy().any()
            ):
                node.resize_inputs(2)


def _check_opset(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type in NORMS:
            continue
        if node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"node {node.name} is {node.domain}::{node.op_type}, which is no standard operator: "
                "replace it in the model"
            )
        try:
            schema = onnx.defs.get_schema(node.op_type, OPSET)
        except onnx.defs.SchemaError as error:
            raise ExportError(
                f"node {node.name} uses operator {node.op_type}, which opset {OPSET} lacks: "
                "replace it in the model"
            ) from error
        if len(node.inputs) > schema.max_input:
            raise ExportError(
                f"node {node.name} uses operator {node.op_type} in a form that opset {OPSET} lacks: "
                "replace it in the model"
            )
        for name, attr in list(node.attributes.items()):
            if name not in schema.attributes:
                neutral = attr.value in (0, 1, "", "none", "linear") or (
                    isinstance(attr.value, tuple | list) and set(attr.value) <= {0, 1}
                )
                if not neutral:
                    raise ExportError(
                        f"node {node.name} ({node.op_type}) has attribute {name}={attr.value!r}, "
                        f"which opset {OPSET} lacks"
                    )
                node.attributes.pop(name)

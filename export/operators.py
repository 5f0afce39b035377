"""The operator namespace in which forwards, objectives and gradients are written.

``op.Conv(x, w, strides=[1, 1])`` appends an ONNX node and returns its output; numbers and arrays among
the inputs become constants. Shapes are inferred node by node, so that gradient rules can read them.

>>> op = Operators()
>>> x = op.input("x", np.float32, ["N", 3])
>>> op.Mul(x, 2.0).shape
Shape([SymbolicDim('N'), 3])
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

OPSET = 18
IR_VERSION = 8  # local functions came with it; every onnxruntime that reads opset 18 reads it
INLINE_BYTES = 256  # smaller constants stay in the graph, where shape inference can read them
Operand = ir.Value | float | int | Sequence[int] | npt.NDArray[Any] | None

_log = logging.getLogger(__name__)


class Operators:
    """Collects nodes, inputs and initializers of one graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.inputs: list[ir.Value] = []
        self.initializers: dict[str, ir.Value] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        if not op_type[0].isupper():
            raise AttributeError(op_type)

        def emit(*inputs: Operand, **attributes: Any) -> ir.Value:
            return self.node(op_type, inputs, attributes)[0]

        return emit

    def name(self, stem: str) -> str:
        """A name that no value of this graph has yet."""
        n = self._counts.get(stem, 0)
        name = f"{stem}_{n}" if n else stem
        while name in self._used:
            n += 1
            name = f"{stem}_{n}"
        self._counts[stem] = n + 1
        self._used.add(name)
        return name

    def reserve(self, names: Iterable[str | None]) -> None:
        """Names that ``name`` must not give out."""
        self._used.update(n for n in names if n)

    def input(self, name: str, dtype: npt.DTypeLike, shape: Sequence[int | str | None]) -> ir.Value:
        """A graph input."""
        self.reserve([name])
        value = ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))),
            shape=ir.Shape(shape),
        )
        self.inputs.append(value)
        return value

    def given(self, name: str, like: ir.Value) -> ir.Value:
        """A float input of the graph with the shape of another value: what a method gives its objective."""
        return self.input(name, np.float32, dims(like))

    def weight(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """A named initializer; the same name returns the same value."""
        if name not in self.initializers:
            self.reserve([name])
            self.initializers[name] = ir.Value(
                name=name,
                type=ir.TensorType(tensor.dtype),
                shape=ir.Shape(list(tensor.shape.numpy())),
                const_value=tensor,
            )
        return self.initializers[name]

    def constant(self, value: Operand) -> ir.Value:
        """An initializer that holds a number or an array; floats are float32, ints int64.

        A large one is named by its content: graphs share such tensors by name in the weights file.
        """
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        elif array.dtype == np.int32:
            array = array.astype(np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            if array.nbytes < INLINE_BYTES:
                name = self.name("const")
            else:
                name = f"const.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"
            self._constants[key] = self.weight(
                name, ir.tensor(np.ascontiguousarray(array).reshape(array.shape))
            )
        return self._constants[key]

    def node(
        self,
        op_type: str,
        inputs: Sequence[Operand],
        attributes: Mapping[str, Any] | None = None,
        n_outputs: int = 1,
        domain: str = "",
    ) -> Sequence[ir.Value]:
        """Append a node; returns its outputs."""
        values = [i if i is None or isinstance(i, ir.Value) else self.constant(i) for i in inputs]
        while values and values[-1] is None:
            values.pop()
        stem = self.name(op_type)
        outputs = [
            ir.Value(name=stem if n_outputs == 1 else f"{stem}.{k}") for k in range(n_outputs)
        ]
        attrs = [
            a if isinstance(a, ir.Attr) else ir.convenience.convert_attribute(k, a)
            for k, a in (attributes or {}).items()
            if a is not None
        ]
        node = ir.Node(domain, op_type, values, attrs, outputs=outputs, name=stem)
        self.nodes.append(node)
        if domain == "":
            _infer(node)
        return outputs

    def model(
        self, outputs: Mapping[str, ir.Value], name: str, functions: Sequence[ir.Function] = ()
    ) -> ir.Model:
        """The finished graph; each output gets its key as name, what no output needs is dropped."""
        final: list[ir.Value] = []
        for key, value in outputs.items():
            result = value
            if value.producer() is None or any(value is f for f in final):  # an input, or twice
                (result,) = self.node("Identity", [value])
            result.name = key
            final.append(result)
        nodes, used = self._needed(final)
        graph = ir.Graph(
            self.inputs,
            final,
            nodes=nodes,
            initializers=[v for v in self.initializers.values() if id(v) in used],
            opset_imports={"": OPSET, **({"tta": 1} if functions else {})},
            name=name,
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="tta", functions=functions)

    def _needed(self, outputs: Sequence[ir.Value]) -> tuple[list[ir.Node], set[int]]:
        """Nodes that lead to the outputs, and the ids of the values that they and the outputs read.

        onnxruntime runs a node that nothing reads, so gradients that a rule replaced must go.
        """
        used = {id(value) for value in outputs}
        kept: list[ir.Node] = []
        for node in reversed(self.nodes):
            if any(id(out) in used for out in node.outputs):
                kept.append(node)
                used.update(id(i) for i in node.inputs if i is not None)
            else:
                for index in range(len(node.inputs)):
                    node.replace_input_with(index, None)
        return kept[::-1], used


def rank(value: ir.Value) -> int:
    """Number of axes; export requires that it is known."""
    if value.shape is None:
        raise ValueError(f"the rank of {value.name} is unknown")
    return len(value.shape)


def dims(value: ir.Value) -> list[int | str | None]:
    """Axis lengths: an int where known, else the symbol's name."""
    if value.shape is None:
        raise ValueError(f"the shape of {value.name} is unknown")
    return [d if isinstance(d, int) else d.value for d in value.shape]


def _infer(node: ir.Node) -> None:
    """Set the outputs' types and shapes from onnx's own inference, where it can tell."""
    if any(i is not None and (i.type is None or i.name is None) for i in node.inputs):
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, OPSET, node.domain)
        proto = ir.to_proto(node)
        types, data = {}, {}
        for value in node.inputs:
            if value is None or value.name is None:
                continue
            types[value.name] = _type_proto(value)
            if value.const_value is not None and value.const_value.size <= 64:
                data[value.name] = onnx.numpy_helper.from_array(value.const_value.numpy())
        found = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
        )
    except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, RuntimeError) as error:
        _log.debug("no shape for %s: %s", node.name, error)
        return
    for value in node.outputs:
        inferred = found.get(value.name or "")
        if inferred is None or not inferred.HasField("tensor_type"):
            continue
        tensor = inferred.tensor_type
        if tensor.elem_type:
            value.type = ir.TensorType(ir.DataType(tensor.elem_type))
        if tensor.HasField("shape"):
            value.shape = ir.Shape(
                [
                    d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
                    for d in tensor.shape.dim
                ]
            )


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    shape = None if value.shape is None else dims(value)
    assert value.type is not None
    return onnx.helper.make_tensor_type_proto(value.type.dtype.value, shape)

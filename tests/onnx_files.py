"""Small ONNX files, written by hand as other producers write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weights(folded: bool, seed: int = 0) -> dict[str, np.ndarray]:
    """Two convolutions with norms, folded into them or not, and a classifier of 5."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for k, (i, o) in enumerate(((3, 8), (8, 6))):
        w = rng.normal(0, 0.3, (o, i, 3, 3)).astype(np.float32)
        scale, bias, mean = (rng.normal(m, 0.3, o).astype(np.float32) for m in (1, 0, 0))
        var = rng.uniform(0.5, 2, o).astype(np.float32)
        if folded:
            a = scale / np.sqrt(var + 1e-5)
            found |= {f"w{k}": w * a[:, None, None, None], f"b{k}": bias - a * mean}
        else:
            found |= {f"w{k}": w, f"s{k}": scale, f"h{k}": bias, f"m{k}": mean, f"v{k}": var}
    found |= {
        "head_w": rng.normal(0, 1, (6, 5)).astype(np.float32),
        "head_b": rng.normal(0, 1, 5).astype(np.float32),
    }
    return found


def conv_net(
    path: Path,
    *,
    folded: bool = False,
    softmax: bool = False,
    constants: bool = False,
    batch: int | str = "N",
    opset: int = 11,
    between: str | None = None,
    size: int | str = 12,
) -> Path:
    """Conv, norm, ReLU twice, pooling, a linear layer; ``between`` is an operator between the blocks."""
    values = weights(folded)
    nodes, x = [], "image"
    for k in range(2):
        inputs = [x, f"w{k}", *([f"b{k}"] if folded else [])]
        nodes.append(helper.make_node("Conv", inputs, [f"c{k}"], f"conv{k}", pads=[1] * 4))
        y = f"c{k}"
        if not folded:
            norm = [y, *(f"{r}{k}" for r in "shmv")]
            nodes.append(helper.make_node("BatchNormalization", norm, [f"n{k}"], f"norm{k}"))
            y = f"n{k}"
        nodes.append(helper.make_node("Relu", [y], [f"r{k}"], f"relu{k}"))
        x = f"r{k}"
        if between and not k:
            nodes.append(helper.make_node(between, [x], ["between"], "strange"))
            x = "between"
    nodes.append(helper.make_node("Identity", [x], ["same"], "identity"))
    nodes.append(helper.make_node("GlobalAveragePool", ["same"], ["pooled"], "pool"))
    target = np.array([batch if isinstance(batch, int) else 0, 6], np.int64)
    nodes.append(helper.make_node("Reshape", ["pooled", "target"], ["flat"], "reshape"))
    nodes.append(helper.make_node("MatMul", ["flat", "head_w"], ["product"], "matmul"))
    out = "logits" if not softmax else "probabilities"
    nodes.append(helper.make_node("Add", ["product", "head_b"], ["logits"], "add"))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], [out], "softmax"))
    tensors = [numpy_helper.from_array(v, k) for k, v in {**values, "target": target}.items()]
    if constants:
        made = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
        nodes, tensors = [*made, *nodes], []
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [batch, 5])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.save(model, path)
    return path


def frames(n: int = 16) -> np.ndarray:
    """Inputs ``(n, 3, 12, 12)``."""
    return np.random.default_rng(1).normal(0.3, 1, (n, 3, 12, 12)).astype(np.float32)

"""The law of a batch axis by numbers: a batch of six against its sample 2 alone, every tensor looked at.

The graph runs unoptimized in onnxruntime with all float tensors exposed. A tensor is

- ``mixed`` where sample 2 of it differs from what sample 2 alone gives, in any of the draws;
- ``broadcast`` where it has the batch axis and never differs; ``absent`` where it has none and never does.

"Differs" is by more than ``TOLERANCE`` of the tensor's largest element. Kernels round differently for
other batch sizes: measured, by 1.4e-5 at most, while what mixes differs by 6e-3 at least. A tensor that
mixes and is equal nevertheless (a mask of 0 and 1, a masked gradient, which is 0) is a tie that no number
can decide; the inputs are chosen so that there is none: alpha 0.7, a Hebbian step of 0.5, two draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from tta.export.axes import Tensor, place

BATCH, SAMPLE = 6, 2
TOLERANCE = 3e-4


def session(model: ir.Model, weights: Mapping[str, np.ndarray] = {}) -> ort.InferenceSession:
    """The graph with all its float tensors as outputs; external initializers come from ``weights``."""
    known = {o.name for o in model.graph.outputs}
    made = [v for node in model.graph for v in node.outputs if v.name and v.name not in known]
    model.graph.outputs.extend(
        v for v in made if v.type is None or v.type.dtype == ir.DataType.FLOAT
    )
    for name, value in model.graph.initializers.items():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.tensor(weights[name], name=name)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    graph = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def pick(array: np.ndarray, tensor: Tensor, batch: int) -> np.ndarray | None:
    """Sample ``SAMPLE`` of a tensor of a batch of six; None where its shape is not what the label says."""
    for k, axis in enumerate(tensor.axes):
        found = place(axis)
        if found is None:
            continue
        before, after = found
        if array.shape[k] != before * batch * after:
            return None
        split = array.reshape(*array.shape[:k], before, batch, after, *array.shape[k + 1 :])
        one = np.take(split, [SAMPLE], axis=k + 1)
        return one.reshape(*array.shape[:k], before * after, *array.shape[k + 1 :])
    return array


def differences(
    run: ort.InferenceSession,
    tensors: Mapping[str, Tensor],
    feeds: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]],
) -> dict[str, float]:
    """Largest difference of each output over the draws, relative; inf for shapes that differ."""
    outputs = [o.name for o in run.get_outputs()]
    found: dict[str, float] = {}
    for whole, alone in feeds:
        for name, a, b in zip(outputs, run.run(outputs, whole), run.run(outputs, alone)):
            if a.dtype != np.float32:
                continue
            one = pick(a, tensors[name], BATCH) if tensors[name].batched == 1 else a
            if one is None or one.shape != b.shape:
                found[name] = float("inf")
                continue
            scale = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
            change = float(np.abs(one - b).max(initial=0)) / scale if scale else 0.0
            found[name] = max(found.get(name, 0.0), change if np.isfinite(change) else 0.0)
    return found


def verdict(difference: float, tensor: Tensor) -> str:
    """The numeric answer for one tensor."""
    if difference > TOLERANCE:
        return "mixed"
    return "broadcast" if tensor.batched else "absent"

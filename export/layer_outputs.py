"""What norm layers put out on source data, for objectives that match it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from tta.export.layers import settled
from tta.export.lift import Lifted
from tta.export.step_graph import answers_graph
from tta.moments import blend
from tta.records import Array
from tta.runtime.session import options

CHUNK = 64


def source_outputs(lifted: Lifted, samples: Array, given: bool) -> dict[str, tuple[Array, Array]]:
    """Mean and biased variance ``(C,)`` of norm layers' outputs over frames and positions, by layer.

    Measured on source samples. Without them a layer that keeps running statistics knows its own,

        mean = bias,    var = scale²·σ²/(σ² + ε),

    and the others are measured on the example.

    Args:
        lifted: the model.
        samples: inputs ``(N, ...)``.
        given: whether they are source samples, and not the example.
    """
    if all(settled(norm) for norm in lifted.norms.values()):
        return {}
    data = ir.to_proto(answers_graph(lifted)).SerializeToString()
    session = ort.InferenceSession(data, options(), providers=["CPUExecutionProvider"])
    names, wanted = ([v.name for v in vs] for vs in (session.get_outputs(), session.get_inputs()))
    found: dict[str, tuple[Array, Array]] = {}
    for start in range(0, len(samples), CHUNK):
        x = np.asarray(samples[start : start + CHUNK], np.float32)
        known = {**lifted.values, "alpha": np.float32(0), str(lifted.input.name): x}
        out = dict(zip(names, session.run(names, {n: np.asarray(known[n]) for n in wanted})))
        for name in (n.removeprefix("mean.") for n in names if n.startswith("mean.")):
            new = (out[f"mean.{name}"], out[f"var.{name}"])
            found[name] = blend(found.get(name, new), new, len(x) / (start + len(x)))
    if not given:
        for norm in lifted.norms.values():
            if "mean" in norm.slots:
                scale, var = norm.slots["scale"], norm.slots["var"]
                kept = scale**2 * var / (var + np.float32(norm.attributes["epsilon"]))
                found[norm.name] = (norm.slots["bias"], kept)
    return found

"""``tta inspect model.onnx``: which layers of a file could adapt, and at what cost, before any export."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from tta.errors import ExportError, NoGradientError
from tta.export.canonical import canonical
from tta.export.folded_norms import bare, inserts, with_norms
from tta.export.infer_graph import infer_graph
from tta.export.lift import Lifted, lift
from tta.export.objectives import objective
from tta.export.onnx_file import read
from tta.export.operators import dims
from tta.export.step_graph import batch_graph, step_graph
from tta.records import Array
from tta.runtime.session import options

REPEATS = 5
OPEN_SIZE = 64  # of axes that the file leaves open, here only


def describe_file(path: str | Path) -> str:
    """What export would find in the file: input, layers with their slots, and the time of one frame.

    Raises:
        ExportError: the file cannot be exported; the message says why.
    """
    file = read(path, open_size=OPEN_SIZE)
    model = canonical(file.model)
    x = np.zeros(
        (1, *(d for d in dims(model.graph.inputs[0])[1:] if isinstance(d, int))), np.float32
    )
    x += np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    folded = bare(model) if inserts(model, "auto") else []
    if folded:
        with_norms(file, model, x)
    names = ["logits", *(f"output_{k}" for k in range(1, len(model.graph.outputs)))]
    lifted = lift(model, None, names)
    shape = ", ".join(str(d) for d in dims(lifted.input))
    lines = [
        f"{Path(path).name}   input {lifted.input.name} ({shape}), "
        + ", ".join(f"{k} ({', '.join(map(str, dims(v)))})" for k, v in lifted.outputs.items()),
        "layers      "
        + ", ".join(f"{n} {kind}" for kind, n in Counter(lifted.layers.values()).items()),
    ]
    if folded:
        lines.append(
            f"folded      {len(folded)} convolutions get norms; their statistics need --samples"
        )
    if file.probabilities:
        lines.append("softmax     at the end; export takes the logits before it")
    if file.batch:
        lines.append(f"batch       {file.batch} in the file; export makes it any")
    lines += [_cost(lifted, x), "", f"{'layer':44}{'kind':20}{'numbers':>9}"]
    for layer, kind in lifted.layers.items():
        numbers = sum(int(np.prod(s.shape)) for s in lifted.slots if s.layer == layer)
        lines.append(f"  {layer:42}{kind:20}{numbers:>9}")
    return "\n".join(lines) + "\n"


def _cost(lifted: Lifted, x: Array) -> str:
    """Milliseconds of one frame, one thread: inference, statistics, and a step where one can be made."""
    found = {"inference": _ms(infer_graph(lifted), lifted, x)}
    found["statistics"] = _ms(batch_graph(lifted), lifted, x)
    classes = len(dims(next(iter(lifted.outputs.values())))) == 2
    name = "entropy" if classes else "actmad"
    wanted = objective(name).function
    ones = {
        n.name: (
            np.zeros(n.slots["scale"].shape, np.float32),
            np.ones(n.slots["scale"].shape, np.float32),
        )
        for n in lifted.norms.values()
    }
    blocked = ""
    try:
        graph = step_graph(lifted, name, wanted, sources=None if classes else ones)
        found[f"{name} step"] = _ms(graph, lifted, x)
    except NoGradientError as error:
        blocked = f"\nblocked     {error}"
    except ExportError as error:
        blocked = f"\nno step     {error}"
    times = ", ".join(f"{k} {v:.2f} ms" for k, v in found.items())
    return f"one frame   {times}{blocked}"


def _ms(graph: ir.Model, lifted: Lifted, x: Array) -> float:
    session = ort.InferenceSession(
        ir.to_proto(graph).SerializeToString(), options(), providers=["CPUExecutionProvider"]
    )
    known = {
        **lifted.values,
        "alpha": np.array(0, np.float32),
        "sample_weight": np.ones(1, np.float32),
        str(lifted.input.name): x,
    }
    feed = {i.name: known[i.name] for i in session.get_inputs()}
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        session.run(None, feed)
        best = min(best, time.perf_counter() - start)
    return best * 1e3

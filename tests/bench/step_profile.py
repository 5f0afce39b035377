"""Where the time of the two reference step graphs goes: ``python -m tests.bench.step_profile``.

Prints, for MobileNetV2 (batch 1, 224x224) and WRN-40-2 (batch 8, 32x32), the CPU time of Tent's step against
eager torch's, in one alternating run with one thread, and the step's time by operator from onnxruntime's own
profile, with what plain inference spends in each beside it. Markdown, to be pasted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import nn

from tests.models import mobilenet_v2, wrn
from tta.adapters.tent import Tent
from tta.export.canonical import canonical
from tta.export.infer_graph import infer_graph
from tta.export.lift import Lifted, lift
from tta.export.step_graph import batch_graph, step_graph
from tta.export.torch_graph import trace
from tta.runtime.session import options

MODELS: dict[str, tuple[Callable[[], tuple[nn.Module, torch.Tensor]], tuple[int, ...]]] = {
    "MobileNetV2": (mobilenet_v2.full, (1, 3, 224, 224)),
    "WRN-40-2": (wrn.wrn_40_2, (8, 3, 32, 32)),
}
PROFILED_RUNS = 8
LEAST = 0.01  # share of the step below which an operator goes to the rest


class EagerTent:
    """Tent in eager torch, as its authors' code sets a model up: batch statistics, scales and biases."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net.train()
        self.net.requires_grad_(False)
        trained = []
        for module in self.net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = None
                module.requires_grad_(True)
                trained += list(module.parameters())
        self.optimizer = torch.optim.Adam(trained, 1e-3)

    def __call__(self, x: torch.Tensor) -> None:
        logits = self.net(x)
        loss = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def session(model: ir.Model, folder: Path, profile: bool = False) -> ort.InferenceSession:
    """One thread, as the runtime opens a step graph."""
    made = options()
    if profile:
        made.enable_profiling = True
        made.profile_file_prefix = str(folder / "profile")
    data = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(data, made, providers=["CPUExecutionProvider"])


def feed(opened: ort.InferenceSession, lifted: Lifted, x: np.ndarray) -> dict[str, np.ndarray]:
    scalars = {"alpha": np.array(1, np.float32), "sample_weight": np.ones(len(x), np.float32)}
    known = {**lifted.values, **scalars, "input": x}
    return {i.name: known[i.name] for i in opened.get_inputs()}


def by_operator(model: ir.Model, lifted: Lifted, x: np.ndarray) -> dict[str, tuple[int, float]]:
    """Nodes and ms by operator: the best of several runs of each node."""
    with tempfile.TemporaryDirectory() as folder:
        opened = session(model, Path(folder), profile=True)
        values = feed(opened, lifted, x)
        for _ in range(PROFILED_RUNS):
            opened.run(None, values)
        events = json.loads(Path(opened.end_profiling()).read_text())
    best: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            key = event["args"]["op_name"], event["name"]
            best[key] = min(best.get(key, np.inf), event["dur"] / 1e3)
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for (operator, _), ms in best.items():
        count, total = found[operator]
        found[operator] = count + 1, total + ms
    return dict(found)


def alternate(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least CPU ms of each candidate, in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) * 1e3)
    return best


def report(name: str, repeats: int) -> None:
    factory, shape = MODELS[name]
    net, _ = factory()
    x = torch.randn(*shape)
    traced = canonical(trace(net, x, "input"))
    lifted = lift(traced, ())
    graphs = {
        "step": step_graph(lifted, "entropy", Tent.objective),
        "step, statistics as constants": step_graph(
            lifted, "entropy", Tent.objective, constant_statistics=True
        ),
        "step, recomputing": step_graph(lifted, "entropy", Tent.objective, recompute=True),
        "batch": batch_graph(lifted),
        "infer": infer_graph(lifted),
    }
    runs: dict[str, Callable[[], object]] = {}
    built = [(key, graph, lifted) for key, graph in graphs.items()]
    for layers in ("last:4", "stem"):
        some = lift(traced, (), layers=layers)
        built.append((f"step, {layers}", step_graph(some, "entropy", Tent.objective), some))
    with tempfile.TemporaryDirectory() as folder:
        for key, graph, own in built:
            opened = session(graph, Path(folder))
            runs[key] = partial(opened.run, None, feed(opened, own, x.numpy()))
    eager, again = EagerTent(net), EagerTent(factory()[0])
    runs["eager torch"] = lambda: eager(x)
    runs["eager torch again (A/A)"] = lambda: again(x)
    best = alternate(runs, repeats)
    print(
        f"\n### {name}, batch {shape[0]}\n\n| candidate | CPU ms | to eager torch |\n|---|---|---|"
    )
    for key, ms in best.items():
        print(f"| {key} | {ms:.1f} | {ms / best['eager torch']:.2f} |")
    step = by_operator(graphs["step"], lifted, x.numpy())
    infer = by_operator(graphs["infer"], lifted, x.numpy())
    total = sum(ms for _, ms in step.values())
    print("\n| operator | nodes | ms | share | ms in inference |\n|---|---|---|---|---|")
    rest = [0, 0.0]
    for operator, (count, ms) in sorted(step.items(), key=lambda item: -item[1][1]):
        if ms < LEAST * total:
            rest = [rest[0] + count, rest[1] + ms]
            continue
        plain = infer.get(operator, (0, 0.0))[1]
        print(f"| {operator} | {count} | {ms:.2f} | {ms / total:.0%} | {plain:.2f} |")
    print(f"| the rest | {rest[0]} | {rest[1]:.2f} | {rest[1] / total:.0%} | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--model", choices=MODELS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in [given.model] if given.model else MODELS:
        report(name, given.repeats)


if __name__ == "__main__":
    main()

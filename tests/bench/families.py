"""Every family as an ONNX file, norms kept and folded: ``python -m tests.bench.families [FILE:C,H,W ...]``.

Each is written by torch, exported, adapted one step and its gradient checked; the table is that of
docs/onnx.md. A file of another producer is given with the shape of one sample, and exported on noise.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.models import families, random_batch
from tta.errors import TtaError
from tta.export import to_bundle
from tta.export.onnx_file import read
from tta.runtime.session import AdaptSession, InferSession

OWN = ("mlp", "sensor_cnn", "vit", "wrn", "efficientnet_lite", "resnet18", "mobilenet_v2")
HEAD = (
    "model",
    "norms",
    "layers that adapt",
    "outputs",
    "step graph at α = 0",
    "gradient",
    "one step",
)
LINE = "| " + " | ".join(["{}"] * len(HEAD)) + " |"


def main(files: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(LINE.format(*HEAD) + "\n" + "|" + " --- |" * len(HEAD))
    with tempfile.TemporaryDirectory() as folder:
        for name in (*families.FAMILIES, *OWN):
            for folded in (False, True):
                path = Path(folder) / f"{name}.onnx"
                x = written(name, path, folded)
                print(LINE.format(name, "folded" if folded else "kept", *row(path, x)), flush=True)
        for each in files:
            file, _, shape = each.rpartition(":")
            sample = [int(d) for d in shape.split(",")]
            x = np.random.default_rng(0).normal(0, 0.5, (8, *sample)).astype(np.float32)
            print(LINE.format(Path(file).stem, "as it is", *row(Path(file), x)), flush=True)


def written(name: str, path: Path, folded: bool) -> np.ndarray:
    """Write the model as torch does, which folds norms where it optimizes; returns inputs."""
    if name in families.FAMILIES:
        net, example = families.factory(name)
    else:
        net, example = importlib.import_module(f"tests.models.{name}").factory()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            net.eval(), (example[:2],), path, dynamo=True, external_data=False, verbose=False,
            optimize=folded, dynamic_shapes=({0: torch.export.Dim("N")},),
        )  # fmt: skip
    return random_batch(8, tuple(example.shape[1:])).numpy()


def row(path: Path, x: np.ndarray) -> tuple[str, ...]:
    """What export said of one file, in the table's words."""
    try:
        file = read(path, x.shape[1:])
        outputs = [len(v.shape or ()) for v in file.model.graph.outputs]
        classes = outputs[0] == 2
        options: dict[str, Any] = {
            "task": "classify" if classes else "regress",
            "objectives": ["entropy" if classes else "actmad"],
        }
        with tempfile.TemporaryDirectory() as folder:
            made = to_bundle(file, x, Path(folder) / "b.tta", samples=x, **options)
            kinds = list(made.bundle.manifest.layers.values())
            infer, batch, *gradients = made.checks
            layers = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds))
            same = infer.accepted if infer.accepted == "bit-equal" else f"{infer.error * 1e-4:.0e}"
            worst = max((g.error for g in gradients), default=0.0)
            return layers, same, f"{batch.error * 1e-4:.0e}", f"{worst:.2f}", adapted(made.bundle)
    except TtaError as error:
        return (f"{error}", "", "", "", "")


def adapted(bundle: Any) -> str:
    """The change of the objective by one small step along its gradient."""
    x = (
        np.random.default_rng(3)
        .normal(0, 0.5, (8, *bundle.manifest.input.sample))
        .astype(np.float32)
    )
    graph = next(g for g in bundle.manifest.provides if g.startswith("step/"))
    session, slots = AdaptSession(bundle), dict(bundle.source_slots)
    step = session.run(graph, x, slots, alpha=0.5)
    size = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in step.gradients.values()))
    before = float(np.mean(step.objective))
    moved = dict(slots)
    for k, g in step.gradients.items():
        moved[k] = np.float32(slots[k] - 1e-3 * abs(before) * g / (size**2 + 1e-12))
    after = float(np.mean(session.run(graph, x, moved, alpha=0.5).objective))
    served = InferSession(bundle, moved).run(x)
    fine = after <= before and all(np.isfinite(v).all() for v in served.values())
    return f"{'yes' if fine else 'NO'}, {100 * (after / before - 1):+.2f} %"


if __name__ == "__main__":
    main(sys.argv[1:])

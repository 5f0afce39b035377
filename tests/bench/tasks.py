"""One small trained model a task, under shift and clean: ``python -m tests.bench.tasks [task ...]``.

Prints a table of errors with the gains' 95 % intervals, as docs/tasks.md has it. ``bn_stats`` and
``actmad`` adapt on every batch and answer it; ``auto`` is a stream under the governor, as ``tta run``
serves it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.models import tasks as models
from tests.models.fashion import factory
from tests.recipes import make_task_data
from tta.bundle import Bundle
from tta.evaluation.task_table import TaskLine, task_table
from tta.export import to_bundle
from tta.terminal import Terminal

TASKS = ("classify", "multilabel", "detect", "segment", "regress", "embed")
PICTURE = "gaussian_noise,contrast,brightness"
SENSOR = "sensor_gain,sensor_offset,sensor_noise"
WAYS = (
    ("bn_stats", "batch", "always"),
    ("actmad", "batch", "always"),
    ("auto", "stream", "auto"),
)


def classify():
    """The demo's model, exported anew with actmad's graph."""
    model, example = factory()
    images, labels = models.held_out()
    options = {
        "preprocess": models.IMAGE,
        "samples": models.prepared(images[:1024]).numpy(),
        "targets": labels[:1024].astype(np.int64),
        "objectives": ("entropy", "nhl", "actmad"),
    }
    return model, example, options


def exported(name: str, folder: Path) -> Bundle:
    """The bundle of a task."""
    model, example, options = classify() if name == "classify" else getattr(models, name)()
    return to_bundle(model, example, folder / f"{name}.tta", **options).bundle


def lines(name: str, folder: Path, limit: int, severity: int) -> list[TaskLine]:
    """Shifts, then clean, for each way."""
    bundle = exported(name, folder)
    data = "embed" if name == "classify" else name
    found = []
    for adapter, serve, governor in WAYS:
        with contextlib.redirect_stdout(io.StringIO()):
            found += task_table(
                bundle,
                str(folder / f"{data}.npz"),
                adapters=[adapter],
                protocols=["reset", "clean"],
                corruptions=SENSOR if name == "regress" else PICTURE,
                severity=severity,
                limit=limit,
                serve=serve,
                governor=governor,
                terminal=Terminal(plain=True),
            )
    return found


def told(name: str, found: list[TaskLine]) -> list[str]:
    """Rows of the table."""
    by_visit: dict[str, list[dict]] = {}
    for line in found:
        for visit in line.visits:
            by_visit.setdefault(visit["visit"], []).append(visit)
    rows = []
    for shift, visits in by_visit.items():
        cells = [_number(visits[0]["frozen_error"])]
        for visit in visits:
            gain = visit["gain"]
            hurts = gain["high"] is not None and gain["high"] < 0
            half = "" if gain["low"] is None else f" ± {_number((gain['high'] - gain['low']) / 2)}"
            cells.append(f"{'▼ ' if hurts else ''}{_number(visit['error'])}{half}")
        rows.append(f"| {name} | {found[0].measure} | {shift} | {' | '.join(cells)} |")
    return rows


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=TASKS)
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--severity", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | error | shift | source | bn_stats | actmad | auto, governed |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        make_task_data.write(Path(folder))
        for name in given.tasks:
            found = lines(name, Path(folder), given.limit, given.severity)
            print(*told(name, found), sep="\n", flush=True)


if __name__ == "__main__":
    main()

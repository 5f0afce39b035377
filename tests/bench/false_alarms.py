"""False alarms on source streams: ``python -m tests.bench.false_alarms``.

Frames are Fashion-MNIST test images that calibration did not see (those of the demo), replayed as streams:
drawn at random, held with probability ρ, and chosen by a Gaussian AR(1) process. The budget is one in 5,000
frames.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from tests.bench.source_frames import Bench, autoregressive, held, table, watch
from tta.budget import Budget
from tta.watch import AlarmPolicy

BUDGET = "1/5000 frames"
COLUMNS = [
    "stream",
    "rho",
    "frames",
    "allowed",
    "detections",
    "learned",
    "alarms",
    "rho_found",
    "seconds",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--bundle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default="cusum")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bench = Bench(given.bundle)
    with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
        known = bench.know(data["images"], data["labels"])
    features = known.frames.view.features
    _, _, directions = np.linalg.svd(features - features.mean(0), full_matrices=False)
    score = features @ directions[0]
    rows = []
    rng = np.random.default_rng(given.seed)
    for name, rho in [
        ("iid", 0.0),
        ("held", 0.9),
        ("held", 0.99),
        ("AR(1)", 0.9),
        ("AR(1)", 0.99),
    ]:
        n = given.frames
        order = (
            autoregressive(score, n, rho, rng) if name == "AR(1)" else held(len(known), n, rho, rng)
        )
        monitor = bench.monitor(AlarmPolicy(Budget.parse(BUDGET), detector=given.detector))
        start = time.perf_counter()
        run = watch(monitor, known, order)
        rows.append(
            {
                "stream": name,
                "rho": rho,
                "frames": n,
                "allowed": n * 60 // 200_000,
                "detections": run.count("detected"),
                "learned": run.count("learn"),
                "alarms": run.count("alarm"),
                "rho_found": monitor.watch.correlation,
                "seconds": time.perf_counter() - start,
                "notes": run.notes,
                "metrics": _counts(run.shifts),
            }
        )
        print(rows[-1]["stream"], rows[-1]["metrics"], rows[-1]["notes"], flush=True)
    print(f"\nFalse alarms, budget {BUDGET}, detector {given.detector}, all metrics together")
    print(table(rows, COLUMNS))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def _counts(shifts) -> dict[str, int]:
    found: dict[str, int] = {}
    for shift in shifts:
        if shift.verdict == "detected":
            first = max(shift.metrics, key=lambda m: shift.metrics[m])
            found[first] = found.get(first, 0) + 1
    return found


if __name__ == "__main__":
    main()

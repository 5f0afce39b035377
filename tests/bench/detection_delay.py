"""How soon shifts are found: ``python -m tests.bench.detection_delay``.

Each stream is 2,048 to 2,111 source frames, in whose first half the monitor warms up, and then 1,024 frames
of one corruption, in four orders. The images are those of the demo, which calibration did not see. A delay
runs from the first corrupted frame to the detection; what the corruption costs is measured with labels, for
this table only.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np

from tests.bench.source_frames import BATCH, Bench, Known, table, watch
from tta.budget import Budget
from tta.corruptions import corrupt, names
from tta.errors import TtaError
from tta.export.kind_calibration import CAMERA
from tta.watch import AlarmPolicy

BEFORE, AFTER = 2048, 1024
COLUMNS = ["corruption", "severity", "cost", "found", "delay", "verdicts", "first", "kinds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle")
    parser.add_argument("--data", help="npz with images and labels, disjoint from calibration")
    parser.add_argument("--severities", default="1,2,3,5")
    parser.add_argument("--only", default="", help="corruptions, a,b")
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--budget", default="1/5000 frames")
    parser.add_argument("--detector", default="cusum")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bench = Bench(given.bundle)
    with np.load(given.data or str(files("tta.demo") / "fashion_test.npz")) as data:
        images, labels = data["images"][:2000], data["labels"][:2000]
    clean = bench.know(images, labels)
    policy = AlarmPolicy(Budget.parse(given.budget), detector=given.detector)
    rows = []
    for name in [*names("image"), *names("camera")]:
        if given.only and name not in given.only.split(","):
            continue
        for severity in map(int, given.severities.split(",")):
            try:
                shifted = corrupt(images[:AFTER], name, severity, 0)
            except TtaError:  # a corruption of colours, on grey images
                continue
            known = bench.know(shifted, labels[:AFTER])
            rows.append(measure(bench, policy, clean, known, given.orders, len(rows)))
            rows[-1].update(corruption=name, severity=severity)
            print(table([rows[-1]], COLUMNS).splitlines()[1], flush=True)
    print(f"\nDelays in frames, budget {given.budget}, detector {given.detector}")
    print(table(rows, COLUMNS))
    costly = [r for r in rows if r["cost"] >= 2]
    found = [d for r in costly for d in r["delays"]]
    missed = sum(r["runs"] - len(r["delays"]) for r in costly)
    print(
        f"\n{len(costly)} of {len(rows)} shifts cost at least 2 points: {len(found)} of "
        f"{len(found) + missed} runs found, median delay {np.median(found + [np.inf] * missed):.0f} frames, "
        f"90th percentile {np.quantile(found + [1e9] * missed, 0.9):.0f}; "
        f"harmless ones found: {sum(bool(r['delays']) for r in rows if r['cost'] < 2)} of "
        f"{len(rows) - len(costly)}; false alarms before the shift: {sum(r['early'] for r in rows)} in "
        f"{len(rows) * given.orders * BEFORE} frames"
    )
    print(_named(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(
    bench: Bench, policy: AlarmPolicy, clean: Known, shifted: Known, orders: int, salt: int
) -> dict:
    """Delays and verdicts of a shift in several orders of the frames."""
    delays, verdicts, first, early, kinds = [], [], [], 0, []
    for seed in range(orders):
        rng = np.random.default_rng([seed, salt])
        monitor = bench.monitor(policy)
        begin = BEFORE + BATCH * (seed % 4)  # the change comes at no fixed place of a block
        before = watch(monitor, clean, rng.integers(0, len(clean), begin))
        early += before.count("detected")
        order = rng.permutation(len(shifted))
        run = watch(monitor, shifted, order)
        found = [s for s in run.shifts if s.verdict == "detected"]
        judged = [s for s in run.shifts if s.verdict != "detected" and s.domain != 0]
        if judged:
            timely = [s for s in found if s.frame <= judged[0].frame] or [judged[0]]
            detected = timely[-1]
            delays.append(max(0, detected.frame - begin))
            verdicts.append(judged[0].verdict)
            kinds.append(judged[0].kind)
            first.append(max(detected.metrics, key=lambda m: detected.metrics[m], default=""))
    return {
        "cost": round(100 * float(shifted.wrong.mean() - clean.wrong[: len(shifted)].mean()), 1),
        "runs": orders,
        "found": f"{len(delays)}/{orders}",
        "delay": float(np.median(delays)) if delays else "",
        "delays": delays,
        "early": early,
        "verdicts": ",".join(sorted(set(verdicts))),
        "first": max(set(first), key=first.count) if first else "",
        "kinds": ",".join(sorted(set(kinds))),
        "named": kinds,
    }


def _named(rows: list[dict]) -> str:
    """How many of the judged shifts got a name, and how many the right one."""
    pairs = [(CAMERA.get(r["corruption"], "covariate"), kind) for r in rows for kind in r["named"]]
    named = [(true, kind) for true, kind in pairs if kind != "unknown"]
    right = sum(true == kind for true, kind in named)
    wrong = Counter(f"{true} as {kind}" for true, kind in named if true != kind)
    return (
        f"kinds: {len(named)} of {len(pairs)} judged shifts named, {right} rightly "
        f"({100 * right / max(1, len(named)):.0f} %); {dict(wrong)}"
    )


if __name__ == "__main__":
    main()

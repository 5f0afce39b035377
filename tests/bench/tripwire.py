"""How soon another world trips the wire, and how often a steady one: ``python -m tests.bench.tripwire``.

The demo's pictures, 100 frames under one corruption (or none) at severity 5 and 30 under another, every pair
of ``--worlds`` in both orders; the answers are those of the state that ``bn_stats`` has learned of the first.
Printed are the share of changes after which it has tripped within 4 and 16 frames, and trips in 1,000 frames
that do not change.
"""

from __future__ import annotations

import argparse
from importlib.resources import files

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Array, Frame
from tta.runtime.answer import prediction
from tta.runtime.round import each
from tta.runtime.stream import Model, Stream
from tta.runtime.tripwire import Tripwire

WORLDS = (
    "none,gaussian_noise,fog,contrast,defocus_blur,brightness,jpeg_compression,snow,pixelate,"
    "elastic_transform,shot_noise,motion_blur"
)
BEFORE, AFTER, STEADY = 100, 30, 1000


def trips(model: Model, slots: dict[str, Array], inputs: Array) -> list[int]:
    """Numbers of the frames at which it trips."""
    outputs = model.adapting.run("batch", inputs, slots, alpha=0.0).outputs
    wire, found = Tripwire(model.bundle.manifest.primary), []
    for k, (x, one) in enumerate(zip(inputs, each(outputs))):
        before = wire.trips
        wire.see(x, prediction(model.bundle, one, 0.0))
        if wire.trips > before:
            found.append(k)
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", default=WORLDS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    demo = files("tta.demo")
    with np.load(demo / "fashion_test.npz") as data:  # type: ignore[arg-type]
        images = data["images"]
    model = Model(Bundle(str(demo / "fashion.tta")))
    asker = Stream(model, "none", metrics=[], quarantine="none")
    rng = np.random.default_rng(given.seed)
    inputs, states = {}, {}
    for name in given.worlds.split(","):
        seen = images if name == "none" else corrupt(images, name, 5)
        inputs[name] = np.stack([asker.preprocess(Frame(i, 0.0, 0)) for i in seen])
        taught = Stream(model, "bn_stats", batch=64, buffer="batch", governor="always", metrics=[])
        for part in np.array_split(inputs[name][:512], 8):
            taught.adapt(part)
        states[name] = dict(model.bundle.source_slots if name == "none" else taught.current.slots)
    steady, delays = 0, []
    for a in inputs:
        order = rng.permutation(len(images))
        steady += len(trips(model, states[a], inputs[a][order[:STEADY]]))
        for b in inputs:
            if a != b:
                items = rng.permutation(len(images))[: BEFORE + AFTER]
                run = np.concatenate([inputs[a][items[:BEFORE]], inputs[b][items[BEFORE:]]])
                after = [k - BEFORE + 1 for k in trips(model, states[a], run) if k >= BEFORE]
                delays.append(after[0] if after else AFTER + 1)
    seen_by = {n: 100 * np.mean(np.array(delays) <= n) for n in (4, 16)}
    print(f"{len(delays)} changes: noticed within 4 frames {seen_by[4]:.0f} %, within 16 "
          f"{seen_by[16]:.0f} %; steady: {steady / len(inputs):.1f} trips in {STEADY:,} frames")  # fmt: skip


if __name__ == "__main__":
    main()

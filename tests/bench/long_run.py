"""A long recurring stream: ``python -m tests.bench.long_run --frames 1000000``.

The demo's model under ``auto`` sees its 2,000 held-out pictures, drawn anew with replacement, in worlds that
come back: visits of ``--visit`` frames to clean pictures and to each corruption of ``--worlds`` at severity
5, in an order drawn anew each round. Printed for each tenth: error of the stream and of the source model on
the same frames, the largest distance of the state in force from the source (root mean square over slots, in
units of the source's), worlds remembered, commits and returns, and the resident memory.
"""

from __future__ import annotations

import argparse
import time
from importlib.resources import files

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Array, Frame
from tta.runtime.loop import advance
from tta.runtime.memory import settle_allocator
from tta.runtime.stream import Model, Stream

WORLDS = "gaussian_noise,fog,contrast,brightness,snow,pixelate,defocus_blur"


def resident_mib() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def distance(stream: Stream, source: dict[str, Array]) -> float:
    """Of the state in force, see the module."""
    slots = stream.current.slots
    moved = sum(float(np.square(slots[k] - v).sum()) for k, v in source.items() if k in slots)
    return float(np.sqrt(moved / sum(float(np.square(v).sum()) for v in source.values())))


def main() -> None:
    """Run it, and print a line for each tenth."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--visit", type=int, default=1000)
    parser.add_argument("--worlds", default=WORLDS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settle_allocator()
    demo = files("tta.demo")
    with np.load(demo / "fashion_test.npz") as data:  # type: ignore[arg-type]
        images, labels = data["images"], data["labels"]
    worlds = [images, *(corrupt(images, name, 5) for name in given.worlds.split(","))]
    model = Model(Bundle(str(demo / "fashion.tta")))
    stream = Stream(model, metrics=["statistics_kl"])
    frozen = []
    for world in worlds:
        inputs = np.stack([stream.preprocess(Frame(i, 0.0, 0)) for i in world])
        parts = [
            model.source.run(p)[model.bundle.manifest.primary] for p in np.array_split(inputs, 20)
        ]
        frozen.append(np.concatenate(parts).argmax(1) != labels)
    source = {k: np.asarray(v, np.float64) for k, v in model.bundle.source_slots.items()}
    rng = np.random.default_rng(given.seed)
    tenth = max(1, given.frames // 10)
    wrong = wrong_frozen = k = 0
    far, began = 0.0, time.perf_counter()
    print(
        "| frames | error % | source's | distance | worlds | commits | returns | MiB | frames/s |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    while k < given.frames:
        for w in rng.permutation(len(worlds)):
            for item in rng.integers(0, len(images), given.visit):
                for result in advance(stream, Frame(worlds[w][item], k / 30, k)):
                    assert result.prediction is not None
                    wrong += result.prediction.label != labels[item]
                wrong_frozen += bool(frozen[w][item])
                k += 1
                if k % 1000 == 0:
                    far = max(far, distance(stream, source))
                if k % tenth == 0:
                    counts = stream.counts
                    rate = tenth / (time.perf_counter() - began)
                    print(f"| {k:,} | {100 * wrong / tenth:.2f} | "
                          f"{100 * wrong_frozen / tenth:.2f} | {far:.2f} | {len(stream.recall.worlds)} | "
                          f"{counts.commits:,} | {counts.resets:,} | "
                          f"{resident_mib():.1f} | {rate:,.0f} |", flush=True)  # fmt: skip
                    wrong = wrong_frozen = 0
                    far, began = 0.0, time.perf_counter()
                if k >= given.frames:
                    return


if __name__ == "__main__":
    main()

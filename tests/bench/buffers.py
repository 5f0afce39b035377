"""Errors of methods with each buffer on streams in several class orders: ``python -m tests.bench.buffers``.

The demo's 2,000 images under Gaussian noise of severity 5, each frame answered at once, no governor, three
orders a row. Prints the table of docs/buffers.md.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from tta import registry
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Array, Frame
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream
from tta.simulation import build

SEEDS = (0, 1, 2)
ROWS = (("bn_stats", 16), ("bn_stats", 1), ("tent", 16), ("nhl", 16))
ORDERS = ("iid", "dirichlet:0.1", "sorted")


def error(stream: Stream, images: Array, labels: Array) -> float:
    """In percent, of a stream over images in this order."""
    said = [
        result.prediction.label
        for k, image in enumerate(images)
        for result in advance(stream, Frame(image, k / 30, k))
        if result.prediction
    ]
    return 100 * float(np.mean(np.array(said) != labels))


def main() -> None:
    demo = files("tta.demo")
    with as_file(demo / "fashion_test.npz") as path, np.load(path) as data:
        images, labels = data["images"], data["labels"]
    noisy, count = corrupt(images, "gaussian_noise", 5), len(labels)
    with as_file(demo / "fashion.tta") as path:
        model = Model(Bundle(path))
    frozen = Stream(model, "none", metrics=[])
    print(f"source model: {error(frozen, noisy, labels):.1f} %")
    buffers = registry.names("tta.buffers")
    print("| order | method | batch | " + " | ".join(f"`{b}`" for b in buffers) + " |")
    print("|---" * (3 + len(buffers)) + "|")
    for kind in ORDERS:
        order = build("order", kind)
        drawn = [order.indices(count, count, labels, np.random.default_rng(s)) for s in SEEDS]
        for adapter, batch in ROWS:
            options = {"batch": batch, "governor": "always", "metrics": []}
            cells = []
            for buffer in buffers:
                wrong = [
                    error(
                        Stream(model, adapter, buffer=buffer, **options),
                        noisy[items],
                        labels[items],
                    )
                    for items in drawn
                ]
                cells.append(f"{np.mean(wrong):.1f} ± {np.ptp(wrong) / 2:.1f}")
            print(f"| {kind} | {adapter} | {batch} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

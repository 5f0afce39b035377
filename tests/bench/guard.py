"""What the governor is worth: gain over the source model by shift and order, ``python -m tests.bench.guard``.

The demo's 2,000 images, every frame answered at once by what is in force: the governor ``auto`` beside
``always``, by method and buffer. Prints, for each order, the mean gain in points over the shifts and the
worst of them.
"""

from __future__ import annotations

import argparse
from importlib.resources import as_file, files

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Array, Frame
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream
from tta.simulation import build

SHIFTS = (
    "none",
    "gaussian_noise",
    "fog",
    "contrast",
    "defocus_blur",
    "brightness",
    "jpeg_compression",
)
ORDERS = ("iid", "dirichlet:0.1", "dirichlet:0.01", "sorted")


def wrong(stream: Stream, images: Array, labels: Array) -> Array:
    """Which answers of a stream over images in this order are wrong."""
    said = [
        result.prediction.label
        for k, image in enumerate(images)
        for result in advance(stream, Frame(image, k / 30, k))
        if result.prediction
    ]
    return np.array(said) != labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", default="bn_stats,tent,nhl")
    parser.add_argument("--buffer", default="batch")
    parser.add_argument("--governor", default="always,auto")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--orders", default=",".join(ORDERS))
    parser.add_argument("--shifts", default=",".join(SHIFTS))
    given = parser.parse_args()
    demo = files("tta.demo")
    with as_file(demo / "fashion_test.npz") as path, np.load(path) as data:
        images, labels = data["images"][: given.limit], data["labels"][: given.limit]
    with as_file(demo / "fashion.tta") as path:
        model = Model(Bundle(path))
    shifts = given.shifts.split(",")
    shifted = {s: images if s == "none" else corrupt(images, s, 5) for s in shifts}
    right = {}
    for name, x in shifted.items():
        right[name] = ~wrong(Stream(model, "none", metrics=[]), x, labels)
    print("| order | method | buffer | governor | mean gain | " + " | ".join(shifts) + " | worst |")
    print("|---" * (6 + len(shifts)) + "|")
    for kind in given.orders.split(","):
        order = build("order", kind)
        drawn = [
            order.indices(len(labels), len(labels), labels, np.random.default_rng(s))
            for s in range(given.seeds)
        ]
        for adapter in given.adapter.split(","):
            for buffer in given.buffer.split(","):
                for mode in given.governor.split(","):
                    gains = []
                    for name, x in shifted.items():
                        each = []
                        for items in drawn:
                            stream = Stream(
                                model,
                                adapter,
                                batch=given.batch,
                                buffer=buffer,
                                governor=mode,  # type: ignore[arg-type]
                                metrics=[],
                            )
                            ours = ~wrong(stream, x[items], labels[items])
                            each.append(100 * (ours.mean() - right[name][items].mean()))
                        gains.append(float(np.mean(each)))
                    cells = " | ".join(f"{g:+.1f}" for g in gains)
                    print(
                        f"| {kind} | {adapter} | {buffer} | {mode} | {np.mean(gains):+.1f} | "
                        f"{cells} | {min(gains):+.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

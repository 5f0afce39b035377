"""What buffers do: errors on a stream of Fashion-MNIST under noise, in three orders.

``python -m tests.bench.buffers`` prints what docs/buffers.md has. 2,000 test images, each once, answered one
at a time by the committed state; the governor adapts always, so that methods and buffers are seen alone.
Errors in percent, a seed a column; a seed is an order of the same images.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Frame
from tta.runtime.loop import advance
from tta.runtime.stream import Model, Stream
from tta.simulation.orders.dirichlet import Dirichlet
from tta.simulation.orders.iid import Independent
from tta.simulation.orders.sorted import ByClass

ORDERS = {"sorted": ByClass(), "correlated": Dirichlet("0.1"), "iid": Independent()}
METHODS = ("tent", "bn_stats", "nhl")
BUFFERS = (
    "batch?size=16",
    "reservoir",
    "window?size=16&stride=4",
    "reliable",
    "reservoir?capacity=16",
)
SEEDS = (0, 1, 2)


def material(corruption: str = "gaussian_noise", severity: int = 5) -> tuple[np.ndarray, ...]:
    """Corrupted images (N, 28, 28) and their labels."""
    with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
        return corrupt(data["images"], corruption, severity), data["labels"]


def error(
    model: Model, images: np.ndarray, labels: np.ndarray, items: np.ndarray, **options: str
) -> tuple[float, int]:
    """Error in percent on these items one after another, and the commits."""
    stream = Stream(model, governor="always", metrics=[], **options)
    wrong = 0
    for k, item in enumerate(items):
        for result in advance(stream, Frame(images[item], k / 30, k)):
            wrong += result.prediction is None or result.prediction.label != labels[item]
    return 100 * wrong / len(items), stream.counts.commits


def main(orders: str = "", buffers: str = "", methods: str = "") -> None:
    """One line a cell, as soon as it is known."""
    model = Model(Bundle(files("tta.demo") / "fashion.tta"))
    images, labels = material()
    n = len(labels)
    for order in orders.split(",") if orders else ORDERS:
        for method in methods.split(",") if methods else METHODS:
            for buffer in buffers.split(",") if buffers else BUFFERS:
                found = []
                for seed in SEEDS:
                    items = ORDERS[order].indices(n, n, labels, np.random.default_rng(seed))
                    found.append(error(model, images, labels, items, adapter=method, buffer=buffer))
                each = "  ".join(f"{e:5.1f}" for e, _ in found)
                mean = np.mean([e for e, _ in found])
                print(
                    f"{order:10} {method:8} {buffer:24} {mean:5.1f}  ({each})  {found[0][1]} commits",
                    flush=True,
                )


if __name__ == "__main__":
    main(*sys.argv[1:])

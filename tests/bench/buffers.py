"""Errors of methods with each buffer on streams in several class orders: ``python -m tests.bench.buffers``.

The demo's 2,000 images under Gaussian noise of severity 5, each frame answered at once, no governor, three
orders a row. Prints the table of docs/buffers.md, in about five minutes on one core.
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

SEEDS = (0, 1, 2)
ROWS = (("none", 16), ("bn_stats", 16), ("bn_stats", 1), ("tent", 16), ("tent", 1), ("nhl", 16))


def order(kind: str, labels: Array, seed: int) -> Array:
    """Item numbers by chance, in runs of classes (Dirichlet, δ = 0.1), or class by class."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(labels))
    if kind == "iid":
        return mixed
    if kind == "sorted":
        return mixed[np.argsort(labels[mixed], kind="stable")]
    pools = [list(mixed[labels[mixed] == k]) for k in range(10)]
    out: list[int] = []
    while any(pools):
        for k in rng.choice(10, 64, p=rng.dirichlet([0.1] * 10)):
            if pools[k]:
                out.append(int(pools[k].pop()))
    return np.array(out)


def main() -> None:
    demo = files("tta.demo")
    with as_file(demo / "fashion_test.npz") as path, np.load(path) as data:
        images, labels = data["images"], data["labels"]
    noisy = corrupt(images, "gaussian_noise", 5)
    with as_file(demo / "fashion.tta") as path:
        model = Model(Bundle(path))
    buffers = registry.names("tta.buffers")
    print("| order | method | batch | " + " | ".join(buffers) + " |")
    print("|---" * (3 + len(buffers)) + "|")
    for kind in ("iid", "dirichlet 0.1", "sorted"):
        for adapter, batch in ROWS:
            cells = []
            for buffer in buffers:
                pointless = adapter == "none" and buffer != "batch"
                if pointless or (adapter, batch, buffer) == ("tent", 1, "batch"):
                    cells.append("")
                    continue
                wrong = []
                for seed in SEEDS:
                    stream = Stream(
                        model, adapter, batch=batch, buffer=buffer, governor="always", metrics=[]
                    )
                    items = order(kind, labels, seed)
                    said = [
                        result.prediction.label
                        for k, item in enumerate(items)
                        for result in advance(stream, Frame(noisy[item], k / 30, k))
                        if result.prediction
                    ]
                    wrong.append(100 * float(np.mean(np.array(said) != labels[items])))
                cells.append(f"{np.mean(wrong):.1f} ± {np.ptp(wrong) / 2:.1f}")
            print(f"| {kind} | {adapter} | {batch} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

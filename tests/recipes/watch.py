"""Smartwatch series from the PyPI package seglearn: ten people, seven shoulder exercises, 50 Hz.

``python -m tests.recipes.watch watch.npz`` writes the windows of the three people that no model has seen,
in order of time, for streams. ``sh tests/recipes/pip-data.sh`` installs the package.
"""

import argparse

import numpy as np

from tta.runtime.datasets.watch import Watch

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration, rate of turn
LABELS = ("pendulum", "abduction", "forward elevation", "internal rotation", "external rotation",
          "trapezius extension", "upright row")  # fmt: skip
LENGTH, HOP = 100, 50  # two seconds, half of them new
SEEN = range(1, 8)  # people that the model is trained on


def windows(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows (N, 6, 100) in order of time, labels (N,), people (N,).

    Args:
        part: ``train``: the first three quarters of each series of people 1 to 7; ``calibration``: the last
            quarter of the same; ``test``: people 8 to 10.

    Raises:
        SourceError: the package is not installed, or holds another file.
    """
    data = Watch()
    out, labels, people = [], [], []
    for k, (y, person) in enumerate(zip(data.labels, data.subjects)):
        if (person in SEEN) == (part == "test"):
            continue
        at = np.arange(data.lengths[k])
        x = data.read(np.full_like(at, k), at)
        cut = len(x) * 3 // 4
        piece = {"train": x[:cut], "calibration": x[cut:], "test": x}[part]
        for start in range(0, len(piece) - LENGTH + 1, HOP):
            out.append(piece[start : start + LENGTH].T)
            labels.append(y)
            people.append(person)
    return np.stack(out).astype(np.float32), np.array(labels, np.int64), np.array(people, np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    arguments = parser.parse_args()
    data, labels, people = windows("test")
    np.savez_compressed(arguments.out, data=data, labels=labels, people=people)
    print(f"{arguments.out}: {data.shape}, labels {np.bincount(labels)}")


if __name__ == "__main__":
    main()

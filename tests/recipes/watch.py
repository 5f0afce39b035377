"""Smartwatch series from the PyPI package seglearn: ten people, seven shoulder exercises, 50 Hz.

``python -m tests.recipes.watch watch.npz`` writes the windows of the three people that no model has seen,
in order of time, for streams. ``sh tests/recipes/pip-data.sh`` installs the package.
"""

import argparse
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration, rate of turn
LABELS = ("pendulum", "abduction", "forward elevation", "internal rotation", "external rotation",
          "trapezius extension", "upright row")  # fmt: skip
LENGTH, HOP = 100, 50  # two seconds, half of them new
SEEN = range(1, 8)  # people that the model is trained on
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"


def series() -> dict[str, list[np.ndarray] | np.ndarray]:
    """``X``: 140 series (T, 6); ``y``, ``subject`` 1..10, ``side`` 0 left or 1 right: (140,).

    Raises:
        FileNotFoundError: the package is not installed, or the file in it is not the known one.
    """
    found = importlib.util.find_spec("seglearn")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("seglearn is not installed: sh tests/recipes/pip-data.sh")
    file = Path(found.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise FileNotFoundError(
            f"{file} is not the known file, and it is a pickle: it stays closed"
        )
    data: dict[str, list[np.ndarray] | np.ndarray] = np.load(file, allow_pickle=True).item()
    return data


def windows(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows (N, 6, 100) in order of time, labels (N,), people (N,).

    Args:
        part: ``train``: the first three quarters of each series of people 1 to 7; ``calibration``: the last
            quarter of the same; ``test``: people 8 to 10.
    """
    data = series()
    out, labels, people = [], [], []
    for x, y, person in zip(data["X"], data["y"], data["subject"]):
        if (person in SEEN) == (part == "test"):
            continue
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

"""The bundle and the excerpt of ``tta demo --sensor``: ``python -m tests.recipes.make_sensor_demo``.

Needs ``pip install --no-deps seglearn==1.2.5`` (BSD-3): series of an inertial watch, ten people, seven
shoulder exercises, 50 Hz. A small 1-D CNN is trained on seven people; the excerpt is of person 9, bouts
of six seconds in random order, as int16.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.models.sensor_cnn import SensorCNN
from tta.export import to_bundle

SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
LABELS = ("pendulum", "abduction", "forward elevation", "internal rotation", "external rotation",
          "trapezius extension", "upright row")  # fmt: skip
LENGTH, HOP, BOUT, PERSON = 100, 50, 300, 9
STEPS = np.array([1 / 8192] * 3 + [1 / 2048] * 3)  # of an int16: g, and rad/s
DEMO = Path(__file__).parents[2] / "tta" / "demo"


def series():
    """Series (T, 6), labels and people; a pickle, so only the known file is opened."""
    [folder] = importlib.util.find_spec("seglearn").submodule_search_locations
    file = Path(folder) / "data" / "watch_dataset.npy"
    if hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{file} is not the known file: it stays closed")
    data = np.load(file, allow_pickle=True).item()
    return data["X"], data["y"], data["subject"]


def windows(people, begin, end):
    """Windows (N, 6, 100) and labels of a part of each series."""
    found, labels = [], []
    for x, y, person in zip(*series()):
        if person in people:
            piece = x[int(begin * len(x)) : int(end * len(x))]
            for start in range(0, len(piece) - LENGTH + 1, HOP):
                found.append(piece[start : start + LENGTH].T)
                labels.append(y)
    return np.stack(found).astype(np.float32), np.array(labels)


def train(x, y, epochs=12, batch=64):
    """Adam with a one-cycle learning rate."""
    torch.manual_seed(0)
    model = SensorCNN()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: steps * batch].split(batch):
            loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main():
    torch.set_num_threads(1)
    data, labels = windows(range(1, 8), 0, 0.75)
    mean, std = data.mean((0, 2)), data.std((0, 2))

    def normal(x):
        return torch.from_numpy((x - mean[:, None]) / std[:, None])

    model = train(normal(data), torch.from_numpy(labels))
    for name, people, begin in (("calibration", range(1, 8), 0.75), ("new people", (8, 9, 10), 0)):
        x, y = windows(people, begin, 1)
        with torch.no_grad():
            wrong = float((model(normal(x)).argmax(1).numpy() != y).mean())
        print(f"error on {name}: {100 * wrong:.1f} % of {len(y)} windows")
    samples = normal(windows(range(1, 8), 0.75, 1)[0])
    preprocess = {"kind": "window", "channels": 6, "length": LENGTH, "hop": HOP}
    preprocess |= {
        "mean": [float(f"{v:.6g}") for v in mean],
        "std": [float(f"{v:.6g}") for v in std],
    }
    to_bundle(
        model,
        samples[:4],
        str(DEMO / "watch.tta"),
        samples=samples.numpy(),
        labels=list(LABELS),
        preprocess=preprocess,
        overwrite=True,
    )
    bouts = [
        (x[at : at + BOUT], y)
        for x, y, person in zip(*series())
        if person == PERSON
        for at in range(0, min(len(x), 5 * BOUT) - BOUT + 1, BOUT)
    ]
    order = np.random.default_rng(0).permutation(len(bouts))
    readings = np.concatenate([bouts[k][0] for k in order])
    whole = np.rint(readings / STEPS)
    assert np.abs(whole).max() < 32768
    np.savez_compressed(
        DEMO / "watch_excerpt.npz",
        samples=whole.astype(np.int16),
        labels=np.repeat([bouts[k][1] for k in order], BOUT).astype(np.uint8),
        steps=STEPS,
    )


if __name__ == "__main__":
    main()

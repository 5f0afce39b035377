"""Train and export the smartwatch model: ``python -m tests.recipes.make_watch_bundle watch.tta``.

Trained on three quarters of each series of seven people, in a few seconds; calibrated with the last quarters.
Three people are left for streams (``python -m tests.recipes.watch watch.npz``): a new person is a shift by
itself.
"""

import argparse

import numpy as np
import torch
from torch import nn

from tests.models.sensor_cnn import SensorCNN
from tests.recipes.describe_bundle import say
from tests.recipes.watch import HOP, LABELS, LENGTH, windows
from tta.export import to_bundle


def train(x: torch.Tensor, y: torch.Tensor, epochs: int = 12, batch: int = 64) -> nn.Module:
    """Adam with a one-cycle learning rate on (N, 6, 100) and (N,)."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--explain", action="store_true", help="graphs for tta explain as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, labels, _ = windows("train")
    mean, std = data.mean((0, 2)), data.std((0, 2))

    def normal(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((x - mean[:, None]) / std[:, None])

    model = train(normal(data), torch.from_numpy(labels))
    for part in ("calibration", "test"):
        x, y, _ = windows(part)
        with torch.no_grad():
            wrong = float((model(normal(x)).argmax(1) != torch.from_numpy(y)).float().mean())
        print(f"error on {part}: {100 * wrong:.1f} % of {len(y)} windows")
    held, targets, _ = windows("calibration")
    samples = normal(held)
    exported = to_bundle(
        model,
        samples[:4],
        arguments.out,
        samples=samples.numpy(),
        labels=LABELS,
        preprocess={
            "kind": "window",
            "channels": 6,
            "length": LENGTH,
            "hop": HOP,
            "mean": [float(f"{v:.6g}") for v in mean],
            "std": [float(f"{v:.6g}") for v in std],
        },
        overwrite=True,
        explain=arguments.explain,
        targets=targets,
    )
    say(exported, len(samples))


if __name__ == "__main__":
    main()

"""Train the models of ``tests/models/tasks.py``: ``python -m tests.recipes.train_tasks [task ...]``.

Scenes and single things are of the training images of Fashion-MNIST (Debian package
``dataset-fashion-mnist``) but for those held out for calibration; windows are of the smartwatch
recordings. Each takes one to three minutes on one core. Weights are kept as float16.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models import tasks
from tests.recipes.scenes import SIZE, scenes
from tests.recipes.train_fashion import augmented, split

DRAWN = 6000  # scenes; each epoch sees them mirrored or not


def fit(model, batches, loss, epochs, peak=4e-3, batch=64, augment=None):
    """AdamW with a one-cycle learning rate on tensors of one length."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), peak, weight_decay=1e-2)
    steps = len(batches[0]) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=epochs * steps)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(batches[0]), generator=generator)[: steps * batch].split(
            batch
        ):
            parts = [b[chosen] for b in batches]
            if augment is not None:
                parts = augment(*parts)
            value = loss(model(parts[0]), *parts[1:])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}", flush=True)
    return model.eval()


def drawn():
    """Training scenes."""
    return scenes(*split("train"), DRAWN, seed=0)


def segment():
    """Cross-entropy and soft dice, since dice alone counts small objects like large ones."""
    made = drawn()
    x, y = tasks.prepared(made.images), torch.from_numpy(made.masks.astype(np.int64))

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        p = logits.softmax(1)[:, 1:]
        t = nn.functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].float()
        dice = (2 * (p * t).sum((2, 3)) + 1) / ((p + t).sum((2, 3)) + 1)
        return nn.functional.cross_entropy(logits, target) + 1 - dice.mean()

    return fit(tasks.Segmenter(), (x, y), loss, 6, augment=mirrored)


def detect():
    """Focal loss of the classes at the cell of each middle, and 1 - IoU of its box."""
    made = drawn()
    x = tasks.prepared(made.images)
    boxes = torch.from_numpy(made.boxes)
    cells = SIZE // tasks.CELL

    def loss(out: Tensor, target: Tensor) -> Tensor:
        there = target[..., 4] >= 0
        frame, k = there.nonzero(as_tuple=True)
        true = target[frame, k]
        middle = (true[:, :2] + true[:, 2:4]) / 2
        cell = (middle[:, 1] // tasks.CELL).long() * cells + (middle[:, 0] // tasks.CELL).long()
        wanted = torch.zeros_like(out[..., 4:])
        wanted[frame, cell, true[:, 4].long()] = 1
        z = out[..., 4:]
        plain = nn.functional.binary_cross_entropy_with_logits(z, wanted, reduction="none")
        focal = (plain * (1 - (-plain).exp()) ** 2).sum() / max(1, len(true))
        mine = out[frame, cell]
        low, high = mine[:, :2] - mine[:, 2:4] / 2, mine[:, :2] + mine[:, 2:4] / 2
        inside = (torch.minimum(high, true[:, 2:4]) - torch.maximum(low, true[:, :2])).clamp(min=0)
        both = inside.prod(1)
        union = mine[:, 2:4].prod(1) + (true[:, 2:4] - true[:, :2]).prod(1) - both
        near = (middle - mine[:, :2]).abs().mean() / tasks.CELL
        return focal + (1 - both / union).mean() + 0.5 * near

    return fit(tasks.Detector(), (x, boxes), loss, 14)


def multilabel():
    """Binary cross-entropy."""
    made = drawn()
    x, y = tasks.prepared(made.images), torch.from_numpy(made.classes.astype(np.float32))
    return fit(
        tasks.Labeller(),
        (x, y),
        nn.functional.binary_cross_entropy_with_logits,
        14,
        augment=mirrored,
    )


def embed():
    """Cross-entropy of the cosines to ten learned directions, at a fixed temperature."""
    images, labels = split("train")
    generator = torch.Generator().manual_seed(1)
    chosen = np.random.default_rng(0).permutation(len(images))[:20000]
    x, y = tasks.prepared(images[chosen]), torch.from_numpy(labels[chosen].astype(np.int64))
    model = tasks.Embedder()
    model.directions = nn.Parameter(torch.randn(10, 32))

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(
            10 * out @ nn.functional.normalize(model.directions).T, target
        )

    def moved(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return augmented(a, generator), b

    fit(model, (x, y), loss, 6, batch=128, augment=moved)
    del model.directions
    return model


def regress():
    """Mean absolute error."""
    x, y = tasks.turning("train")
    mean, std = tasks.turning_scale()
    x = torch.from_numpy(((x - mean[:, None]) / std[:, None]).astype(np.float32))
    target = torch.from_numpy(y)[:, None]
    return fit(tasks.Regressor(), (x, target), nn.functional.l1_loss, 40)


def mirrored(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the batches mirrored; a map of classes goes with them."""
    if torch.rand(1) < 0.5:
        return x, y
    return x.flip(-1), y.flip(-1) if y.ndim == 3 else y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = ("segment", "regress", "embed", "multilabel", "detect")
    parser.add_argument("tasks", nargs="*", default=known)
    parser.add_argument("--seed", type=int, default=0, help="of the first weights (default 0)")
    parser.add_argument("--folder", type=Path, default=tasks.RECIPES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.tasks:
        torch.manual_seed(given.seed)
        model = globals()[name]()
        path = given.folder / f"task_{name}.safetensors"
        state = {
            k: v.half().contiguous() for k, v in model.state_dict().items() if v.is_floating_point()
        }
        save_file(state, path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB", flush=True)


if __name__ == "__main__":
    main()

"""Train the demo's source model on Fashion-MNIST: ``python -m tests.recipes.train_fashion``.

The data are the Debian package ``dataset-fashion-mnist``. Pictures are moved and mirrored, but on
purpose not made noisy or dim: in the field too, the shift is one that training did not foresee.
About a minute an epoch on one CPU core.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.fashion import CHECKPOINT, FashionNet, preprocess

DATA = Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = 512  # training images that calibration uses and that training therefore must not see


def read_idx(name: str) -> np.ndarray:
    """One gzipped IDX file of bytes: two zero bytes, type, rank, then big-endian sizes."""
    raw = gzip.decompress((DATA / f"{name}-ubyte.gz").read_bytes())
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def split(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) and labels (N,) of ``train``, ``calibration`` or ``test``."""
    prefix = "t10k" if part == "test" else "train"
    images, labels = read_idx(f"{prefix}-images-idx3"), read_idx(f"{prefix}-labels-idx1")
    if part == "test":
        return images, labels
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[:HELD_OUT] if part == "calibration" else order[HELD_OUT:]
    return images[chosen], labels[chosen]


def augmented(x: Tensor, generator: torch.Generator, reach: int = 2) -> Tensor:
    """Each image moved by up to ``reach`` pixels and mirrored with probability 1/2."""
    n, _, h, w = x.shape
    padded = nn.functional.pad(x, [reach] * 4, value=float(x.min()))
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator)
    columns = left + torch.arange(w)
    mirrored = torch.rand((n, 1), generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    rows = top + torch.arange(h)
    return padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None]][:, None]


@torch.no_grad()
def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of wrong answers."""
    model.eval()
    wrong = sum(int((model(a).argmax(1) != b).sum()) for a, b in zip(x.split(500), y.split(500)))
    return wrong / len(y)


def train(epochs: int, batch: int = 128, peak: float = 0.15) -> FashionNet:
    """SGD with Nesterov momentum and a one-cycle learning rate."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images, labels = split("train")
    x, y = preprocess(images), torch.from_numpy(labels.astype(np.int64))
    model = FashionNet().to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": free}],
        lr=peak,
        momentum=0.9,
        nesterov=True,
    )
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=epochs * steps, pct_start=0.25, cycle_momentum=False
    )
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(x), generator=generator)[: steps * batch].split(batch):
            loss = nn.functional.cross_entropy(model(augmented(x[chosen], generator)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}", flush=True)
    return model


def main() -> None:
    """Train, save the checkpoint, say the clean test error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = train(arguments.epochs)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, arguments.out)
    images, labels = split("test")
    wrong = error(model, preprocess(images), torch.from_numpy(labels.astype(np.int64)))
    print(f"clean test error {100 * wrong:.2f} % ({arguments.out.name})")


if __name__ == "__main__":
    main()

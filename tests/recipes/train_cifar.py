"""Train a CIFAR-10 source model: ``TTA_DATA=… python -m tests.recipes.train_cifar``.

The data are a copy of CIFAR-10 as JPEG files (quality 75), so the model has seen JPEG's traces. Pictures are
moved and mirrored, but on purpose not made noisy or dim: in the field too, the shift is one that training did
not foresee. About a minute an epoch on one CPU core; 19.4 % error on the test images after twelve. ResNet-20
takes two minutes an epoch there; the committed one was trained on a GPU in four minutes, 10.3 % error, by
``--model resnet20 --epochs 240 --batch 512 --peak 0.6 --erase 12 --device cuda``.
"""

import argparse
import io
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models import cifar, resnet20
from tests.models.cifar import preprocess

MODELS = {
    "cifarnet": (cifar.CifarNet, cifar.CHECKPOINT),
    "resnet20": (resnet20.ResNet, resnet20.CHECKPOINT),
}
HELD_OUT = 4096  # training images that calibration uses and that training therefore must not see


def read_jpegs(
    name: str, crop: int | None = None, stop: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) and labels (N,) of one npz of JPEG files, all bytes in a row with offsets.

    Images of different sizes need a ``crop``: the side of a square in the middle. ``stop``: the first only.
    """
    with np.load(Path(os.environ["TTA_DATA"]) / f"{name}.npz") as z:
        data, offsets, labels = z["data"].tobytes(), z["offsets"], z["labels"][:stop]
    pairs = list(pairwise(offsets))[:stop]
    images = [np.asarray(Image.open(io.BytesIO(data[a:b])).convert("RGB")) for a, b in pairs]
    if crop is not None:
        corners = [((i.shape[0] - crop) // 2, (i.shape[1] - crop) // 2) for i in images]
        images = [i[a : a + crop, b : b + crop] for i, (a, b) in zip(images, corners)]
    return np.stack(images), labels.astype(np.int64)


def split(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,) of ``train``, ``calibration`` or ``test``."""
    if part == "test":
        return read_jpegs("cifar10_test_jpeg")
    images, labels = read_jpegs("cifar10_train_jpeg")
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[:HELD_OUT] if part == "calibration" else order[HELD_OUT:]
    return images[chosen], labels[chosen]


def augmented(x: Tensor, generator: torch.Generator, reach: int = 4) -> Tensor:
    """Each image of (N, C, H, W) moved by up to ``reach`` pixels and mirrored with probability 1/2."""
    n, _, h, w = x.shape
    padded = nn.functional.pad(x, [reach] * 4, mode="reflect").permute(0, 2, 3, 1)
    drawn = {"generator": generator, "device": x.device}
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1), **drawn)
    count = partial(torch.arange, device=x.device)
    columns = left + count(w)
    mirrored = torch.rand((n, 1), **drawn) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    rows = top + count(h)
    moved = padded[count(n)[:, None, None], rows[:, :, None], columns[:, None]]
    return moved.permute(
        0, 3, 1, 2
    )  # in channels_last order, which convolutions on a CPU like best


def erased(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Each image of (N, C, H, W) with a square of that side set to zero, the mean of preprocessed pixels.

    After DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout" (2017):
    the centre is anywhere, so a square may reach over the edge. A side of 0 erases nothing.
    """
    n, _, h, w = x.shape
    hit = []
    for extent in (h, w):
        first = torch.randint(0, extent, (n, 1), generator=generator, device=x.device) - side // 2
        at = torch.arange(extent, device=x.device)
        hit.append((at >= first) & (at < first + side))
    return x.masked_fill((hit[0][:, :, None] & hit[1][:, None, :])[:, None], 0.0)


@torch.no_grad()
def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of wrong answers."""
    model.eval()
    wrong = sum(int((model(a).argmax(1) != b).sum()) for a, b in zip(x.split(500), y.split(500)))
    return wrong / len(y)


def train(
    make: Callable[[], nn.Module],
    epochs: int,
    batch: int = 128,
    peak: float = 0.2,
    device: str = "cpu",
    decay: float = 5e-4,
    smoothing: float = 0.0,
    erase: int = 0,
) -> nn.Module:
    """SGD with Nesterov momentum and a one-cycle learning rate; the model comes back on the CPU."""
    torch.manual_seed(0)
    generator = torch.Generator(device).manual_seed(0)
    images, labels = split("train")
    x, y = preprocess(images).to(device), torch.from_numpy(labels).to(device)
    model = make().to(device, memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": decay}, {"params": free}],
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
        total, start = torch.zeros((), device=device), time.process_time()
        order = torch.randperm(len(x), generator=generator, device=device)
        for chosen in order[: steps * batch].split(batch):
            given = erased(augmented(x[chosen], generator), erase, generator)
            loss = nn.functional.cross_entropy(model(given), y[chosen], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean, spent = total.item() / steps, time.process_time() - start
        print(f"epoch {epoch + 1}/{epochs}: loss {mean:.3f}, {spent:.0f} CPU s", flush=True)
    return model.cpu()


def main() -> None:
    """Train, save the checkpoint, say the clean test error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="cifarnet")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peak", type=float, default=0.2, help="largest learning rate")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--decay", type=float, default=5e-4, help="of weights, not of norms")
    parser.add_argument("--smoothing", type=float, default=0.0, help="of labels")
    parser.add_argument("--erase", type=int, default=0, help="side of a square put to the mean")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make, checkpoint = MODELS[arguments.model]
    out = arguments.out or checkpoint
    given = vars(arguments)
    model = train(make, **{k: v for k, v in given.items() if k not in ("model", "out")})
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out)
    for part in ("calibration", "test"):  # options are to be chosen by the first
        images, labels = split(part)
        wrong = error(model, preprocess(images), torch.from_numpy(labels))
        print(f"clean {part} error {100 * wrong:.2f} % ({out.name})", flush=True)


if __name__ == "__main__":
    main()

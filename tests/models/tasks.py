"""One small trained model for each task but classification, with its committed weights.

``python -m tests.recipes.train_tasks`` makes them. A factory returns what ``tta export`` takes: the model, an
example, and the options with task, labels, preprocessing and calibration samples.
"""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.models.fashion import CALIBRATION, DRIFT, MEAN, STD, Block
from tests.recipes.scenes import GROUPS, SIZE, scenes
from tests.recipes.watch import windows

RECIPES = Path(__file__).parents[1] / "recipes"
CLASSES = (
    "t-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
CELL = 8  # pixels of the detector's grid
SAMPLES = 512  # calibration scenes
Made = tuple[nn.Module, Tensor, dict[str, Any]]


def double(width_in: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with its norm."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class Segmenter(nn.Module):
    """A U-Net of three levels: (N, 1, 48, 48) to class logits (N, 4, 48, 48)."""

    def __init__(
        self, widths: tuple[int, int, int] = (12, 24, 48), classes: int = len(GROUPS)
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.down1, self.down2, self.bottom = double(1, a), double(a, b), double(b, c)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.join2 = nn.ConvTranspose2d(c, b, 2, 2), double(2 * b, b)
        self.up1, self.join1 = nn.ConvTranspose2d(b, a, 2, 2), double(2 * a, a)
        self.head = nn.Conv2d(a, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(self.pool(one))
        y = self.bottom(self.pool(two))
        y = self.join2(torch.cat([self.up2(y), two], 1))
        y = self.join1(torch.cat([self.up1(y), one], 1))
        out: Tensor = self.head(y)
        return out


class Backbone(nn.Module):
    """Stem and three residual blocks: (N, 1, 48, 48) to (N, 48, 6, 6)."""

    def __init__(self, widths: tuple[int, ...] = (12, 24, 32, 48)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*[Block(a, b, 2) for a, b in pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.stem(x))
        return out


class Detector(nn.Module):
    """One box a cell of 8 x 8 pixels: (N, 1, 48, 48) to (N, 36, 4 + 3), middle, size, class logits."""

    grid: Tensor

    def __init__(self, classes: int = len(GROUPS) - 1) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Conv2d(48, 4 + classes, 1)
        cells = SIZE // CELL
        y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], -1).reshape(1, -1, 2).float())

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.backbone(x)).flatten(2).transpose(1, 2)
        middle = (self.grid + torch.sigmoid(y[..., :2])) * CELL
        size = torch.sigmoid(y[..., 2:4]) * SIZE
        return torch.cat([middle, size, y[..., 4:]], -1)


class Labeller(nn.Module):
    """Which of ten classes are there: (N, 1, 48, 48) to (N, 10)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.pool(self.backbone(x)).flatten(1))
        return out


class Embedder(nn.Module):
    """Unit vectors of single things: (N, 1, 28, 28) to (N, 32)."""

    def __init__(self, size: int = 32, widths: tuple[int, ...] = (12, 24, 48)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*[Block(a, b, 2) for a, b in pairwise(widths)])
        self.head = nn.Linear(widths[-1], size)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        out: Tensor = nn.functional.normalize(y)
        return out


class Regressor(nn.Module):
    """How fast a wrist turns, from its acceleration alone: (N, 3, 100) to (N, 1), in rad/s."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in in (3, width, width):
            layers += [
                nn.Conv1d(width_in, width, 5, padding=2, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.MaxPool1d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x).mean(2))
        return out


def prepared(images: np.ndarray) -> Tensor:
    """``(N, H, W)`` uint8 to the model's input ``(N, 1, H, W)``."""
    x = torch.from_numpy(images.astype(np.float32))[:, None]
    return (x / 255 - MEAN) / STD


def turning(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows of acceleration ``(N, 3, 100)`` and root mean square of the rate of turn ``(N,)``."""
    data, _, _ = windows(part)
    return data[:, :3], np.sqrt((data[:, 3:] ** 2).sum(1).mean(1)).astype(np.float32)


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Training images ``(3072, 28, 28)`` that no model here has seen, and their classes."""
    found = []
    for path in (CALIBRATION, DRIFT):
        with np.load(path) as data:
            found.append((data["images"], data["labels"]))
    images, labels = (np.concatenate(parts) for parts in zip(*found))
    return images, labels


IMAGE = {"kind": "image", "channels": 1, "layout": "CHW", "colour": "GRAY", "scale": 1 / 255,
         "mean": [MEAN], "std": [STD]}  # fmt: skip


def load(model: nn.Module, name: str) -> nn.Module:
    """The model with its weights: the committed ones, or of the folder ``$TASK_MODELS``."""
    folder = Path(os.environ.get("TASK_MODELS", RECIPES))
    state = load_file(folder / f"task_{name}.safetensors")
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return model.eval()


def _scene(model: nn.Module, name: str, truth: str, labels: tuple[str, ...]) -> Made:
    drawn = scenes(*held_out(), SAMPLES, seed=1)
    x = prepared(drawn.images)
    options = {
        "task": name,
        "labels": labels,
        "preprocess": IMAGE,
        "samples": x.numpy(),
        "targets": getattr(drawn, truth),
    }
    return load(model, name), x[:4], options


def segment() -> Made:
    """The segmenter."""
    return _scene(Segmenter(), "segment", "masks", GROUPS)


def detect() -> Made:
    """The detector."""
    return _scene(Detector(), "detect", "boxes", GROUPS[1:])


def multilabel() -> Made:
    """The labeller."""
    return _scene(Labeller(), "multilabel", "classes", CLASSES)


def embed() -> Made:
    """The embedder; its gallery are held-out training images."""
    images, labels = held_out()
    x = prepared(images[:1024])
    options = {
        "task": "embed",
        "labels": CLASSES,
        "preprocess": IMAGE,
        "samples": x.numpy(),
        "targets": labels[:1024].astype(np.int64),
    }
    return load(Embedder(), "embed"), x[:4], options


def regress() -> Made:
    """The regressor.

    Raises:
        SourceError: the package with the recordings is not installed.
    """
    x, y = turning("calibration")
    mean, std = turning_scale()
    samples = ((x - mean[:, None]) / std[:, None]).astype(np.float32)
    options = {
        "task": "regress",
        "labels": ("turn_rad_s",),
        "preprocess": {"kind": "window", "channels": 3, "length": 100, "hop": 50,
                       "mean": mean.tolist(), "std": std.tolist()},
        "samples": samples,
        "targets": y[:, None],
    }  # fmt: skip
    return load(Regressor(), "regress"), torch.from_numpy(samples[:4]), options


def turning_scale() -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of the training windows' channels, ``(3,)`` each."""
    x, _ = turning("train")
    return x.mean((0, 2)), x.std((0, 2))

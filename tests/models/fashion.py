"""The demo's source model: a residual net for Fashion-MNIST, with its committed weights.

``python -m tests.recipes.train_fashion`` makes the checkpoint.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

RECIPES = Path(__file__).parents[1] / "recipes"
CHECKPOINT = RECIPES / "fashion.safetensors"
CALIBRATION = RECIPES / "fashion_calibration.npz"
DRIFT = RECIPES / "fashion_drift.npz"
MEAN, STD = 0.2860, 0.3530  # of the training pixels, scaled to 0..1


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, a projection where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + self.shortcut(x))
        return out


class FashionNet(nn.Module):
    """Stem and two residual blocks, 73 k parameters, for (N, 1, 28, 28); returns (N, 10) logits.

    The stem convolution has no bias and a BatchNorm behind it, so it can become Hebbian.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64), classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, widths[0], 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.stages = nn.Sequential(*[Block(a, b, 2) for a, b in pairwise(widths)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.pool(self.stages(x)).flatten(1)
        out: Tensor = self.head(x)
        return out


def preprocess(images: np.ndarray) -> Tensor:
    """(N, 28, 28) uint8 to the model's input, (N, 1, 28, 28) float32."""
    x = torch.from_numpy(images.astype(np.float32))[:, None]
    return (x / 255 - MEAN) / STD


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The trained model and four images that it has not seen; the seed chooses the images."""
    with torch.random.fork_rng(devices=[]):
        model = FashionNet()
    model.load_state_dict(load_file(CHECKPOINT))
    with np.load(CALIBRATION) as data:
        images = data["images"]
    chosen = np.random.default_rng(seed).choice(len(images), 4, replace=False)
    return model.eval(), preprocess(images[chosen])

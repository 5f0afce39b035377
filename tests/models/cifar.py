"""The CIFAR-10 source model: an eight-layer residual net, with its committed weights.

``python -m tests.recipes.train_cifar`` makes the checkpoint.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.models.fashion import Block

CHECKPOINT = Path(__file__).parents[1] / "recipes" / "cifar.safetensors"
MEAN = (0.4914, 0.4822, 0.4465)  # of the training pixels, scaled to 0..1
STD = (0.2470, 0.2435, 0.2616)
LABELS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class CifarNet(nn.Module):
    """Stem and three residual blocks, 78 k parameters, for (N, 3, 32, 32); returns (N, 10) logits.

    After the residual nets of He et al. 2016, section 4.2, with n = 1.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64), classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        ins = (widths[0], *widths[:-1])
        strides = (1, *[2] * (len(widths) - 1))
        self.stages = nn.Sequential(*[Block(a, b, s) for a, b, s in zip(ins, widths, strides)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.pool(self.stages(x)).flatten(1)
        out: Tensor = self.head(x)
        return out


def preprocess(images: np.ndarray) -> Tensor:
    """(N, 32, 32, 3) uint8 RGB to the model's input, (N, 3, 32, 32) float32."""
    x = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The trained model and four inputs of its size."""
    with torch.random.fork_rng(devices=[]):
        model = CifarNet()
        torch.manual_seed(seed)
        example = torch.randn(4, 3, 32, 32)
    model.load_state_dict(load_file(CHECKPOINT))
    return model.eval(), example

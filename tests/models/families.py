"""Small nets of the families that no other file here has: a few blocks each, (N, 3, 32, 32) in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models import prepared


def norm_conv(
    i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    conv = nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o), nn.ReLU() if act else nn.Identity())


class Squeeze(nn.Module):
    """Squeeze and excitation (Hu et al., 2018)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    """x + block(x)."""

    def __init__(self, *block: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*block)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Shuffle(nn.Module):
    """ShuffleNetV2's unit: half of the channels pass, then two groups are interleaved."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(
            norm_conv(h, h, 1), norm_conv(h, h, 3, g=h, act=False), norm_conv(h, h, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        y = torch.cat([a, self.branch(b)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Ghost(nn.Module):
    """GhostNet's module: half of the maps by a cheap depthwise convolution of the other half."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.own, self.cheap = norm_conv(i, o // 2, 1), norm_conv(o // 2, o // 2, 3, g=o // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.own(x)
        return torch.cat([y, self.cheap(y)], 1)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, LayerNorm over channels, two linear layers with GELU, layer scale."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(c, c, 7, padding=3, groups=c), nn.LayerNorm(c)
        self.up, self.down = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.scale = nn.Parameter(torch.full((c,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class Temporal(nn.Module):
    """TCN's block: dilated convolutions over time with a residual."""

    def __init__(self, c: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(c, c, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(c)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.norm(self.conv(x)))


class Classifier(nn.Module):
    """Blocks, global mean, linear layer."""

    def __init__(self, c: int, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(x)
        return self.head(y.mean(tuple(range(2, y.ndim))))


class UNet(nn.Module):
    """One level down and up with a skip, pooled to scores: the operators of a segmenter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = norm_conv(3, 8), norm_conv(8, 16)
        self.up, self.c = nn.ConvTranspose2d(16, 8, 2, 2), norm_conv(16, 8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        y = torch.cat([a, self.up(self.b(F.max_pool2d(a, 2)))], 1)
        return self.head(self.c(y).mean((2, 3)))


FAMILIES = {
    "mobilenet_v1": lambda: Classifier(
        16, norm_conv(3, 8, s=2), norm_conv(8, 8, g=8), norm_conv(8, 16, 1), norm_conv(16, 16, g=16)
    ),
    "mobilenet_v3": lambda: Classifier(
        16,
        norm_conv(3, 16, s=2),
        Residual(
            norm_conv(16, 32, 1), norm_conv(32, 32, 5, g=32), nn.Hardswish(), Squeeze(32),
            norm_conv(32, 16, 1, act=False),
        ),
        nn.Hardswish(),
    ),
    "resnext": lambda: Classifier(
        16, norm_conv(3, 16, s=2),
        Residual(norm_conv(16, 16, 1), norm_conv(16, 16, g=4), norm_conv(16, 16, 1, act=False)),
        nn.ReLU(),
    ),
    "regnet": lambda: Classifier(
        16, norm_conv(3, 16, s=2),
        Residual(norm_conv(16, 16, g=2), Squeeze(16), norm_conv(16, 16, 1, act=False)), nn.ReLU(),
    ),
    "shufflenet": lambda: Classifier(
        16, norm_conv(3, 16, s=2), nn.MaxPool2d(3, 2, 1), Shuffle(16), Shuffle(16)
    ),
    "ghostnet": lambda: Classifier(16, norm_conv(3, 8, s=2), Ghost(8, 16), Ghost(16, 16)),
    "convnext": lambda: Classifier(16, nn.Conv2d(3, 16, 4, 4), ConvNeXtBlock(16), ConvNeXtBlock(16)),
    "unet": UNet,
    "tcn": lambda: Classifier(8, nn.Conv1d(6, 8, 1), Temporal(8, 1), Temporal(8, 2), Temporal(8, 4)),
}  # fmt: skip


def factory(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The net of that family and its example."""
    return prepared(FAMILIES[name], (6, 40) if name == "tcn" else (3, 32, 32), seed)

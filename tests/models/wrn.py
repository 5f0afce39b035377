"""Pre-activation wide residual nets (Zagoruyko & Komodakis, "Wide Residual Networks", 2016).

Names of layers are those of the CIFAR checkpoints in circulation (xternalz, AugMix, RobustBench).
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from tests.models import prepared


class BasicBlock(nn.Module):
    """Norm, ReLU, convolution, twice; a projecting shortcut starts behind the first ReLU."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.convShortcut: nn.Module | None = None
        if width_in != width:
            self.convShortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(y)
        return shortcut + self.conv2(self.relu2(self.bn2(self.conv1(y))))


class NetworkBlock(nn.Module):
    """The blocks of one width."""

    def __init__(self, blocks: int, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        rest = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(BasicBlock(width_in, width, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideResNet(nn.Module):
    """WRN-``depth``-``widen``; (N, 3, 32, 32) to (N, classes)."""

    def __init__(self, depth: int = 16, widen: int = 1, classes: int = 10) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest:
            raise ValueError(f"the depth of a WideResNet is 6 n + 4, but this one is {depth}")
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = NetworkBlock(blocks, widths[0], widths[1], 1)
        self.block2 = NetworkBlock(blocks, widths[1], widths[2], 2)
        self.block3 = NetworkBlock(blocks, widths[2], widths[3], 2)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(avg_pool2d(self.relu(self.bn1(x)), 8).flatten(1))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """WRN-16-1, 0.18 M parameters."""
    return prepared(WideResNet, (3, 32, 32), seed)


def wrn_40_2(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """WRN-40-2, 2.2 M parameters: the model of the CIFAR benchmarks."""
    return prepared(lambda: WideResNet(40, 2), (3, 32, 32), seed)

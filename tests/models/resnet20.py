"""ResNet-20 for CIFAR (He et al., "Deep Residual Learning for Image Recognition", 2016, 4.2).

The recipe of the committed checkpoint is in ``tests.recipes.train_cifar``.
"""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from tests.models import prepared

CHECKPOINT = Path(__file__).parents[1] / "recipes" / "cifar_resnet20.safetensors"


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, a projection where the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or width_in != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)


class ResNet(nn.Module):
    """Three stages of ``blocks`` blocks, 16, 32 and 64 wide; (N, 3, 32, 32) to (N, classes)."""

    def __init__(self, blocks: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, 1, blocks)
        self.layer2 = self._stage(16, 32, 2, blocks)
        self.layer3 = self._stage(32, 64, 2, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    @staticmethod
    def _stage(width_in: int, width: int, stride: int, blocks: int) -> nn.Sequential:
        rest = [Block(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(Block(width_in, width, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """ResNet-20, 0.27 M parameters."""
    return prepared(ResNet, (3, 32, 32), seed)


def trained(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The same with the weights trained on CIFAR-10."""
    model, example = factory(seed)
    model.load_state_dict(load_file(CHECKPOINT))
    return model.eval(), example

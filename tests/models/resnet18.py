"""ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", 2016, table 1).

Names of layers are torchvision's, so its checkpoints load.
"""

from torch import Tensor, nn

from tests.models import prepared
from tests.models.resnet20 import Block


class ResNet18(nn.Module):
    """Four stages of two blocks; (N, 3, H, W) to (N, classes), H and W best multiples of 32."""

    def __init__(self, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(width, width, 1), Block(width, width, 1))
        self.layer2 = self._stage(2 * width)
        self.layer3 = self._stage(4 * width)
        self.layer4 = self._stage(8 * width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, classes)

    @staticmethod
    def _stage(width: int) -> nn.Sequential:
        return nn.Sequential(Block(width // 2, width, 2), Block(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A small one: 16 wide, 64 pixels, 10 classes."""
    return prepared(lambda: ResNet18(16, 10), (3, 64, 64), seed)


def full(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The ImageNet model: 224 pixels, 1000 classes, 11.7 M parameters."""
    return prepared(ResNet18, (3, 224, 224), seed, settle=8)

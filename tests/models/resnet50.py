"""ResNet-50 (He et al., "Deep Residual Learning for Image Recognition", 2016, table 1 and fig. 5 right).

The stride is in the 3x3 convolution and names of layers are torchvision's, so its checkpoints load.
"""

from torch import Tensor, nn

from tests.models import prepared


class Bottleneck(nn.Module):
    """1x1 down to ``width`` channels, 3x3, 1x1 up to four times as many, and a shortcut."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or width_in != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(y + shortcut)


class ResNet50(nn.Module):
    """Stages of 3, 4, 6 and 3 bottlenecks; (N, 3, H, W) to (N, classes), H and W best multiples of 32."""

    def __init__(
        self, width: int = 64, classes: int = 1000, blocks: tuple[int, ...] = (3, 4, 6, 3)
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width_in, stages = width, []
        for k, count in enumerate(blocks):
            inner = width * 2**k
            first = Bottleneck(width_in, inner, 1 if k == 0 else 2)
            stages.append(
                nn.Sequential(first, *(Bottleneck(4 * inner, inner, 1) for _ in range(count - 1)))
            )
            width_in = 4 * inner
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A small one: 8 wide, one block a stage, 64 pixels, 10 classes."""
    return prepared(lambda: ResNet50(8, 10, (1, 1, 1, 1)), (3, 64, 64), seed)


def full(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The ImageNet model: 224 pixels, 1000 classes, 25.6 M parameters."""
    return prepared(ResNet50, (3, 224, 224), seed, settle=8)

"""MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018).

Names of layers are torchvision's, so its checkpoints load.
"""

from torch import Tensor, nn

from tests.models import prepared

STAGES = (  # expansion, width, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def divisible(width: float) -> int:
    """The multiple of 8 nearest to a width, never 10 % below it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8


def conv_norm_relu6(
    width_in: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow without ReLU; a shortcut where the shape stays."""

    def __init__(self, width_in: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = width_in * expansion
        self.residual = stride == 1 and width_in == width
        self.conv = nn.Sequential(
            *([conv_norm_relu6(width_in, hidden, 1)] if expansion != 1 else []),
            conv_norm_relu6(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """(N, 3, H, W) to (N, classes); H and W are best multiples of 32."""

    def __init__(self, multiplier: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        width, last = divisible(32 * multiplier), divisible(1280 * max(1.0, multiplier))
        features: list[nn.Module] = [conv_norm_relu6(3, width, 3, 2)]
        for expansion, nominal, blocks, stride in STAGES:
            for i in range(blocks):
                wider = divisible(nominal * multiplier)
                features.append(InvertedResidual(width, wider, stride if i == 0 else 1, expansion))
                width = wider
        features.append(conv_norm_relu6(width, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A small one: width 0.35, 64 pixels, 10 classes."""
    return prepared(lambda: MobileNetV2(0.35, 10), (3, 64, 64), seed)


def full(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The ImageNet model: width 1.0, 224 pixels, 1000 classes, 3.5 M parameters."""
    return prepared(MobileNetV2, (3, 224, 224), seed, settle=8)

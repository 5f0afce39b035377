"""One small conv net with each kind of norm: batch, layer, group, instance, rms, power."""

from torch import Tensor, nn

from tests.models import prepared
from tta.export.power_norm import PowerNorm


class ChannelsLast(nn.Module):
    """A norm over the last axis, applied to the channels of (N, C, H, W), as ConvNeXt does."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def make_norm(kind: str, width: int) -> nn.Module:
    """A norm of that kind for (N, width, H, W)."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "layer":
        return ChannelsLast(nn.LayerNorm(width))
    if kind == "group":
        return nn.GroupNorm(4, width)
    if kind == "instance":
        return nn.InstanceNorm2d(width, affine=True)
    if kind == "rms":
        return ChannelsLast(nn.RMSNorm(width, eps=1e-5))
    if kind == "power":
        return PowerNorm(width)
    raise ValueError(f"no norm is called {kind!r}")


class NormNet(nn.Module):
    """Three convolutions, each with a norm and a ReLU; (N, 3, 16, 16) to (N, classes)."""

    def __init__(self, kind: str = "batch", classes: int = 10) -> None:
        super().__init__()
        widths = [3, 16, 32, 32]
        layers: list[nn.Module] = []
        for width_in, width, stride in zip(widths[:-1], widths[1:], (1, 2, 2)):
            layers += [
                nn.Conv2d(width_in, width, 3, stride, 1, bias=False),
                make_norm(kind, width),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def factory(seed: int = 0, kind: str = "batch") -> tuple[nn.Module, Tensor]:
    """The net with norms of that kind."""
    return prepared(lambda: NormNet(kind), (3, 16, 16), seed)


def layer(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """LayerNorm over channels."""
    return factory(seed, "layer")


def group(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """GroupNorm in four groups."""
    return factory(seed, "group")


def instance(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """InstanceNorm with scale and bias."""
    return factory(seed, "instance")


def rms(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """RMSNorm over channels: a scale and no bias."""
    return factory(seed, "rms")


def power(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """PowerNorm: a running mean square and no mean."""
    return factory(seed, "power")

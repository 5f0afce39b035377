"""A 1-D CNN for windows of an inertial sensor: six channels, 100 samples, seven activities."""

from itertools import pairwise

from torch import Tensor, nn

from tests.models import prepared


class SensorCNN(nn.Module):
    """(N, channels, T) to (N, classes)."""

    def __init__(self, channels: int = 6, classes: int = 7) -> None:
        super().__init__()
        widths = [channels, 32, 64, 64]
        layers: list[nn.Module] = []
        for width_in, width in pairwise(widths):
            layers += [
                nn.Conv1d(width_in, width, 5, padding=2, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.MaxPool1d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.features(x)).flatten(1))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Windows of two seconds at 50 Hz."""
    return prepared(SensorCNN, (6, 100), seed)

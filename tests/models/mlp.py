"""A multilayer perceptron with BatchNorm: no convolution anywhere."""

from itertools import pairwise

from torch import Tensor, nn

from tests.models import prepared


class MLP(nn.Module):
    """(N, widths[0]) to (N, widths[-1])."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 128, 10)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width in pairwise(widths[:-1]):
            layers += [nn.Linear(width_in, width), nn.BatchNorm1d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(*widths[-2:])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """64-128-128-10."""
    return prepared(MLP, (64,), seed)

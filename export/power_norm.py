"""PowerNorm as a torch module: to train with, to calibrate, and to export as an adaptable layer."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor, nn


class PowerNorm(nn.Module):
    """y = weight·x/√(φ + ε) + bias with the running mean square φ, for x ``(N, C, ...)``.

    In training, with means over all axes but C and Z = x/√(φ + ε):

        φ ← a·φ + (1-a)·mean(x²)                      after its use
        g = dy·weight - ν·Z,   dx = g/√(φ + ε)         ν stands for mean(dy·weight·Z) over many batches
        ν ← ν + (1-a)·mean(g·Z)

    Shen et al., "PowerNorm: rethinking batch normalization in transformers", ICML 2020, algorithm 2 (number
    not checked); a = 0.9 as there. For the first ``warmup`` training steps φ is the plain mean of what has
    come, and y uses the batch's own mean square with its exact gradient (PN-V). Departures: the authors' code
    keeps the approximate gradient in warm-up and divides by the batch's root mean square on the way back;
    the division of each token by its own scale, which stands before it in a transformer, is
    ``torch.nn.RMSNorm``.

    Args:
        width: channels C.
        eps: ε.
        decay: a, forward and backward.
        warmup: training steps.
    """

    running_square: Tensor
    running_gradient: Tensor
    steps: Tensor
    zero: Tensor

    def __init__(
        self, width: int, eps: float = 1e-5, decay: float = 0.9, warmup: int = 10000
    ) -> None:
        super().__init__()
        self.eps, self.decay, self.warmup = eps, decay, warmup
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_square", torch.ones(width))
        self.register_buffer("running_gradient", torch.zeros(width))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("zero", torch.zeros(width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in evaluation mode by φ, as a batch norm of mean zero, which export recognises."""
        if not self.training:
            return F.batch_norm(
                x, self.zero, self.running_square, self.weight, self.bias, False, 0.0, self.eps
            )
        self.steps += 1
        if int(self.steps) <= self.warmup:
            self._follow(x, 1 / int(self.steps))
            return self.by_batch(x)
        z = cast(Tensor, _Running.apply(x, self))  # type: ignore[no-untyped-call]
        self._follow(x, 1 - self.decay)
        return z * wide(self.weight, x) + wide(self.bias, x)

    def by_batch(self, x: Tensor) -> Tensor:
        """PN-V: by the batch's own mean square, through which the gradient flows."""
        return self.by(mean_square(x), x)

    def by(self, square: Tensor, x: Tensor) -> Tensor:
        """By any mean square ``(C,)``."""
        scale = self.weight / torch.sqrt(square + self.eps)
        return x * wide(scale, x) + wide(self.bias, x)

    @torch.no_grad()
    def calibrate(self, x: Tensor, share: float = 1.0) -> None:
        """Take φ from data, by a share: no label is needed."""
        self._follow(x, share)

    @torch.no_grad()
    def _follow(self, x: Tensor, share: float) -> None:
        self.running_square.lerp_(mean_square(x).to(self.running_square.dtype), share)


class _Running(torch.autograd.Function):
    """Z = x/√(φ + ε) whose gradient makes up for what φ hides of the batch; dZ comes with weight in it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: PowerNorm) -> Tensor:
        r = wide(torch.rsqrt(norm.running_square + norm.eps), x)
        z = x * r
        ctx.save_for_backward(z, r)
        ctx.norm = norm
        return z

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, None]:
        z, r = ctx.saved_tensors
        norm: PowerNorm = ctx.norm
        g = dz - wide(norm.running_gradient, z) * z
        norm.running_gradient += (1 - norm.decay) * (g * z).mean(others(z))
        return g * r, None


def others(x: Tensor) -> list[int]:
    """All axes but the channel's."""
    return [0, *range(2, x.ndim)]


def mean_square(x: Tensor) -> Tensor:
    """Per channel ``(C,)``."""
    return x.square().mean(others(x))


def wide(values: Tensor, x: Tensor) -> Tensor:
    """``(C,)`` so that it broadcasts against x."""
    return values.view(1, -1, *[1] * (x.ndim - 2))

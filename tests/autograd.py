"""Test-time adaptation in plain torch, written apart from ``export/``: the tests' second opinion.

A ``Twin`` is a copy of a model whose batch norms follow the statistics rule by torch's own functions:
train mode at alpha = 1, eval mode at alpha = 0. It never sees the traced graph; which module becomes
Hebbian, and behind which one the modulator sits, is written by hand in ``HEBBIAN``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

HEBBIAN = {  # model: the Hebbian layer, and the module whose output the modulator scales and shifts
    "resnet20:factory": ("conv1", "bn1"),
    "wrn:factory": ("conv1", "conv1"),  # its output has two readers, so no norm owns it
    "mobilenet_v2:factory": ("features.0.0", "features.0.1"),
    "vit:factory": ("patch_embed.proj", "patch_embed.proj"),
    "vit:mean_pool": ("patch_embed.proj", "patch_embed.proj"),
    "sensor_cnn:factory": ("features.0", "features.1"),
    "mlp:factory": ("layers.0", "layers.1"),
    "norms:factory": ("features.0", "features.1"),
    "norms:layer": ("features.0", "features.0"),  # a transpose lies between
    "norms:group": ("features.0", "features.1"),
    "norms:instance": ("features.0", "features.1"),
    "norms:rms": ("features.0", "features.0"),
    "fashion:factory": ("stem", "norm"),
}
NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass
class Plastic:
    """Options of the Hebbian change."""

    eta: float = 0.0
    anti: bool = False
    max_norm: bool = True
    t_invert: float = 1.0
    centre: bool = False


@dataclass
class Answer:
    """What a twin says of one batch; arrays are float64 where the twin is."""

    outputs: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    moments: dict[str, tuple[np.ndarray, np.ndarray]]
    new: dict[str, np.ndarray] = field(default_factory=dict)


def batch_norm(x: Tensor, norm: _BatchNorm, alpha: float) -> Tensor:
    """The statistics rule by torch's own batch_norm where it has a mode for it."""
    if alpha == 0:
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
    if alpha == 1 and x.numel() > x.shape[1]:  # torch refuses one value a channel
        return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
    channels_last = x.movedim(1, -1)
    flat = channels_last.reshape(-1, x.shape[1])
    var, mean = torch.var_mean(flat, 0, correction=0)
    mean = torch.lerp(norm.running_mean, mean, alpha)
    var = torch.lerp(norm.running_var, var, alpha)
    y = (flat - mean) * torch.rsqrt(var + norm.eps) * norm.weight + norm.bias
    return y.reshape(channels_last.shape).movedim(-1, 1)


def patches(x: Tensor, layer: nn.Module) -> Tensor:
    """Rows (P, I·taps) of what the layer sees: one a batch item and position."""
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    size, step, gap = layer.kernel_size, layer.stride, layer.dilation
    pads: list[int] = []
    for pad in reversed(layer.padding):
        pads += [pad, pad]
    padded = F.pad(x, pads)
    reach = [
        (padded.shape[2 + k] - gap[k] * (size[k] - 1) - 1) // step[k] + 1 for k in range(len(size))
    ]
    taps = []
    for tap in np.ndindex(*size):
        window = [
            slice(i * gap[k], i * gap[k] + step[k] * (reach[k] - 1) + 1, step[k])
            for k, i in enumerate(tap)
        ]
        taps.append(padded[(slice(None), slice(None), *window)])
    stacked = torch.stack(taps, 2)  # (N, I, taps, *positions)
    return stacked.flatten(3).permute(0, 3, 1, 2).reshape(-1, x.shape[1] * len(taps))


def soft_hebbian(
    rows: Tensor, w: Tensor, t_invert: float, anti: bool = False, target: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Δw (K, D) of SoftHebb, summed over rows (P, D), with R = ‖w‖² or ``target``; and the shares y."""
    u = rows @ w.T
    y = torch.softmax(u * t_invert, 1)
    s = y
    if anti:
        winner = u == u.max(1, keepdim=True).values
        s = torch.where(winner, y, -y)
    r = w.square().sum(1) if target is None else target
    change = torch.zeros_like(w)
    for k in range(len(w)):  # unit by unit, as the formula reads
        change[k] = (s[:, k, None] * (r[k] * rows - u[:, k, None] * w[k])).sum(0)
    return change, y


class Twin:
    """A model under the statistics rule, with gradients by torch.autograd.

    Args:
        net: the source model; it is copied.
        hebbian: names of the Hebbian layer and of the module behind which the modulator sits.
        dtype: float64 for the truth, float32 for what torch itself makes of float32.
    """

    def __init__(
        self, net: nn.Module, hebbian: tuple[str, str], dtype: torch.dtype = torch.float64
    ) -> None:
        self.net = copy.deepcopy(net).eval().to(dtype)
        self.dtype, self.alpha, self.plastic = dtype, 1.0, Plastic()
        self.moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.new: dict[str, np.ndarray] = {}
        self.fixed: set[str] = set()  # norms that do not adapt
        self.layer = hebbian[0]
        layer = self.net.get_submodule(hebbian[0])
        self.source = layer.weight.detach().clone()
        units = len(self.source)
        self.gain = torch.ones(units, dtype=dtype, requires_grad=True)
        self.shift = torch.zeros(units, dtype=dtype, requires_grad=True)
        self.norms = {n: m for n, m in self.net.named_modules() if isinstance(m, NORMS)}
        for name, norm in self.norms.items():
            norm.register_forward_pre_hook(self._watch(name))
            if isinstance(norm, _BatchNorm):
                norm.forward = self._rule(name, norm)
        layer.forward = self._change(layer)
        self.net.get_submodule(hebbian[1]).register_forward_hook(self._modulate)
        for parameter in self.net.parameters():
            parameter.requires_grad_(False)
        for norm in self.norms.values():
            for parameter in norm.parameters():
                parameter.requires_grad_(True)

    def leaves(self) -> dict[str, Tensor]:
        """What the gradient trains, by slot name."""
        found = {f"{self.layer}.gain": self.gain, f"{self.layer}.shift": self.shift}
        for name, norm in self.norms.items():
            found[f"{name}.scale"] = norm.weight
            if getattr(norm, "bias", None) is not None:
                found[f"{name}.bias"] = norm.bias
        return found

    @torch.no_grad()
    def load(self, slots: Mapping[str, np.ndarray]) -> None:
        """Take over the values of a state."""
        for name, leaf in self.leaves().items():
            leaf.copy_(torch.tensor(slots[name]))
        for name, norm in self.norms.items():
            if isinstance(norm, _BatchNorm):
                norm.running_mean.copy_(torch.tensor(slots[f"{name}.mean"]))
                norm.running_var.copy_(torch.tensor(slots[f"{name}.var"]))
        self.net.get_submodule(self.layer).weight.copy_(torch.tensor(slots[f"{self.layer}.weight"]))

    def __call__(
        self,
        batch: np.ndarray,
        alpha: float = 1.0,
        plastic: Plastic | None = None,
        weights: np.ndarray | None = None,
        loss: Callable[[Tensor], Tensor] | None = None,
    ) -> Answer:
        """Logits, gradients of the mean (weighted) loss of the logits, moments and the Hebbian weight.

        ``loss`` gives the loss of each frame ``(N,)`` from logits ``(N, K)``; it is the entropy by default.
        """
        self.alpha, self.plastic = alpha, plastic or Plastic()
        self.moments, self.new = {}, {}
        logits = self.net(torch.tensor(batch, dtype=self.dtype))
        losses = (loss or _entropy)(logits)
        if weights is not None:
            losses = losses * torch.tensor(weights, dtype=self.dtype)
        leaves = self.leaves()
        found = torch.autograd.grad(losses.mean(), list(leaves.values()))
        gradients = {name: g.numpy() for name, g in zip(leaves, found)}
        return Answer({"logits": logits.detach().numpy()}, gradients, self.moments, self.new)

    def _rule(self, name: str, norm: _BatchNorm) -> Any:
        return lambda x: batch_norm(x, norm, 0.0 if name in self.fixed else self.alpha)

    def _watch(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().numpy()
            last = isinstance(module, nn.LayerNorm | nn.RMSNorm)
            axes = tuple(k for k in range(x.ndim) if k != (x.ndim - 1 if last else 1))
            self.moments[name] = x.mean(axes), x.var(axes)

        return hook

    def _change(self, layer: nn.Module) -> Any:
        plain = layer.forward

        def forward(x: Tensor) -> Tensor:
            w = layer.weight
            if self.plastic.eta:
                w = self._plastic(layer, x.detach())
            self.new[f"{self.layer}.weight"] = w.detach().numpy().copy()
            if w is layer.weight:
                return plain(x)
            if isinstance(layer, nn.Linear):
                return F.linear(x, w, layer.bias)
            return layer._conv_forward(x, w, layer.bias)

        return forward

    @torch.no_grad()
    def _plastic(self, layer: nn.Module, x: Tensor) -> Tensor:
        rule = self.plastic
        w, source = layer.weight.flatten(1), self.source.flatten(1)
        rows = patches(x, layer)
        if rule.centre:
            rows = rows - rows.mean(1, keepdim=True)
        change, _ = soft_hebbian(rows, w, rule.t_invert, rule.anti, source.square().sum(1))
        change = change / (change.abs().max() if rule.max_norm else len(rows))
        moved = w + rule.eta * change
        moved = F.normalize(moved, dim=1) * source.norm(dim=1, keepdim=True)
        return moved.view_as(layer.weight)

    def _modulate(self, module: nn.Module, inputs: Any, z: Tensor) -> Tensor:
        shape = [1] * z.ndim
        shape[1 if z.ndim != 2 else -1] = -1
        return z * self.gain.view(shape) + self.shift.view(shape)


def _entropy(logits: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=logits).entropy()


def misfit(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Largest ‖g-g'‖/(1e-3·‖g'‖ + 1e-6·max ‖g'‖) over the slots, and which has it; 1 is the limit."""
    norms = {k: float(np.linalg.norm(np.asarray(v, np.float64))) for k, v in want.items()}
    top = max(norms.values()) + 1e-30
    errors = {
        k: float(np.linalg.norm(np.asarray(got[k], np.float64) - want[k]))
        / (1e-3 * norms[k] + 1e-6 * top)
        for k in want
    }
    worst = max(errors, key=errors.__getitem__)
    return errors[worst], worst

"""The adaptable layers as torch modules: the reference that exported graphs are checked against.

``adaptive`` puts ``AdaptiveNorm`` and ``HebbianModulation`` in the place of a model's own modules;
``oracle`` runs the result and asks torch.autograd for the gradients that a step graph should have.
Float64 throughout.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor, nn

from tta.export.lift import Lifted
from tta.export.objectives import LayerStatistics, takes_layers
from tta.export.power_norm import PowerNorm, mean_square
from tta.export.step_graph import GRADIENT_ROLES
from tta.records import Array

_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_NORMS = (*_BATCH, *_INSTANCE, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, PowerNorm)


class AdaptiveNorm(nn.Module):
    """A norm layer under the statistics rule μ = (1-α)·μ_s + α·μ_b, σ² likewise (biased).

    Wraps BatchNorm, PowerNorm, LayerNorm, GroupNorm, InstanceNorm or RMSNorm modules; ``alpha`` matters to
    the first two. The batch moments of the last input are kept in ``batch_mean`` and ``batch_var`` ``(C,)``.
    """

    def __init__(self, norm: nn.Module, alpha: float = 1.0) -> None:
        super().__init__()
        self.norm, self.alpha = norm, alpha
        self.constant = False  # whether no gradient flows through the batch statistics
        self.batch_mean = self.batch_var = torch.zeros(0)
        self.answer: tuple[Tensor, Tensor] = (torch.zeros(0), torch.zeros(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x ``(N, C, ...)``, or ``(N, ..., C)`` for LayerNorm and RMSNorm.

        Mean and variance ``(C,)`` of the result are kept in ``answer``, for objectives that take layers.
        """
        y = self._normalized(x)
        channel = x.ndim - 1 if isinstance(self.norm, nn.LayerNorm | nn.RMSNorm) else 1
        others = [k for k in range(x.ndim) if k != channel]
        self.answer = (y.mean(others), y.var(others, unbiased=False))
        return y.clone()  # an activation in place would change what the variance was taken of

    def _normalized(self, x: Tensor) -> Tensor:
        norm = self.norm
        channel = x.ndim - 1 if isinstance(norm, nn.LayerNorm | nn.RMSNorm) else 1
        others = [k for k in range(x.ndim) if k != channel]
        mean = x.mean(others)
        var = x.var(others, unbiased=False)
        self.batch_mean, self.batch_var = mean.detach(), var.detach()
        if isinstance(norm, PowerNorm):
            square = (1 - self.alpha) * norm.running_square + self.alpha * mean_square(x)
            return norm.by(square, x)
        if not isinstance(norm, _BATCH):
            return cast(Tensor, norm(x))
        if self.constant:
            mean, var = self.batch_mean, self.batch_var
        source_mean, source_var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        mean = (1 - self.alpha) * source_mean + self.alpha * mean
        var = (1 - self.alpha) * source_var + self.alpha * var
        shape = [1, -1] + [1] * (x.ndim - 2)
        xhat = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + norm.eps)
        if not norm.affine:
            return xhat
        return xhat * norm.weight.view(shape) + norm.bias.view(shape)


@dataclass
class Rule:
    """Options of the Hebbian change; the names are those of the step graph's inputs."""

    eta: float = 0.0
    anti: bool = False
    max_norm: bool = True
    t_invert: float = 1.0
    centre: bool = False


def hebbian_change(
    layer: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear,
    x: Tensor,
    w: Tensor,
    rule: Rule,
    norms: Tensor | None = None,
) -> Tensor:
    """The sum Δw_k = Σ s_k·(R_k·x - u_k·w_k) over batch and positions, by unfolding the patches.

    Args:
        layer: gives kernel, stride, padding and dilation.
        x: input ``(N, I, ...)`` or ``(..., I)``.
        w: weight, ``(K, I, *kernel)`` or ``(K, I)``.
        rule: temperature, anti-Hebbian switch and centring are read.
        norms: R_k ``(K,)``; default ‖w_k‖², 1 gives SoftHebb.

    Written from the formula, patch by patch, so that it shares nothing with the graph's convolution.
    """
    flat = w.flatten(1)
    if isinstance(layer, nn.Linear):
        patches = x.reshape(-1, x.shape[-1])
    elif isinstance(layer, nn.Conv2d):
        pads = layer.padding if not isinstance(layer.padding, str) else 0
        columns = F.unfold(x, layer.kernel_size, layer.dilation, pads, layer.stride)
        patches = columns.transpose(1, 2).reshape(-1, flat.shape[1])
    else:  # Conv1d: a Conv2d with a kernel of height one
        pad = layer.padding if not isinstance(layer.padding, str) else (0,)
        columns = F.unfold(
            x.unsqueeze(2),
            (1, *layer.kernel_size),
            (1, *layer.dilation),
            (0, *pad),
            (1, *layer.stride),
        )
        patches = columns.transpose(1, 2).reshape(-1, flat.shape[1])
    if rule.centre:
        patches = patches - patches.mean(1, keepdim=True)
    u = patches @ flat.T
    y = torch.softmax(rule.t_invert * u, 1)
    s = y
    if rule.anti:
        s = -y
        best = u.argmax(1, keepdim=True)
        s = s.scatter(1, best, y.gather(1, best))
    r = (flat**2).sum(1) if norms is None else norms
    change = r[:, None] * (s.T @ patches) - (s * u).sum(0)[:, None] * flat
    return change.view_as(w)


class HebbianModulation(nn.Module):
    """A convolution or linear layer that changes by the soft Hebbian rule before it answers.

    The formula is in ``export/layers/hebbian.py``. ``new`` is the weight that the last forward used.
    """

    def __init__(self, layer: nn.Module, rule: Rule | None = None) -> None:
        super().__init__()
        self.layer: Any = layer
        self.rule = rule or Rule()
        self.register_buffer("source", layer.weight.detach().clone())  # type: ignore[operator]
        self.new: Tensor = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        """Change the weight on x, then answer with it; no gradient flows into the change."""
        w, rule = self.layer.weight, self.rule
        if rule.eta:
            with torch.no_grad():
                norms = (self.source.flatten(1) ** 2).sum(1)  # type: ignore[operator]
                dw = hebbian_change(self.layer, x, w, rule, norms)
                positions = self.layer(x).numel() / w.shape[0]
                dw = dw / (dw.abs().max() + 1e-30) if rule.max_norm else dw / positions
                w = w + rule.eta * dw
                shape = [-1] + [1] * (w.ndim - 1)
                w = w * (norms.sqrt() / w.flatten(1).norm(dim=1)).view(shape)
        self.new = w.detach()
        return cast(Tensor, torch.func.functional_call(self.layer, {"weight": w}, (x,)))


class Modulator(nn.Module):
    """The neuro-modulator z' = gain·z + shift behind a module, per channel."""

    def __init__(self, inner: nn.Module, units: int, channel: int) -> None:
        super().__init__()
        self.inner, self.channel = inner, channel
        self.gain = nn.Parameter(torch.ones(units))
        self.shift = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """Modulate what the inner module makes of x."""
        z: Tensor = self.inner(x)
        shape = [1] * z.ndim
        shape[self.channel] = -1
        return z * self.gain.view(shape) + self.shift.view(shape)


@dataclass
class Adaptive:
    """A torch model with adaptable layers, and where each slot lives in it."""

    model: nn.Module
    slots: dict[str, Tensor]
    norms: dict[str, AdaptiveNorm]
    hebbian: dict[str, HebbianModulation]
    missing: list[str]


def adaptive(model: nn.Module, lifted: Lifted) -> Adaptive:
    """A float64 copy of the model with the lifted layers replaced by their torch references.

    Layers that the model does not hold as modules of the same name are listed in ``missing``.
    """
    model = copy.deepcopy(model).eval().double()
    found = Adaptive(model, {}, {}, {}, [])
    behind = {h.modulated: h for h in lifted.hebbian.values()}
    for norm in lifted.norms.values():
        inner = _get(model, norm.name)
        if not isinstance(inner, _NORMS):
            found.missing.append(norm.name)
            continue
        wrapped = found.norms[norm.name] = AdaptiveNorm(inner)
        for role, attribute in (
            ("scale", "weight"),
            ("bias", "bias"),
            ("mean", "running_mean"),
            ("var", "running_var"),
            ("square", "running_square"),
        ):
            value = getattr(inner, attribute, None)
            if role in norm.slots and value is not None:
                found.slots[f"{norm.name}.{role}"] = value
        layer = behind.get(norm.y)
        outer: nn.Module = wrapped
        if layer is not None:
            outer = _modulator(found, layer.name, wrapped, layer.units, layer.channel)
        _set(model, norm.name, outer)
    for layer in lifted.hebbian.values():
        inner = _get(model, layer.name)
        if not isinstance(inner, nn.Conv1d | nn.Conv2d | nn.Linear):
            found.missing.append(layer.name)
            continue
        module = found.hebbian[layer.name] = HebbianModulation(inner)
        found.slots[f"{layer.name}.weight"] = inner.weight
        outer = module
        if f"{layer.name}.gain" not in found.slots and not _behind_norm(lifted, layer.modulated):
            outer = _modulator(found, layer.name, module, layer.units, layer.channel)
        _set(model, layer.name, outer)
    return found


def oracle(
    reference: Adaptive,
    x: Array,
    objective: Callable[..., Any],
    names: Sequence[str],
    alpha: float,
    rule: Rule | None = None,
    sources: Mapping[str, tuple[Array, Array]] | None = None,
    given: dict[str, Array] | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs, and gradients of the mean objective by slot name, from torch.autograd.

    Args:
        reference: the model from ``adaptive``.
        x: batch ``(N, ...)``.
        objective: the adapter's own, run here through ``TorchOperators``.
        names: names of the model's outputs, in order.
        alpha: share of batch statistics.
        rule: the Hebbian change, none by default.
        sources: what norm layers put out on source data, for an objective that takes layers.
        given: takes the values that were drawn for the objective's own inputs, by name.
    """
    for norm in reference.norms.values():
        norm.alpha = alpha
    for layer in reference.hebbian.values():
        layer.rule = rule or Rule()
    trained = {k: v for k, v in reference.slots.items() if isinstance(v, nn.Parameter)}
    dtype = next(iter(reference.slots.values())).dtype
    out = reference.model(torch.as_tensor(x, dtype=dtype))
    outputs = dict(zip(names, out if isinstance(out, tuple | list) else (out,)))
    layers = {
        layer: LayerStatistics(*reference.norms[layer].answer, *(torch.as_tensor(v) for v in pair))
        for layer, pair in (sources or {}).items()
        if layer in reference.norms
    }
    more = (layers,) if takes_layers(objective) else ()
    loss = objective(TorchOperators(given), outputs, *more).mean()
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    found = {
        k: (torch.zeros_like(v) if g is None else g).numpy()
        for (k, v), g in zip(trained.items(), gradients)
    }
    return {k: v.detach().numpy() for k, v in outputs.items()}, found


class TorchOperators:
    """The operator namespace of objectives, over torch tensors instead of graph nodes.

    The same objective that export writes into a graph runs here under autograd. Inputs of its own are drawn
    at random, the same for the same name and shape, and put into ``drawn``.
    """

    def __init__(self, drawn: dict[str, Array] | None = None) -> None:
        self._drawn = {} if drawn is None else drawn

    def given(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """See ``Operators.given``."""
        values = np.random.default_rng(len(name)).random(tuple(like.shape), np.float32)
        self._drawn[name] = values
        return torch.as_tensor(values, dtype=like.dtype)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        plain: dict[str, Callable[..., Any]] = {
            "Add": torch.add,
            "Sub": torch.sub,
            "Mul": torch.mul,
            "Div": torch.div,
            "Neg": torch.neg,
            "Exp": torch.exp,
            "Log": torch.log,
            "Abs": torch.abs,
            "Sqrt": torch.sqrt,
            "Pow": torch.pow,
            "Sigmoid": torch.sigmoid,
            "Relu": torch.relu,
            "Softplus": torch.nn.functional.softplus,
            "Min": torch.minimum,
            "Identity": lambda x: x,
        }
        if op_type in plain:
            return lambda *xs: plain[op_type](*(torch.as_tensor(x) for x in xs))
        reductions: dict[str, Callable[..., Any]] = {
            "ReduceSum": torch.sum,
            "ReduceMean": torch.mean,
            "ReduceMax": torch.amax,
            "ReduceLogSumExp": torch.logsumexp,
        }
        if op_type in reductions:
            return lambda x, axes, keepdims=1: reductions[op_type](
                x, dim=tuple(axes), keepdim=bool(keepdims)
            )
        if op_type in ("Softmax", "LogSoftmax"):
            function = torch.softmax if op_type == "Softmax" else torch.log_softmax
            return lambda x, axis=-1: function(x, axis)
        raise AttributeError(f"the torch namespace of objectives lacks {op_type}: add it here")


def _modulator(found: Adaptive, name: str, inner: nn.Module, units: int, channel: int) -> Modulator:
    made = Modulator(inner, units, channel).double()
    found.slots[f"{name}.gain"], found.slots[f"{name}.shift"] = made.gain, made.shift
    return made


def _behind_norm(lifted: Lifted, value: object) -> bool:
    return any(norm.y is value for norm in lifted.norms.values())


def _get(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _set(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


__all__ = [
    "GRADIENT_ROLES",
    "Adaptive",
    "AdaptiveNorm",
    "HebbianModulation",
    "Modulator",
    "Rule",
    "TorchOperators",
    "adaptive",
    "hebbian_change",
    "oracle",
]

"""Gradient descent as functions: gradients and memory in, change and new memory out.

Adam after Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; SGD with
momentum as torch defines it: m ← μ·m + g, θ ← θ - lr·m. All arithmetic is float32, as in torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta.errors import TtaError
from tta.records import Array

Named = Mapping[str, Array]
KINDS = ("adam", "sgd")


def check_kind(kind: str) -> str:
    """The kind itself, if there is such an optimizer.

    Raises:
        TtaError: there is none of that name.
    """
    if kind not in KINDS:
        raise TtaError(f"no optimizer named {kind!r}; known: {', '.join(KINDS)}")
    return kind


def descend(
    kind: str,
    slots: Named,
    gradients: Named,
    memory: Named,
    lr: float,
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """One step of ``sgd`` or ``adam``.

    Args:
        kind: ``sgd`` or ``adam``.
        slots: values by name; those with a gradient change.
        gradients: gradients by slot name.
        memory: what the last step returned, empty at first; other methods' entries are ignored.
        lr: learning rate.
        momentum: of ``sgd``.
        betas: decay rates of ``adam``.
        eps: denominator offset of ``adam``.

    Returns:
        New values of the slots that have a gradient, and the new memory. Without any gradient there is no
        step: nothing moves by momentum, and Adam does not count it.

    >>> import numpy as np
    >>> new, _ = descend("sgd", {"b": np.float32([1])}, {"b": np.float32([2])}, {}, lr=0.25)
    >>> float(new["b"][0])
    0.5
    """
    check_kind(kind)
    if not gradients:
        return {}, {}
    if kind == "sgd":
        return _sgd(slots, gradients, memory, lr, momentum)
    return _adam(slots, gradients, memory, lr, betas, eps)


def _sgd(
    slots: Named, gradients: Named, memory: Named, lr: float, momentum: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    values, kept = {}, {}
    for name, gradient in gradients.items():
        last = memory.get(f"sgd.{name}")
        change = gradient if last is None else np.float32(momentum) * last + gradient
        values[name] = slots[name] - np.float32(lr) * change
        if momentum:
            kept[f"sgd.{name}"] = change
    return values, kept


def _adam(
    slots: Named,
    gradients: Named,
    memory: Named,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> tuple[dict[str, Array], dict[str, Array]]:
    step = int(memory.get("adam.step", np.int64(0))) + 1
    b1, b2 = betas
    size = np.float32(lr / (1 - b1**step))
    unbias = np.float32(np.sqrt(1 - b2**step))
    values: dict[str, Array] = {}
    kept: dict[str, Array] = {"adam.step": np.array(step, np.int64)}
    for name, g in gradients.items():
        zero = np.zeros_like(g)
        m = memory.get(f"adam.m.{name}", zero)
        v = memory.get(f"adam.v.{name}", zero)
        m = m + np.float32(1 - b1) * (g - m)
        v = np.float32(b2) * v + np.float32(1 - b2) * (g * g)
        values[name] = slots[name] - size * (m / (np.sqrt(v) / unbias + np.float32(eps)))
        kept[f"adam.m.{name}"], kept[f"adam.v.{name}"] = m, v
    return values, kept

"""Pooling: positions are consumed within a window; samples and channels pass by."""

from __future__ import annotations

from collections.abc import Mapping

from tta.export.axes import Call, Rule, Tensor, has_batch, resized, tensor


def pool(call: Call) -> list[Tensor]:
    """Average, Max and Lp pooling, windowed or global; indices of MaxPool count from the batch on."""
    x = call.x()
    mixed = call.any_mixed() or any(has_batch(axis) for axis in x.axes[2:])
    made = []
    for k, shape in enumerate(call.shapes):
        axes = [
            *x.axes[:2],
            *(resized(a, n) if n > 1 else () for a, n in zip(x.axes[2:], shape[2:])),
        ]
        made.append(tensor(call, axes, mixed or (k == 1 and x.batched > 0)))
    return made


_KINDS = ("Average", "Max", "Lp")
RULES: Mapping[str, Rule] = {f"{g}{k}Pool": pool for g in ("", "Global") for k in _KINDS}

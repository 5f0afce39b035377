"""Normalizations: by given statistics all axes pass by, by own statistics some are consumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tta.export.axes import SIZES, Axis, Call, Rule, Tensor, has_batch, place, tensor, unite


def batch_norm(call: Call) -> list[Tensor]:
    """scale·(x - mean)/√(var + ε) + bias: parameters lie along axis 1; terms of x and mean cancel.

    In training mode the statistics are the batch's own, and all axes but the channel's are consumed.
    """
    x, scale, bias, mean, var = (call.x(k) for k in range(5))
    if call.get("training_mode", 0):
        own = any(has_batch(a) for k, a in enumerate(x.axes) if k != 1)
        mixed = call.any_mixed() or own
        first = tensor(call, x.axes, mixed)
        return [first, *(tensor(call, x.axes[1:2], mixed) for _ in call.shapes[1:])]
    trailing = (1,) * (len(x.axes) - 2)
    terms = dict(x.terms)
    lone = {(mean.root, mean.shape): 1.0} if mean.mixed and mean.root else {}
    for (root, shape), share in (lone or mean.terms).items():
        key = (root, shape + trailing)
        terms[key] = terms.get(key, 0.0) - share
    uncancelled = any(terms.values())
    axes = list(x.axes)
    meets = False
    if len(axes) > 1:
        axes[1], meets = unite(
            [x.axes[1], *(p.axes[0] for p in (scale, bias, mean, var))], x.shape[1]
        )
    centred = x.mixed or var.state == "mixed" or uncancelled or (mean.mixed and not lone)
    if scale.zero:
        return [tensor(call, axes, bias.state == "mixed", zero=bias.zero)]
    mixed = centred or scale.state == "mixed" or bias.state == "mixed" or meets
    return [tensor(call, axes, mixed)]


def consuming(call: Call, over: Iterable[int]) -> bool:
    """Whether a normalization over these axes of its input mixes samples."""
    x = call.x()
    return call.any_mixed() or any(has_batch(x.axes[k]) for k in over)


def layer_norm(call: Call) -> list[Tensor]:
    """LayerNormalization and RMSNormalization: the axes from ``axis`` on are consumed."""
    x = call.x()
    first = call.axis(-1, len(x.axes))
    mixed = consuming(call, range(first, len(x.axes)))
    small: list[Axis] = [a if k < first else () for k, a in enumerate(x.axes)]
    return [tensor(call, small if k else x.axes, mixed) for k in range(len(call.shapes))]


def instance_norm(call: Call) -> list[Tensor]:
    """InstanceNormalization: positions are consumed; N may be axis 0 or a part of axis 1."""
    x = call.x()
    return [tensor(call, x.axes, consuming(call, range(2, len(x.axes))))]


def group_norm(call: Call) -> list[Tensor]:
    """GroupNormalization: channels of a group and positions are consumed."""
    x = call.x()
    found = place(x.axes[1])
    whole = found is not None and found[0] == 1 and call.get("num_groups", 1) % SIZES[0] == 0
    over = range(2 if whole else 1, len(x.axes))
    return [tensor(call, x.axes, consuming(call, over))]


def local(call: Call) -> list[Tensor]:
    """LRN: neighbouring channels are consumed."""
    return [tensor(call, call.x().axes, consuming(call, [1]))]


def mean_variance(call: Call) -> list[Tensor]:
    """MeanVarianceNormalization over its ``axes``, by default all but the channel's."""
    return [tensor(call, call.x().axes, consuming(call, call.get("axes", [0, 2, 3])))]


RULES: Mapping[str, Rule] = {
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LRN": local,
    "MeanVarianceNormalization": mean_variance,
}

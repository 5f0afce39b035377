"""What ``auto`` stands for: a method and a buffer that suit a bundle, and why.

::

    norms with running statistics     bn_stats   their means and variances follow the stream; no gradient
    other norms, and class scores     tent       their scales and biases
    a linear last layer               neo        a shift of the features
    else                              none

    a method that was named                      batch       as its paper has it
    a batch is served, or frames are sampled     batch
    a classifier                                 reservoir   balanced over the answered classes
    else                                         window      the newest frames

Statistics need no step size and no gradient, so that they neither collapse nor depend on a layer's width; the
reservoir keeps them those of all classes where the stream shows one class at a time. ``docs/governor.md`` has
what that was measured to bring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tta import tasks
from tta.manifest import Manifest, fewest_frames
from tta.records import State

AUTO = "auto"
CAPACITY = 64  # frames that a reservoir or a window keeps
MOST_MIB = 64  # of model inputs that it keeps
HEAD = frozenset({"features.shift", "head.weight", "head.bias"})


@dataclass(frozen=True, slots=True)
class Choice:
    """A method and a buffer.

    Attributes:
        adapter: ``name?option=value``.
        buffer: likewise.
        reason: why these, empty where nothing was left to choose.
    """

    adapter: str
    buffer: str
    reason: str = ""


def choose(
    manifest: Manifest,
    adapter: str = AUTO,
    buffer: str = AUTO,
    *,
    batch: int = 16,
    apart: bool = False,
    state: State | None = None,
) -> Choice:
    """What to take where ``auto`` is asked for; what is named stays.

    Args:
        manifest: of the bundle.
        adapter: a method, or ``auto``.
        buffer: a buffer, or ``auto``.
        batch: frames from one round to the next.
        apart: whether rounds need disjoint batches in the order of the stream, since these are what is
            served, or because frames are sampled.
        state: an adapted state to go on from: the method that made it goes on.
    """
    why = []
    if adapter != AUTO:
        return Choice(adapter, "batch" if buffer == AUTO else buffer)
    adapter, reason = _method(manifest, state)
    why.append(f"{adapter}, {reason}")
    if buffer == AUTO:
        buffer, reason = _buffer(manifest, adapter, batch, apart)
        why.append(f"{buffer}, {reason}")
    return Choice(adapter, buffer, "; ".join(why))


def _method(manifest: Manifest, state: State | None) -> tuple[str, str]:
    if state is not None:
        return state.adapter, "which made the state"
    slots = {slot.name for slot in manifest.slots}
    if manifest.named("mean", "var", "square"):
        return "bn_stats", "for the model has norms with running statistics"
    if manifest.named("scale") and "step/entropy" in manifest.provides:
        return "tent", "for the model has norms, but none with running statistics"
    if slots >= HEAD and "batch" in manifest.provides:
        return "neo", "for the model has a linear last layer, but no norm to adapt"
    return "none", "for the model has no layer that a method could adapt"


def _buffer(manifest: Manifest, adapter: str, batch: int, apart: bool) -> tuple[str, str]:
    if adapter.partition("?")[0] == "none" or apart:
        return "batch", "in the order of the stream"
    least = max(batch, fewest_frames(manifest))
    kept = max(least, min(max(CAPACITY, least), _room(manifest)))
    if "class" in tasks.load(manifest.task).gives:
        return (
            f"reservoir?capacity={kept}&period={batch}&least={least}&uncertainty=0&expiry={4 * kept}",
            "balanced over the answered classes",
        )
    return f"window?size={kept}&stride={batch}", "the newest frames"


def _room(manifest: Manifest) -> int:
    """Model inputs that ``MOST_MIB`` hold; an open axis counts as 224."""
    shape = [224 if d is None else d for d in manifest.input.sample]
    size = np.dtype(manifest.input.dtype).itemsize * math.prod(shape)
    return MOST_MIB * 2**20 // max(1, size)

"""What buffers have in common: they are values, and they keep frames by their model inputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tta.errors import TtaError
from tta.records import Array, Selection

LOOK = 8  # frames below which batch statistics are mostly noise: no glance at fewer
V = TypeVar("V", bound="Value")


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame that waits.

    Attributes:
        x: its model input, without the batch axis.
        at: number of the frame among those that came to the buffer.
        label: class that was answered.
        uncertainty: entropy of the answer as a share of ln K, 0 to 1.
        seen: whether a round had it already.
    """

    x: Array
    at: int
    label: int = -1
    uncertainty: float = 0.0
    seen: bool = False


class Value:
    """A buffer that is never changed in place: ``add``, ``take`` and the others give another one."""

    def after(self: V, **changes: Any) -> V:
        """The same buffer but for some of its attributes; what it keeps is shared, not copied."""
        new = copy.copy(self)
        vars(new).update(changes)
        return new

    def renewed(self: V) -> V:
        """The frames that no round had yet."""
        raise NotImplementedError

    def moved(self: V) -> V:
        """What is left where the stream has jumped: by default nothing that a round had."""
        return self.renewed()

    def hurried(self: V, within: int) -> V:
        """The same, its next round due within so many frames, if it can be; by default when it would be."""
        return self


def selection(kept: Sequence[Kept], weight: Array | None = None) -> Selection:
    """A round on these frames."""
    fresh = np.array([not each.seen for each in kept])
    return Selection(np.stack([each.x for each in kept]), weight, None if fresh.all() else fresh)


def whole(name: str, value: int, least: int = 1) -> int:
    """The value, if it is large enough.

    Raises:
        TtaError: it is not.
    """
    if value < least:
        raise TtaError(f"{name} of a buffer is a number of frames from {least} on, but is {value}")
    return value

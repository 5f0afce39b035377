"""Batch: collect frames until there are enough, adapt on them, forget them."""

from __future__ import annotations

import numpy as np

from tta.buffers._value import LOOK, Value, whole
from tta.records import Array, Frame, Prediction, Selection


class Batch(Value):
    """Disjoint batches in the order of the stream, as published protocols have them; the default.

    A full buffer that no round takes drops its oldest frame, so that what waits stays the newest batch. At
    half a batch of 16 or more, what is there can be looked at: half a batch says whether the source is
    back.

    Memory: ``size`` frames and their model inputs. What waits at a stream's end is never padded.

    Args:
        size: frames a round; where it is left out, the stream's ``batch``.
    """

    partition = True
    selects = False

    def __init__(self, size: int) -> None:
        self.size = self.least = whole("size", size)
        self._frames: tuple[Frame, ...] = ()
        self._inputs: tuple[Array, ...] = ()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def due(self) -> bool:
        """Whether a batch is complete."""
        return len(self._frames) >= self.size

    def add(
        self, frame: Frame, x: Array, prediction: Prediction | None = None
    ) -> tuple[Batch, int]:
        """The buffer with one more frame, and how many it dropped for it."""
        dropped = int(self.due)
        frames, inputs = (*self._frames[dropped:], frame), (*self._inputs[dropped:], x)
        return self.after(_frames=frames, _inputs=inputs), dropped

    def look(self) -> Array | None:
        """The inputs so far ``(n, ...)`` where the batch is just half complete."""
        half = len(self._inputs) * 2 == self.size and self.size >= LOOK * 2
        return np.stack(self._inputs) if half else None

    def take(self) -> tuple[Selection, Batch]:
        """All that is there, and an empty buffer."""
        return Selection(np.stack(self._inputs), frames=self._frames), self.empty()

    def renewed(self) -> Batch:
        """The same: no round had any of these frames."""
        return self

    def empty(self) -> Batch:
        """Without frames."""
        return self.after(_frames=(), _inputs=())

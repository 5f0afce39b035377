"""The frames that wait for the next adaptation step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tta.records import Array, Frame

SMALLEST_LOOK = 8  # frames below which batch statistics are mostly noise


@dataclass
class FrameBuffer:
    """Collects preprocessed frames until a batch is full.

    Args:
        size: frames a batch, at least 1. A batch is never padded: padding poisons statistics.
    """

    size: int
    _frames: list[Frame] = field(default_factory=list)
    _inputs: list[Array] = field(default_factory=list)

    def add(self, frame: Frame, x: Array) -> int:
        """Keep a frame and its model input, both without the batch axis; returns how many were dropped.

        A full buffer that nobody takes drops its oldest frame, so that what waits stays the newest batch.
        """
        dropped = int(self.full)
        if dropped:
            del self._frames[0], self._inputs[0]
        self._frames.append(frame)
        self._inputs.append(x)
        return dropped

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def full(self) -> bool:
        """Whether a batch is complete."""
        return len(self._frames) >= self.size

    @property
    def half(self) -> bool:
        """Whether the batch is just half complete, and half a batch says something."""
        return len(self._frames) * 2 == self.size and self.size >= SMALLEST_LOOK * 2

    def look(self) -> Array:
        """The inputs so far ``(n, ...)``; they stay."""
        return np.stack(self._inputs)

    def take(self) -> tuple[list[Frame], Array]:
        """The frames and their inputs ``(n, ...)``; the buffer is empty afterwards."""
        frames, batch = self._frames, np.stack(self._inputs)
        self._frames, self._inputs = [], []
        return frames, batch

"""Window: the newest frames, looked at again and again as the stream moves on."""

from __future__ import annotations

import numpy as np

from tta.buffers._value import LOOK, Kept, Value, selection, whole
from tta.records import Array, Frame, Prediction, Selection


class Window(Value):
    """A sliding window: each frame is answered at once, a round on the newest ``size`` comes each ``stride``.

    The first round comes once the window is full. With a stride below the size rounds overlap, so that a
    frame is in size/stride of them: more steps from as many frames, and neighbours that depend on each
    other more. With a stride above it, frames between two windows are passed over, which costs less. With
    stride = size it hands out the same rounds as ``batch``. This is how batch methods are judged at batch 1
    (Marsden et al., "Universal test-time adaptation through weight ensembling, diversity weighting, and
    prior correction", WACV 2024; rule after their benchmark's description, section number not checked).

    Memory: ``size`` model inputs.

    Args:
        size: frames a round.
        stride: frames from one round to the next; 0 for as many as ``size``.
    """

    partition = False
    selects = False

    def __init__(self, size: int = 16, stride: int = 0) -> None:
        self.size = whole("size", size)
        self.stride = whole("stride", stride, 0) or size
        self.least = min(self.size, max(self.stride, LOOK))
        self._needed = self.size  # frames of the next round at least
        self._kept: tuple[Kept, ...] = ()
        self._count = 0
        self._since = max(0, self.stride - size)  # frames since the last round

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def due(self) -> bool:
        """Whether the window is full, and has moved far enough; after a jump it need not be full."""
        return len(self._kept) >= self._needed and self._since >= self.stride

    def add(
        self, frame: Frame, x: Array, prediction: Prediction | None = None
    ) -> tuple[Window, int]:
        """The buffer one frame on, and how many left it although a round in time would have had them."""
        full = len(self._kept) >= self.size
        lost = full and not self._kept[0].seen and self.stride <= self.size
        kept = (*self._kept[int(full) :], Kept(x, self._count))
        needed = self.size if len(kept) >= self.size else self._needed
        new = self.after(_kept=kept, _count=self._count + 1, _since=self._since + 1, _needed=needed)
        return new, int(lost)

    def look(self) -> Array | None:
        """The frames since the last round, half way to the next one."""
        n = min(self._since, len(self._kept))
        half = self._since * 2 == self.stride and n >= LOOK
        return np.stack([each.x for each in self._kept[-n:]]) if half else None

    def take(self) -> tuple[Selection, Window]:
        """The whole window; it stays."""
        kept = tuple(Kept(k.x, k.at, seen=True) for k in self._kept)
        return selection(self._kept), self.after(_kept=kept, _since=0)

    def moved(self) -> Window:
        """The frames that no round had yet; rounds begin with as many as ``least``."""
        return self.renewed().after(_needed=self.least)

    def hurried(self, within: int) -> Window:
        """The next round is due within so many frames, if enough are kept by then."""
        return self.after(_since=max(self._since, self.stride - within))

    def renewed(self) -> Window:
        """The frames that no round had yet."""
        return self.after(_kept=tuple(k for k in self._kept if not k.seen))

    def empty(self) -> Window:
        """As at the beginning."""
        return Window(self.size, self.stride)

"""Frames that a source numbered and never handed over, seen from the numbers of those that came."""

from __future__ import annotations

from tta.records import Frame


class Gaps:
    """Follows the frames of one stream; another source begins anew.

    >>> import numpy as np
    >>> gaps = Gaps()
    >>> [gaps.before(Frame(np.zeros(1), 0.0, seq)) for seq in (5, 6, 9)]
    [0, 0, 2]
    """

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def before(self, frame: Frame) -> int:
        """How many are missing between the frame that came last and this one."""
        last, self._last = self._last, (frame.source, frame.seq)
        if last is None or last[0] != frame.source:
            return 0
        return max(0, frame.seq - last[1] - 1)

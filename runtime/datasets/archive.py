"""Images of a .npz archive, found as ``npz://`` finds them."""

from __future__ import annotations

from tta.runtime.datasets._rows import Rows
from tta.runtime.sources.npz import Npz


class Archive(Rows):
    """Arrays ``images`` ``(N, H, W)`` or ``(N, H, W, C)`` uint8 and, if it has them, ``labels`` ``(N,)``.

    ``clips`` or ``subjects`` ``(N,)``, numbers or names, say which rows belong together.

    Args:
        path: the archive.
        size: pixels a side that images are brought to; None leaves them.
    """

    def __init__(self, path: str, size: int | None = None) -> None:
        data, labels = Npz(path).arrays()
        super().__init__(data, labels, (), path, size)
        self.clips = Npz(path).clips(len(data))

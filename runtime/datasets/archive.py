"""Images of a .npz archive, found as ``npz://`` finds them."""

from __future__ import annotations

from tta.runtime.datasets._rows import Rows
from tta.runtime.sources.npz import Npz


class Archive(Rows):
    """Arrays ``images`` ``(N, H, W)`` or ``(N, H, W, C)`` uint8 and, if it has them, ``labels`` ``(N,)``.

    Args:
        path: the archive.
        size: pixels a side that images are brought to; None leaves them.
    """

    def __init__(self, path: str, size: int | None = None) -> None:
        data, labels = Npz(path).arrays()
        super().__init__(data, labels, (), path, size)

"""The frames of a video file, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

import numpy as np

from tta.errors import SourceError
from tta.records import Array, Frame
from tta.runtime.datasets import Dataset, square
from tta.runtime.sources.file import File


class Video(Dataset):
    """RGB frames without labels; decoded as they are asked for, so another order costs time.

    Args:
        path: the file.
        size: pixels a side that frames are brought to; None leaves them.
    """

    order: ClassVar[str] = "given"

    def __init__(self, path: str, size: int | None = None) -> None:
        self.name, self._size = path, size
        self._file = File(path)
        self._frames: Iterator[Frame] = iter(())
        self._next, self._last = 0, -1
        first = list(islice(self._open(), 2))
        if len(first) == 2:
            self.fps = 1 / max(1e-3, first[1].t_s - first[0].t_s)
        self.lengths = np.ones(sum(1 for _ in self._open()), int)

    def _open(self) -> Iterator[Frame]:
        self._file.__exit__(None, None, None)
        self._next = 0
        return iter(self._file.__enter__())

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        images: list[Array] = []
        for item in items:
            images.append(images[-1] if item == self._last and images else self._image(int(item)))
        return np.stack(images)

    def _image(self, item: int) -> Array:
        if item < self._next or not self._next:
            self._frames = self._open()
        frame = next(islice(self._frames, item - self._next, None), None)
        if frame is None:
            raise SourceError(f"{self.name} ends before frame {item}")
        self._next, self._last = item + 1, item
        return frame.data if self._size is None else square(frame.data, self._size)

    def close(self) -> None:
        """Let go of the file."""
        self._frames, self._next = iter(()), 0
        self._file.__exit__(None, None, None)

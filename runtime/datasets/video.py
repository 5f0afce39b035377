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

_MOST_BYTES = 1 << 29


class Video(Dataset):
    """RGB frames without labels.

    As many as fit into half a gigabyte are kept; later ones are decoded each time they are asked for,
    and in another order than the file's that is slow.

    Args:
        path: the file.
        size: pixels a side that frames are brought to; None leaves them.
    """

    order: ClassVar[str] = "given"

    def __init__(self, path: str, size: int | None = None) -> None:
        self.name, self._size = path, size
        self._file = File(path)
        self._frames: Iterator[Frame] = iter(())
        self._next, self._last = 0, (-1, np.zeros(0, np.uint8))
        self._kept: dict[int, Array] = {}
        room, times = _MOST_BYTES, []
        for count, frame in enumerate(self._open()):
            times.append(frame.t_s)
            image = self._fit(frame.data)
            room -= image.nbytes
            if room >= 0:
                self._kept[count] = image
        if len(times) > 1:
            self.fps = round((len(times) - 1) / max(1e-3, times[-1] - times[0]), 6)
        self.lengths = np.ones(len(times), int)

    def _open(self) -> Iterator[Frame]:
        self._file.__exit__(None, None, None)
        self._next = 0
        return iter(self._file.__enter__())

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        return np.stack([self._image(int(item)) for item in items])

    def _fit(self, image: Array) -> Array:
        return image if self._size is None else square(image, self._size)

    def _image(self, item: int) -> Array:
        if item in self._kept:
            return self._kept[item]
        if item == self._last[0]:
            return self._last[1]
        if item < self._next or not self._next:
            self._frames = self._open()
        frame = next(islice(self._frames, item - self._next, None), None)
        if frame is None:
            raise SourceError(f"{self.name} ends before frame {item}")
        self._next, self._last = item + 1, (item, self._fit(frame.data))
        return self._last[1]

    def close(self) -> None:
        """Let go of the file."""
        self._frames, self._next = iter(()), 0
        self._file.__exit__(None, None, None)

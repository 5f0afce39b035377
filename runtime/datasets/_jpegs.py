"""Labelled JPEG images in one .npz: all bytes in ``data``, where each ends in ``offsets``, ``labels``."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tta.errors import SourceError
from tta.records import Array
from tta.runtime.datasets import Dataset, square
from tta.runtime.extra import load_extra


class Jpegs(Dataset):
    """Images decoded when they are read, each of them once.

    Args:
        path: the archive.
        what: what it is, for messages.
        size: pixels a side that images are brought to; None leaves them.
        crop: pixels a side that are cut out of the middle where ``size`` is None; None leaves them.
    """

    def __init__(self, path: Path, what: str, size: int | None, crop: int | None = None) -> None:
        try:
            with np.load(path, allow_pickle=False) as archive:
                self._data, self._offsets = archive["data"], archive["offsets"]
                self.labels = archive["labels"].astype(np.int64)
                names = next((archive[k] for k in ("classes", "names") if k in archive), ())
        except (OSError, ValueError, KeyError) as error:
            raise SourceError(f"{path} is not the archive that {what} needs: {error}") from error
        self.name, self._size, self._crop = what, size, crop
        self.lengths = np.ones(len(self._offsets) - 1, int)
        self.names = [str(name) for name in names]
        self._seen: dict[int, Array] = {}

    @cached_property
    def _pillow(self) -> Any:
        return load_extra("sim", self.name, "PIL.Image")

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        return np.stack([self._image(int(item)) for item in items])

    def _image(self, item: int) -> Array:
        if item not in self._seen:
            content = self._data[self._offsets[item] : self._offsets[item + 1]].tobytes()
            with self._pillow.open(io.BytesIO(content)) as file:
                image = np.asarray(file.convert("RGB"))
            if self._size is not None:
                image = square(image, self._size)
            elif self._crop is not None:
                top, left = ((s - self._crop) // 2 for s in image.shape[:2])
                image = image[top : top + self._crop, left : left + self._crop]
            self._seen[item] = np.ascontiguousarray(image)
        return self._seen[item]

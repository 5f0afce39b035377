"""Images that are rows of one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta.errors import SourceError
from tta.records import Array
from tta.runtime.datasets import Dataset, square


class Rows(Dataset):
    """Images, or windows of a sensor, in memory.

    Args:
        data: images ``(N, H, W)`` or ``(N, H, W, C)`` uint8, or windows of a sensor ``(N, C, T)`` of
            real numbers.
        labels: ``(N,)`` whole numbers, or None.
        names: name of each class.
        name: what they are.
        size: pixels a side that images are brought to; None leaves them.
    """

    def __init__(
        self,
        data: Array,
        labels: Array | None = None,
        names: Sequence[str] = (),
        name: str = "array",
        size: int | None = None,
    ) -> None:
        if data.dtype.kind == "f" and data.ndim == 3:
            self.kind, self.windows = "sensor", True
            data = data.astype(np.float32)
        elif data.dtype != np.uint8 or data.ndim not in (3, 4):
            raise SourceError(
                f"{name} must hold images uint8 of shape (N, H, W) or (N, H, W, C), or windows of a "
                f"sensor (N, C, T) of real numbers, but holds {data.dtype} of shape {data.shape}"
            )
        if self.windows and size is not None:
            raise SourceError(f"{name} holds windows of a sensor and no images: leave size out")
        if not len(data):
            raise SourceError(f"{name} holds no images")
        self._data, self._size, self.name, self.names = data, size, name, list(names)
        self.lengths = np.ones(len(data), int)
        self.labels = None if labels is None else np.asarray(labels).astype(np.int64)
        if self.labels is not None and self.labels.shape != (len(data),):
            raise SourceError(
                f"labels of {name} must have shape ({len(data)},), but have {self.labels.shape}"
            )

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        images: Array = self._data[items]
        if self._size is None:
            return images
        return np.stack([square(image, self._size) for image in images])

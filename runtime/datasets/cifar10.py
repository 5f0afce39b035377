"""CIFAR-10, as JPEG images in ``$TTA_DATA``: ``cifar10`` is the test set, ``cifar10/train`` the other."""

from __future__ import annotations

from tta.errors import SourceError
from tta.runtime.datasets import data_file
from tta.runtime.datasets._jpegs import Jpegs


class Cifar10(Jpegs):
    """10,000 (test) or 50,000 (train) images of 32x32 RGB in 10 classes.

    Args:
        part: ``test`` or ``train``.
        size: pixels a side that images are brought to; None leaves them.
    """

    def __init__(self, part: str = "", size: int | None = None) -> None:
        part = part or "test"
        if part not in ("test", "train"):
            raise SourceError(f"cifar10 has the parts test and train, but not {part!r}")
        super().__init__(data_file("cifar10", f"cifar10_{part}_jpeg.npz"), "cifar10", size)

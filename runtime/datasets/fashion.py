"""Fashion-MNIST: the 2,000 test images that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from tta.errors import SourceError
from tta.runtime.datasets._rows import Rows


class Fashion(Rows):
    """Images of 28x28, gray, in 10 classes.

    Args:
        part: must be empty.
        size: pixels a side that images are brought to; None leaves them.
    """

    def __init__(self, part: str = "", size: int | None = None) -> None:
        if part:
            raise SourceError(f"fashion has no part {part!r}: write sim://fashion")
        with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
            names = [str(name) for name in data["names"]]
            super().__init__(data["images"], data["labels"], names, "fashion", size)

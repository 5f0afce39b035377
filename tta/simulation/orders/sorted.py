"""Class by class: all of class 0, then all of class 1, and so on."""

from __future__ import annotations

import numpy as np

from tta.records import Array
from tta.simulation import pool


class ByClass:
    """Random items of the data set, sorted by class; within a class they are independent."""

    needs_labels = True

    def indices(
        self, count: int, length: int, labels: Array | None, rng: np.random.Generator
    ) -> Array:
        """See ``Order``."""
        assert labels is not None
        items = pool(count, length, rng)
        return items[np.argsort(labels[items], kind="stable")]

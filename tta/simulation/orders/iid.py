"""Independent: items at random, each once before one comes again."""

from __future__ import annotations

import numpy as np

from tta.records import Array
from tta.simulation import pool


class Independent:
    """A permutation, and another one where the stream is longer."""

    needs_labels = False

    def indices(
        self, count: int, length: int, labels: Array | None, rng: np.random.Generator
    ) -> Array:
        """See ``Order``."""
        return pool(count, length, rng)

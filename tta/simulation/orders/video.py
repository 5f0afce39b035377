"""A scene that stays for a while: runs of one item, whose lag-k correlation is ρ^k."""

from __future__ import annotations

import numpy as np

from tta.records import Array
from tta.simulation import pool


class Video:
    """``video:0.9``: the next frame shows the same item with probability ρ, else another one.

    Any score of an item then has the autocorrelation ρ^k at lag k, as an AR(1) process has, and
    runs are 1 / (1 - ρ) frames long in the mean.
    """

    needs_labels = False
    takes = "the correlation rho, at least 0 and below 1"

    def __init__(self, correlation: str = "0.9") -> None:
        self.correlation = float(correlation)
        if not 0 <= self.correlation < 1:
            raise ValueError(correlation)

    def indices(
        self, count: int, length: int, labels: Array | None, rng: np.random.Generator
    ) -> Array:
        """See ``Order``."""
        new = rng.random(length) >= self.correlation
        new[0] = True
        which = np.cumsum(new) - 1
        values: Array = pool(count, int(which[-1]) + 1, rng)[which]
        return values

"""Bursts of classes: each class is spread over the stream unevenly, by a Dirichlet distribution."""

from __future__ import annotations

import numpy as np

from tta.records import Array
from tta.simulation import pool


class Dirichlet:
    """``dirichlet:0.1``: slots, in each of which some classes are frequent.

    The stream has as many slots as classes; each class's items go to slots in shares drawn from
    Dirichlet(δ, ..., δ), and a slot's items are shuffled. A large δ is ``iid``, a small one nearly a
    slot a class. After Gong et al., "NOTE: Robust Continual Test-time Adaptation
    Against Temporal Correlation" (NeurIPS 2022), section 4.
    """

    needs_labels = True
    takes = "delta above 0"

    def __init__(self, delta: str = "0.1") -> None:
        self.delta = float(delta)
        if not 0 < self.delta < float("inf"):
            raise ValueError(delta)

    def indices(
        self, count: int, length: int, labels: Array | None, rng: np.random.Generator
    ) -> Array:
        """See ``Order``."""
        assert labels is not None
        items = pool(count, length, rng)
        classes, which = np.unique(labels[items], return_inverse=True)
        slot = np.empty(length, int)
        for k in range(len(classes)):
            mine = np.flatnonzero(which == k)
            shares = rng.dirichlet(np.full(len(classes), self.delta))
            ends = np.rint(np.cumsum(shares) * len(mine))
            slot[mine] = np.searchsorted(ends[:-1], np.arange(len(mine)), side="right")
        return items[np.argsort(slot, kind="stable")]

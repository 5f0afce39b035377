"""Blank: a black picture, or a channel of a sensor that is stuck."""

from __future__ import annotations

import numpy as np

from tta.records import Array, Frame, Prediction

LEAST = 1e-6  # of the largest magnitude: spread below which a channel says nothing


class Blank:
    """Refuses a model input ``(C, ...)`` that has a channel without spread, or a vector ``(D,)`` without any.

    A channel of a norm layer that sees a constant has variance 0, and what is learned from it is undone
    only by many frames.
    """

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        rows = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(1, -1)
        if rows.shape[1] < 2:
            return ""
        spread = rows.max(1) - rows.min(1)
        flat = np.flatnonzero(spread <= LEAST * max(1.0, float(np.abs(rows).max())))
        if not flat.size:
            return ""
        if flat.size == len(rows):
            return "the input is blank"
        return f"channel {int(flat[0])} of the input is stuck"

"""Saturated: nearly all of a picture at the end of its range."""

from __future__ import annotations

import numpy as np

from tta.records import Array, Frame, Prediction

LOOKED_AT = 16384  # values of a frame, evenly spaced
MOST_BRIGHT = 0.9  # share of values at the upper end
MOST_DARK = 0.98  # at the lower end: black backgrounds are common


class Saturated:
    """Refuses a reading in whole numbers of which more than 90 % are at the upper end, or 98 % at the lower.

    A glare that leaves the object visible is a shift to adapt to; this is a sun in the lens, or a cap on it.
    Readings in floating point have no known end and are not looked at.
    """

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        data = np.asarray(frame.data).reshape(-1)
        data = data[:: max(1, data.size // LOOKED_AT)]
        if data.dtype.kind != "u" or data.size < 2:
            return ""
        bright = np.count_nonzero(data == np.iinfo(data.dtype).max) / data.size
        if bright > MOST_BRIGHT:
            return f"{bright:.0%} of the frame is saturated"
        dark = 1 - np.count_nonzero(data) / data.size
        return f"{dark:.0%} of the frame is black" if dark > MOST_DARK else ""

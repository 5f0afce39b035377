"""Settling: the camera has just changed its exposure, gain, white balance or focus."""

from __future__ import annotations

import math

from tta.records import Array, Frame, Prediction

KEYS = ("exposure_s", "gain", "white_balance_k", "focus")
LEAST = 0.1  # relative change that counts; automatic exposure flickers by less
WAIT_S = 2.0


class Settling:
    """Refuses frames within 2 s of a change by more than 10 % of what the source says of its settings.

    Automatic exposure overshoots and comes back; statistics learned meanwhile are of no world that stays.
    It looks at ``exposure_s``, ``gain``, ``white_balance_k`` and ``focus`` in ``Frame.meta``, where a
    source knows them.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._until_s, self._what = -math.inf, ""

    def refuses(self, frame: Frame, x: Array, prediction: Prediction) -> str:
        """A clause, or nothing."""
        for key in KEYS:
            value = frame.meta.get(key)
            if not isinstance(value, int | float) or not math.isfinite(value):
                continue
            old = self._last.get(key)
            if old is None:
                self._last[key] = float(value)
            elif abs(value - old) > LEAST * max(abs(old), 1e-12):
                self._last[key] = float(value)
                self._until_s, self._what = frame.t_s + WAIT_S, key
        if self._until_s - WAIT_S > frame.t_s:  # the clock was set back
            self._until_s = -math.inf
        if frame.t_s < self._until_s:
            return f"the camera's {self._what.partition('_')[0]} has just changed"
        return ""

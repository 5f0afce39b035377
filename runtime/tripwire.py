"""A tripwire: says when the newest frames may be of another world, which is a reason to look, no more.

Six figures of each frame cost next to nothing: of the model input its mean, the logarithm of its deviation
and that of its roughness (mean absolute difference of neighbours in the last axis); of the answer its
entropy, its energy log Σ exp(logit) and the logarithm of its features' norm. With z̄ the mean of the newest 4
frames, and median and σ = max(1.4826·MAD, sd/2) of the 64 before them, it trips where

    max over figures |z̄ - median|·√4/σ > 8.

What is done then is the governor's to decide, from a frozen view of the frames that come next, 4 and 8 after
it has tripped. Of 132 changes from one corruption of the demo's pictures, or none, to another it notices 41 %
within 4 frames and 55 % within 16; a steady stream trips it 5 times in 1,000 (tests/bench/tripwire.py).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tta.moments import robust
from tta.records import Array, Prediction

NEWEST = 4  # frames that are compared with those before
RECENT = 64  # of these
LEAST = 24  # of them before it can trip
FAR = 8.0  # robust deviations
FEATURES = "features"  # the output that holds them
LOOKED_AT = 4096  # values of an input, evenly spaced
LOOKS = (4, 8)  # frames after it has tripped at which a look is due
EVERY = 8  # frames after which the usual is taken anew


class Tripwire:
    """Watches one stream.

    Args:
        primary: name of the output whose energy is looked at.
    """

    def __init__(self, primary: str) -> None:
        self._primary = primary
        self._past = deque[Array](maxlen=RECENT + NEWEST)
        self._inputs = deque[Array](maxlen=max(LOOKS))
        self._since = -1  # frames since it tripped, that one counted; -1 for not
        self._age = 0
        self._middle = self._reach = np.zeros(0)
        self.trips = 0

    def see(self, x: Array, answer: Prediction) -> None:
        """A frame goes by: model input and what was served for it."""
        self._inputs.append(x)
        if self._since >= 0:
            self._since += 1
            if self._since > max(LOOKS):
                self._since = -1
        self._past.append(self._figures(x, answer))
        if self._since < 0 and self._trips():
            self._since = 1
            self.trips += 1
            self._past.clear()  # what is usual is another thing from here on
            self._age = 0

    def look(self) -> Array | None:
        """The frames since it tripped, where it is time to look at them."""
        if self._since not in LOOKS:
            return None
        return np.stack(list(self._inputs)[-self._since :])

    def rest(self) -> None:
        """What it tripped for has been dealt with."""
        self._since = -1

    def _figures(self, x: Array, answer: Prediction) -> Array:
        rows = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
        step = max(1, x.size // LOOKED_AT)
        some = rows[::step] if len(rows) > step else rows
        values = some.astype(np.float64, copy=False)
        rough = float(np.abs(np.diff(values, axis=1)).mean()) if values.shape[1] > 1 else 0.0
        found = [values.mean(), math.log(values.std() + 1e-3), math.log(rough + 1e-3)]
        logits = answer.outputs.get(self._primary)
        if answer.probabilities.size and logits is not None:
            top = float(logits.max())
            energy = top + math.log(np.exp(np.asarray(logits, np.float64) - top).sum())
            found += [answer.entropy, energy]
        if FEATURES in answer.outputs:
            found.append(math.log(float(np.linalg.norm(answer.outputs[FEATURES])) + 1e-6))
        return np.array(found, dtype=np.float64)

    def _trips(self) -> bool:
        if len(self._past) < LEAST + NEWEST:
            return False
        past = np.array(self._past)
        if self._age % EVERY == 0:
            before = past[:-NEWEST]
            self._middle, spread = robust(before)
            self._reach = np.maximum(np.maximum(spread, before.std(axis=0) / 2), 1e-3)
        self._age += 1
        away = np.abs(past[-NEWEST:].mean(axis=0) - self._middle) * NEWEST**0.5
        return bool((away > FAR * self._reach).any())

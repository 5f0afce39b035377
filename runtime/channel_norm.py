"""A sensor's channels brought back to the statistics that the model was trained on, here or in the device.

A channel c of mean μ and deviation σ at the source that is now of mean m and deviation s is corrected
to ``(x - m)·σ/s + μ``, so the model's normalized input ``(x' - μ)/σ`` is ``(x - m)/s``: just what NORM
makes the device compute. The statistics are always those of readings in units, which the host has from
each frame by the frame's own norm epoch. So the estimate never sees its own correction, and there is
nothing to fight: whoever applies it, the model's input is the same but for one quantisation step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tta.errors import SourceError
from tta.records import Array, Frame

FAR, WIDE = 0.5, 1.6  # deviations off, or times as wide or narrow, that begin a new estimate


class Correction(NamedTuple):
    """Statistics of now: ``mean`` and ``std``, ``(C,)`` in units."""

    mean: Array
    std: Array


class ChannelNorm:
    """Wraps a stream's preprocessing of windows.

    Readings are collected ``horizon`` samples at a time. Where their statistics are far from those in
    force, the next horizon decides: the correction then becomes its statistics, or none if they are the
    source's. So one change takes one to two horizons, and a horizon should hold all that the sensor
    normally does: an activity alone looks like drift.

    Args:
        inner: the preprocessing; its result is ``(x - μ)/σ``.
        mean, std: μ and σ, ``(C,)`` in units.
        horizon: samples.
        changed: called with the new correction, None for the source's, before the next window uses it.

    Attributes:
        correction: in force, None for none.
        changes: how many so far.
    """

    def __init__(
        self,
        inner: Any,
        mean: Array,
        std: Array,
        horizon: int = 3000,
        changed: Callable[[Correction | None], None] | None = None,
    ) -> None:
        self._inner, self._changed, self._horizon = inner, changed, horizon
        self._mean, self._std = np.asarray(mean, float), np.asarray(std, float)
        self.correction: Correction | None = None
        self.changes = 0
        self._deciding = False
        self._clear()

    def _clear(self) -> None:
        self._n = 0
        self._sum = np.zeros(len(self._mean))
        self._squares = np.zeros(len(self._mean))

    def reset(self) -> None:
        """The stream begins anew; the correction stays, since it is the sensor's."""
        self._inner.reset()

    def __call__(self, frame: Frame) -> Array | None:
        """The model's input, corrected as a whole: no window is half of one correction, half of another."""
        found: Array | None = self._inner(frame)
        self._observe(np.asarray(frame.data, float).reshape(len(self._mean), -1))
        if found is None or self.correction is None:
            return found
        mean, std = self.correction
        gain, offset = self._std / std, (self._mean - mean) / std
        corrected: Array = (found * gain[:, None] + offset[:, None]).astype(np.float32)
        return corrected

    def _observe(self, values: Array) -> None:
        centred = values - self._mean[:, None]
        self._n += values.shape[1]
        self._sum += centred.sum(1)
        self._squares += (centred**2).sum(1)
        if self._n < self._horizon:
            return
        off = self._sum / self._n
        std = np.sqrt(np.maximum(self._squares / self._n - off**2, 0))
        now = Correction(self._mean + off, np.maximum(std, self._std / 8))
        self._clear()
        if self._deciding:
            self._deciding = False
            source = Correction(self._mean, self._std)
            self._adopt(None if not self._far(now, source) else now)
        else:
            self._deciding = self._far(now, self.correction or Correction(self._mean, self._std))

    def _far(self, now: Correction, then: Correction) -> bool:
        off = np.abs(now.mean - then.mean) / self._std
        ratio = now.std / then.std
        return bool((off > FAR).any() or (np.maximum(ratio, 1 / ratio) > WIDE).any())

    def _adopt(self, correction: Correction | None) -> None:
        self.correction = correction
        self.changes += 1
        if self._changed is not None:
            self._changed(correction)


def attach(
    stream: Any, horizon: int, changed: Callable[[Correction | None], None] | None = None
) -> ChannelNorm:
    """Put a correction of channels into a stream.

    What the stream's state has learned of the same shift goes back to the source when a correction comes into
    force: its slots and the correction never undo the shift twice.

    Raises:
        SourceError: the bundle takes no windows of a sensor.
    """
    spec = stream.model.bundle.manifest.preprocess
    if spec.get("kind") != "window" or "mean" not in spec or "std" not in spec:
        raise SourceError(
            "option correct of serial:// needs a bundle whose preprocess makes windows and says mean and std"
        )

    def change(correction: Correction | None) -> None:
        stream.to_source()
        if changed is not None:
            changed(correction)

    norm = ChannelNorm(stream.preprocess, spec["mean"], spec["std"], horizon, change)
    stream.preprocess = norm
    return norm

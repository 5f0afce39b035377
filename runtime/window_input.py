"""Preprocessing of kind ``window``: a sensor's samples are collected into windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta.errors import BundleError, FrameError
from tta.manifest import InputSpec
from tta.records import Array, Frame
from tta.runtime.frame_array import affine, fits, reading, sample


class WindowInput:
    """The last T samples, every H of them, as ``(C, T)``: (x·scale - mean) / std.

    A frame is a sample ``(C,)``, a chunk ``(C, t)`` in order of time, or a whole window ``(C, T)``,
    which passes through. No window spans a gap in the sequence numbers, an unusable frame or a
    ``reset``: each empties the window, and the next one takes T samples again.

    Args:
        spec: ``channels`` C, ``length`` T, ``hop`` H (default T), ``mean`` and ``std`` ``(C,)``.
        input_spec: the model's input.

    Attributes:
        gaps: how often a window that had begun was given up.
        missed: windows that nobody saw, because one chunk held more than one.
    """

    def __init__(self, spec: Mapping[str, Any], input_spec: InputSpec) -> None:
        self._channels, self._length = int(spec["channels"]), int(spec["length"])
        self._hop = int(spec.get("hop") or self._length)
        if min(self._channels, self._length, self._hop) < 1 or not fits(
            (self._channels, self._length), input_spec
        ):
            raise BundleError(
                f"the bundle's preprocess makes windows ({self._channels}, {self._length}) every "
                f"{self._hop}, but its model takes {input_spec.sample}: export again"
            )
        gain, offset = affine(spec, self._channels)
        self._gain, self._offset = gain[:, None], offset[:, None]
        self._input = input_spec
        self._last_seq: int | None = None
        self.gaps = self.missed = 0
        # Twice the length, so that most samples are only written and none is moved twice.
        self._buffer = np.zeros((self._channels, 2 * self._length), np.float32)
        self._end = 0
        self._wait = self._length  # samples until the next window is complete

    def reset(self) -> None:
        """Empty the window: the stream begins anew."""
        self._empty()
        self._last_seq = None

    def __call__(self, frame: Frame) -> Array | None:
        """The newest window that this frame completes, None where it completes none."""
        if self._last_seq is not None and frame.seq != self._last_seq + 1:
            self._give_up()
        self._last_seq = frame.seq
        try:
            chunk = self._chunk(reading(frame), frame)
        except FrameError:
            self._give_up()
            raise
        if chunk.shape[1] == self._length:
            self._empty()
            return self._normal(chunk, frame)
        window = None
        at = 0
        while at < chunk.shape[1]:
            piece = chunk[:, at : at + min(self._wait, self._length)]
            at += piece.shape[1]
            self._append(piece)
            if self._wait == 0:
                self._wait = self._hop
                self.missed += window is not None
                window = self._buffer[:, self._end - self._length : self._end].copy()
        return None if window is None else self._normal(window, frame)

    def _chunk(self, data: Array, frame: Frame) -> Array:
        C = self._channels
        if data.ndim not in (1, 2) or data.shape[0] != C:
            swapped = data.ndim == 2 and data.shape[1] == C
            raise FrameError(
                f"sensor frame {frame.seq} has shape {data.shape}; expected ({C},) or ({C}, t)"
                + (": the axes are swapped, transpose it" if swapped else "")
            )
        with np.errstate(over="ignore"):
            chunk = data.reshape(C, -1).astype(np.float32)
        if not np.isfinite(chunk).all():
            raise FrameError(f"sensor frame {frame.seq} has values too large for float32")
        return chunk

    def _append(self, piece: Array) -> None:
        count = piece.shape[1]
        if self._end + count > self._buffer.shape[1]:
            self._buffer[:, : self._length] = self._buffer[:, self._end - self._length : self._end]
            self._end = self._length
        self._buffer[:, self._end : self._end + count] = piece
        self._end += count
        self._wait -= count

    def _normal(self, window: Array, frame: Frame) -> Array:
        return sample(window * self._gain + self._offset, self._input, frame)

    def _give_up(self) -> None:
        self.gaps += self._wait < self._length
        self._empty()

    def _empty(self) -> None:
        self._end, self._wait = 0, self._length

"""Seeded noise, the null object among sources: ``synthetic://?shape=3x32x32&frames=100&seed=0``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from tta.errors import SourceError
from tta.records import Frame


class Synthetic:
    """Random frames: standard normal float32, or uniform uint8; the same ones for the same seed.

    Args:
        rest: must be empty.
        shape: of a frame, ``3x32x32``.
        frames: how many.
        seed: of the generator.
        dtype: ``float32`` or ``uint8``.
        fps: time stamps are sequence number / fps seconds.

    >>> with Synthetic(shape="2", frames=1) as source:
    ...     [frame.data.shape for frame in source]
    [(2,)]
    """

    live = False

    def __init__(
        self,
        rest: str = "",
        *,
        shape: str = "3x32x32",
        frames: int = 100,
        seed: int = 0,
        dtype: str = "float32",
        fps: float = 30.0,
    ) -> None:
        if rest:
            raise SourceError(f"synthetic:// takes options only, as in synthetic://?{rest}")
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
            raise SourceError(
                f"option shape of synthetic:// must be like 3x32x32, but is {shape!r}"
            )
        if dtype not in ("float32", "uint8"):
            raise SourceError(
                f"option dtype of synthetic:// must be float32 or uint8, but is {dtype!r}"
            )
        if fps <= 0 or seed < 0:
            raise SourceError("options fps and seed of synthetic:// must not be negative")
        self._shape = tuple(int(size) for size in shape.split("x"))
        self._frames, self._seed, self._dtype, self._fps = frames, seed, dtype, fps

    def __enter__(self) -> Synthetic:
        if self._frames < 1:
            raise SourceError(
                f"synthetic:// with frames={self._frames} is empty: ask for 1 or more"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        self.__enter__()
        rng = np.random.default_rng(self._seed)
        for seq in range(self._frames):
            if self._dtype == "uint8":
                data = rng.integers(0, 256, self._shape, np.uint8)
            else:
                data = rng.standard_normal(self._shape).astype(np.float32)
            yield Frame(data, seq / self._fps, seq, "synthetic://")

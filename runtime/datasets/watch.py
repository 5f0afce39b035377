"""A smartwatch on ten people doing seven shoulder exercises: the recordings of the package seglearn."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from pathlib import Path
from typing import Literal

import numpy as np

from tta.errors import SourceError
from tta.records import Array
from tta.runtime.datasets import Dataset

_FILE = "data/watch_dataset.npy"
_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"  # of seglearn 1.2.5


class Watch(Dataset):
    """140 recordings of acceleration and turn rate, ``(6,)`` float32 at 50 Hz, 244,102 samples.

    Args:
        part: subjects: ``8`` or ``8-10``; empty for all ten.
        size: must be None.
    """

    kind: Literal["image", "sensor"] = "sensor"
    fps = 50.0

    def __init__(self, part: str = "", size: int | None = None) -> None:
        if size is not None:
            raise SourceError("watch has samples of a sensor and no images: leave size out")
        match = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", part or "1-10")
        if match is None:
            raise SourceError(f"watch/{part} names no subjects: write watch/8 or watch/8-10")
        first, last = int(match[1]), int(match[2] or match[1])
        # The file is a pickle, which could run anything: it must be the one that is known.
        content = _content()
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise SourceError(
                f"{_FILE} of seglearn is not that of version 1.2.5, and it is not read: "
                "pip install --no-deps seglearn==1.2.5"
            )
        data = np.load(io.BytesIO(content), allow_pickle=True).item()
        chosen = np.flatnonzero((data["subject"] >= first) & (data["subject"] <= last))
        if not chosen.size:
            raise SourceError(f"watch has subjects 1 to 10, but none in {part}")
        self.name, self.names = "watch", [str(name) for name in data["y_labels"]]
        self.labels = data["y"][chosen].astype(np.int64)
        self.subjects = data["subject"][chosen]
        series = [np.asarray(data["X"][k], np.float32) for k in chosen]
        self.lengths = np.array([len(each) for each in series])
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._samples = np.concatenate(series)

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        samples: Array = self._samples[self._starts[items] + at]
        return samples


def _content() -> bytes:
    spec = importlib.util.find_spec("seglearn")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "sim://watch reads the recordings of the package seglearn, which is not installed: "
            "pip install --no-deps seglearn==1.2.5"
        )
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise SourceError(f"seglearn is installed, but has no {_FILE}: install version 1.2.5")
    return path.read_bytes()

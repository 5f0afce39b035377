"""Arrays of an archive: ``npz://data.npz?key=images&labels=labels&start=0&stop=100&shuffle=7``."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from tta.errors import SourceError
from tta.records import Array, Frame

_DATA = ("data", "images", "image", "x", "X", "frames", "inputs", "samples", "signals", "windows")
_LABELS = ("labels", "label", "y", "targets")
_CLIPS = ("clips", "clip", "subjects", "subject", "groups")


class Npz:
    """The rows of an array ``(N, ...)``, one frame each; labels go to ``meta["label"]``.

    Args:
        path: the .npz file; pickled objects in it are refused.
        key: name of the array; by default the one whose name says data, else the only one with two
            axes or more.
        labels: name of the label array ``(N,)``; by default one called labels, label, y or targets.
        start: first row.
        stop: row to stop before.
        shuffle: seed of a random order; none is the order of the file.
        fps: time stamps are sequence number / fps seconds.
    """

    live = False

    def __init__(
        self,
        path: str,
        *,
        key: str | None = None,
        labels: str | None = None,
        start: int = 0,
        stop: int | None = None,
        shuffle: int | None = None,
        fps: float = 30.0,
    ) -> None:
        if fps <= 0:
            raise SourceError(f"option fps of npz:// must be positive, but is {fps}")
        if start < 0 or (stop is not None and stop < 0) or (shuffle is not None and shuffle < 0):
            raise SourceError("options start, stop and shuffle of npz:// must not be negative")
        self._path = Path(os.path.expanduser(path))
        self._key, self._label_key = key, labels
        self._start, self._stop, self._shuffle, self._fps = start, stop, shuffle, fps
        self._loaded: tuple[Array, Array | None] | None = None

    def __enter__(self) -> Npz:
        self._loaded = self.arrays()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loaded = None

    def __iter__(self) -> Iterator[Frame]:
        data, labels = self._loaded or self.arrays()
        rows = np.arange(len(data))[self._start : self._stop]
        if not rows.size:
            raise SourceError(
                f"{self._path} has {len(data)} rows, of which start={self._start} and "
                f"stop={self._stop} leave none"
            )
        if self._shuffle is not None:
            rows = np.random.default_rng(self._shuffle).permutation(rows)
        for seq, row in enumerate(rows):
            meta = {"row": int(row)}
            if labels is not None:
                meta["label"] = int(labels[row])
            yield Frame(data[row], seq / self._fps, seq, f"npz://{self._path}", meta)

    def arrays(self) -> tuple[Array, Array | None]:
        """The data ``(N, ...)`` and the labels ``(N,)``, None where there are none.

        Raises:
            SourceError: there is no such file, or it does not say which array is which.
        """
        with self._opened() as arrays:
            data = arrays.data(self._key)
            return data, arrays.labels(self._label_key, len(data))

    def clips(self, count: int) -> Array | None:
        """Number of the clip or subject of each of ``count`` rows; None where no array says it.

        Raises:
            SourceError: there is no such file, or it cannot be read.
        """
        with self._opened() as arrays:
            return arrays.clips(count)

    @contextmanager
    def _opened(self) -> Iterator[_Arrays]:
        if not os.path.isfile(self._path):
            raise SourceError(f"npz:// needs a .npz file, but there is none at {self._path}")
        try:
            with self._path.open("rb") as file:  # np.load leaves a damaged one open
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise SourceError(f"{self._path} is a single array, not an .npz archive")
                yield _Arrays(self._path, archive)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise SourceError(f"{self._path} is not a readable .npz archive: {error}") from error


class _Arrays:
    """Chooses arrays of an open archive."""

    def __init__(self, path: Path, archive: np.lib.npyio.NpzFile) -> None:
        self._path, self._archive, self._names = path, archive, list(archive.files)

    def data(self, key: str | None) -> Array:
        if key is not None:
            array = self._get(key)
            if array.ndim < 2:
                raise SourceError(
                    f"array {key!r} of {self._path} has shape {array.shape}; frames need (N, ...)"
                )
            return array
        for name in _DATA:
            if name in self._names and (array := self._get(name)).ndim >= 2:
                return array
        others = [(n, a) for n in self._names if (a := self._get(n)).ndim >= 2]
        if len(others) != 1:
            raise SourceError(
                f"{self._path} does not say which array holds the frames: name it with ?key=...; "
                f"it has {self._listing()}"
            )
        return others[0][1]

    def labels(self, key: str | None, count: int) -> Array | None:
        if key is None:
            key = next((n for n in _LABELS if n in self._names and self._fits(n, count)), None)
            return None if key is None else self._get(key)
        array = self._get(key)
        if not self._fits(key, count):
            raise SourceError(
                f"labels {key!r} of {self._path} must be integers of shape ({count},), but are "
                f"{array.dtype} of shape {array.shape}"
            )
        return array

    def clips(self, count: int) -> Array | None:
        for name in _CLIPS:
            if name in self._names:
                array = self._get(name)
                if array.shape == (count,) and array.dtype.kind in "iuU":
                    numbers: Array = np.unique(array, return_inverse=True)[1].reshape(-1)
                    return numbers if array.dtype.kind == "U" else array.astype(np.int64)
        return None

    def _fits(self, key: str, count: int) -> bool:
        array = self._get(key)
        return array.shape == (count,) and array.dtype.kind in "iu"

    def _get(self, key: str) -> Array:
        if key not in self._names:
            raise SourceError(f"{self._path} has no array {key!r}; it has {self._listing()}")
        try:
            array: Array = self._archive[key]
        except ValueError as error:
            raise SourceError(
                f"array {key!r} of {self._path} cannot be read safely: {error}"
            ) from error
        array.flags.writeable = False  # frames are views of it
        return array

    def _listing(self) -> str:
        return ", ".join(self._names) or "no arrays"

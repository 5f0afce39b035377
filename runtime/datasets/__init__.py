"""Data that can be streamed in any order: labelled images, recordings of sensors, videos.

One data set or kind of file is one file here, found by its name: ``cifar10``, ``imagenet``,
``fashion``, ``watch``; ``archive`` (.npz), ``folder`` and ``video`` read what a path names.
"""

from __future__ import annotations

if __name__ != "tta.runtime.datasets":
    raise ImportError("import tta.runtime.datasets, not runtime.datasets")

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np

from tta import registry
from tta.errors import SourceError
from tta.records import Array
from tta.runtime.resize import resize

_PACKAGE = "tta.runtime.datasets"
_PATHS = ("archive", "folder", "video")


class Dataset:
    """Items that can be read in any order, each one image or one recording.

    Attributes:
        name: for people.
        kind: ``image``, or ``sensor`` for recordings of samples.
        order: the order that its stream has where none is asked for.
        fps: frames per second where none are asked for.
        lengths: ``(count,)`` frames of each item: 1 for images, samples of a recording.
        labels: ``(count,)`` class of each item as int, None where it is not known.
        names: name of each class, empty where they have none.
        clips: ``(count,)`` recording or subject that each item is from, as int; None where it is not known.
            Items of one clip resemble each other.
        windows: each item of a sensor is a whole window ``(C, T)``, which is one frame.
    """

    name = ""
    kind: Literal["image", "sensor"] = "image"
    order: ClassVar[str] = "iid"
    fps: float = 30.0
    lengths: Array
    labels: Array | None = None
    names: Sequence[str] = ()
    clips: Array | None = None
    windows: bool = False

    def __len__(self) -> int:
        """Number of items."""
        return len(self.lengths)

    def read(self, items: Array, at: Array) -> Array:
        """Frames: images ``(n, H, W)`` or ``(n, H, W, C)``, samples ``(n, C)``, windows ``(n, C, T)``.

        Args:
            items: ``(n,)`` which items.
            at: ``(n,)`` which frame of each item; 0 for images.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of open files."""


def open_dataset(text: str, size: int | None = None) -> Dataset:
    """The data set that a name, ``name/part`` or a path names.

    Args:
        text: ``cifar10``, ``watch/8-10``, ``photos``, ``data.npz``, ``clip.mp4``.
        size: images are brought to that many pixels a side: shorter side resized, middle cut out.

    Raises:
        SourceError: there is none, or it cannot be read.
    """
    name, _, part = text.partition("/")
    known = [each for each in registry.names(_PACKAGE) if each not in _PATHS]
    if name in known:
        made = registry.load(_PACKAGE, name)
        return cast(Dataset, made(part, size))
    path = os.path.expanduser(text)
    if not os.path.exists(path):
        raise SourceError(
            f"sim:// knows no data {text!r}: expected one of {', '.join(known)}, or the path of a "
            "folder of images, a .npz archive or a video that exists"
        )
    kind = "folder" if os.path.isdir(path) else "archive" if path.endswith(".npz") else "video"
    return cast(Dataset, registry.load(_PACKAGE, kind)(path, size))


def square(image: Array, size: int) -> Array:
    """An image ``(H, W)`` or ``(H, W, 3)`` whose shorter side is resized and whose middle is cut out."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    height, width = planes.shape[1:]
    ratio = size / min(height, width)
    whole = max(size, round(height * ratio)), max(size, round(width * ratio))
    middle = ((whole[0] - size) // 2, (whole[1] - size) // 2, size, size)
    out = resize(planes.astype(np.float32), whole, rounded=True, crop=middle).astype(np.uint8)
    return out[0] if image.ndim == 2 else np.ascontiguousarray(out.transpose(1, 2, 0))


def data_file(what: str, file: str) -> Path:
    """The file of a data set that does not come with the package, in the folder ``$TTA_DATA``.

    Raises:
        SourceError: there is no such folder or file.
    """
    root = os.environ.get("TTA_DATA", "")
    if not root:
        raise SourceError(
            f"sim://{what} needs {file}, which does not come with the package: set the environment "
            "variable TTA_DATA to the folder that holds it"
        )
    path = Path(root).expanduser() / file
    if not path.is_file():
        raise SourceError(f"sim://{what} needs {file}, but TTA_DATA={root} has no such file")
    return path

"""Images of a folder; the name of the subfolder that one lies in is its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tta.errors import SourceError
from tta.records import Array
from tta.runtime.datasets import Dataset, square
from tta.runtime.extra import load_extra
from tta.runtime.image_file import PILLOW, read_image
from tta.runtime.sources.dir_ import Dir


class Folder(Dataset):
    """The image files that ``dir://`` lists, of one size each.

    Labels are the subfolders' numbers in order of their names, where every file is in a subfolder.

    Args:
        path: the folder.
        size: pixels a side that images are brought to; None wants all files of one size.
    """

    def __init__(self, path: str, size: int | None = None) -> None:
        listing = Dir(path)
        self._paths = listing.paths()
        self._size, self.name = size, path
        self.lengths = np.ones(len(self._paths), int)
        folders = [listing.label_name(each) for each in self._paths]
        if all(folders):
            self.names = sorted(set(folders))
            self.labels = np.array([self.names.index(each) for each in folders])
        if size is None:
            self._check_sizes()

    def _check_sizes(self) -> None:
        first = _shape(self._paths[0])
        for path in self._paths[1:]:
            if (shape := _shape(path)) != first:
                raise SourceError(
                    f"images of {self.name} differ in size: {self._paths[0].name} is {_words(first)}, "
                    f"{path.name} is {_words(shape)}: add size=224, or another number of pixels, to "
                    "bring all to one"
                )

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        images = [_image(self._paths[item]) for item in items]
        if self._size is not None:
            images = [square(image, self._size) for image in images]
        if any(image.ndim == 3 for image in images):
            images = [i if i.ndim == 3 else np.repeat(i[:, :, None], 3, 2) for i in images]
        return np.stack(images)


def _image(path: Path) -> Array:
    try:
        image = read_image(path)
    except (OSError, ValueError, SyntaxError, SourceError) as error:
        raise SourceError(f"{path} is not a readable image: {error}") from error
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise SourceError(
            f"{path} must be an image of 8 bits, gray or RGB, but is {image.dtype} of shape {image.shape}"
        )
    return image


def _shape(path: Path) -> tuple[int, int]:
    if path.suffix.lower() not in PILLOW:
        height, width = _image(path).shape[:2]
        return height, width
    try:
        with load_extra("images", f"a {path.suffix} image", "PIL.Image").open(path) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError) as error:
        raise SourceError(f"{path} is not a readable image: {error}") from error


def _words(shape: tuple[int, int]) -> str:
    return f"{shape[1]}x{shape[0]}"

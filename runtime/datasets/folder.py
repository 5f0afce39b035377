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
    Gray images among coloured ones become RGB.

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
        shapes = [_shape(each) for each in self._paths]
        self._colour = any(shape[2] for shape in shapes)
        for each, shape in zip(self._paths, shapes):
            if size is None and shape[:2] != shapes[0][:2]:
                raise SourceError(
                    f"images of {path} differ in size: {self._paths[0].name} is {_words(shapes[0])}, "
                    f"{each.name} is {_words(shape)}: add size=224, or another number of pixels, to "
                    "bring all to one"
                )

    def read(self, items: Array, at: Array) -> Array:
        """See ``Dataset``."""
        images = [_image(self._paths[item]) for item in items]
        if self._size is not None:
            images = [square(image, self._size) for image in images]
        if self._colour:
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


def _shape(path: Path) -> tuple[int, int, bool]:
    """Height, width, and whether it has colours; of most formats without reading the pixels."""
    if path.suffix.lower() not in PILLOW:
        image = _image(path)
        return image.shape[0], image.shape[1], image.ndim == 3
    try:
        with load_extra("images", f"a {path.suffix} image", "PIL.Image").open(path) as image:
            return image.height, image.width, image.mode not in ("1", "L")
    except (OSError, ValueError, SyntaxError) as error:
        raise SourceError(f"{path} is not a readable image: {error}") from error


def _words(shape: tuple[int, int, bool]) -> str:
    return f"{shape[1]}x{shape[0]}"

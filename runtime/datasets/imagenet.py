"""A sample of ImageNet, 500 images of 500 classes, in ``$TTA_DATA``."""

from __future__ import annotations

from tta.errors import SourceError
from tta.runtime.datasets import data_file
from tta.runtime.datasets._jpegs import Jpegs


class ImageNet(Jpegs):
    """The middle 224x224 pixels of each image, RGB; labels are those of the 1000 classes.

    Args:
        part: must be empty.
        size: another size, cut out of images resized to it; None is 224 cut out of a side of 256.
    """

    def __init__(self, part: str = "", size: int | None = None) -> None:
        if part:
            raise SourceError(f"imagenet has no part {part!r}: write sim://imagenet")
        super().__init__(data_file("imagenet", "imagenet_sample.npz"), "imagenet", size, 224)
        names, self.names = self.names, [""] * 1000
        assert self.labels is not None
        for label, name in zip(self.labels, names):
            self.names[label] = name.partition("_")[2].replace("_", " ")

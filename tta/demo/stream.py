"""The demo's stream: labelled images whose world changes, segment by segment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType

import numpy as np

from tta.corruptions import corrupt
from tta.records import Frame

FPS = 30.0


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of the stream: its name, the corruption (empty for none) and its severity."""

    name: str
    corruption: str = ""
    severity: int = 0


SEGMENTS = (
    Segment("clean"),
    Segment("noise", "gaussian_noise", 5),
    Segment("fog", "fog", 2),
    Segment("contrast", "contrast", 2),
    Segment("clean again"),
)


class DemoStream:
    """Fashion-MNIST test images, each segment all of them in an order of its own.

    Args:
        seed: of the orders and of the corruptions.
        frames: frames a segment, at most the number of images shipped (2,000).
        segments: what happens.
    """

    live = False

    def __init__(
        self, seed: int = 0, frames: int = 2000, segments: Sequence[Segment] = SEGMENTS
    ) -> None:
        with np.load(str(files("tta.demo") / "fashion_test.npz")) as data:
            self._images, self._labels = data["images"], data["labels"]
        self.seed, self.segments = seed, segments
        self.frames = min(frames, len(self._images))

    def __len__(self) -> int:
        return self.frames * len(self.segments)

    def __enter__(self) -> DemoStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames with ``label`` and ``segment`` (its index) in their meta."""
        rng = np.random.default_rng(self.seed)
        for k, segment in enumerate(self.segments):
            order = rng.permutation(len(self._images))[: self.frames]
            images = self._images[order]
            if segment.corruption:
                images = corrupt(images, segment.corruption, segment.severity, rng)
            for i, (image, label) in enumerate(zip(images, self._labels[order])):
                seq = k * self.frames + i
                meta = {"label": int(label), "segment": k}
                yield Frame(image, seq / FPS, seq, "demo", meta)

"""There are only a few frames to learn from."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class FewSamples:
    """``few_samples:64``: short visits, each from the source: so many frames, as often as the images last.

    What is measured is the gain within the first frames, as a user who has just moved a camera sees it.
    """

    resets = "before each visit"
    takes = "FRAMES, at least 1"

    def __init__(self, frames: str = "64") -> None:
        self.frames = int(frames)
        if self.frames < 1:
            raise ValueError(frames)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        for k, corruption in enumerate(setting.corruptions):
            items = setting.items(k)
            for turn in range(max(1, len(items) // self.frames)):
                part = items[turn * self.frames : (turn + 1) * self.frames]
                yield visit(part, corruption, setting.severity, True)

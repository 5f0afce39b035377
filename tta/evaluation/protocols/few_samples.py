"""There are only a few frames to learn from."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit

BRIEF = 8  # visits a corruption where a quick look is wanted


class FewSamples:
    """``few_samples:64``: short visits, each from the source: so many frames, as often as the images last.

    What is measured is the gain within the first frames, as a user who has just moved a camera sees it.
    In brief, there are at most eight visits a corruption.
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
            turns = max(1, len(items) // self.frames)
            for turn in range(min(turns, BRIEF) if setting.brief else turns):
                part = items[turn * self.frames : (turn + 1) * self.frames]
                yield visit(part, corruption, setting.severity, True)

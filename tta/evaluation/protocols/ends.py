"""The shift ends: does a method find its way back?"""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Ends:
    """Two visits a corruption, first under it and then clean, from the source for each pair."""

    resets = "before each shift"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        for k, corruption in enumerate(setting.corruptions):
            yield visit(setting.items(2 * k), corruption, setting.severity, True)
            yield visit(setting.items(2 * k + 1), "none", 0, False, f"clean after {corruption}")

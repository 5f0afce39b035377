"""The shift ends: does a method find its way back?"""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Ends:
    """Two visits a corruption, first under it and then clean, from the source for each pair.

    In brief, each has half of the images.
    """

    resets = "before each shift"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        most = -(-setting.images // 2) if setting.brief else setting.images
        for k, corruption in enumerate(setting.corruptions):
            during, after = setting.items(2 * k)[:most], setting.items(2 * k + 1)[:most]
            yield visit(during, corruption, setting.severity, True)
            yield visit(after, "none", 0, False, f"clean after {corruption}")

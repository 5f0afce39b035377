"""Each shift from the source: the protocol of the first tables."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Reset:
    """One visit a corruption, the method brought back to the source before each.

    Wang et al., "Tent: fully test-time adaptation by entropy minimization", ICLR 2021, section 4.1.
    """

    resets = "before each visit"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        for k, corruption in enumerate(setting.corruptions):
            yield visit(setting.items(k), corruption, setting.severity, True)

"""One shift after another, and nobody says when."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Continual:
    """One visit a corruption, from the state that the last one left.

    Wang et al., "Continual test-time domain adaptation", CVPR 2022, section 4.
    """

    resets = "never"

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        for k, corruption in enumerate(setting.corruptions):
            yield visit(setting.items(k), corruption, setting.severity, k == 0)

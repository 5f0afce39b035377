"""The same shifts again and again, as day and night return."""

from __future__ import annotations

from collections.abc import Iterator

from tta.evaluation.protocols import Setting, Visit, visit


class Recurring:
    """``recurring:20``: so many rounds through all corruptions, never a reset.

    Hoang et al., "Persistent test-time adaptation in recurring testing scenarios", NeurIPS 2024, section 5.
    """

    resets = "never"
    takes = "ROUNDS, at least 1"

    def __init__(self, rounds: str = "20") -> None:
        self.rounds = int(rounds)
        if self.rounds < 1:
            raise ValueError(rounds)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``."""
        number = 0
        for turn in range(1, self.rounds + 1):
            for corruption in setting.corruptions:
                name = f"{corruption}, round {turn}"
                yield visit(setting.items(number), corruption, setting.severity, not number, name)
                number += 1

"""The same shifts again and again, as day and night return."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tta.errors import TtaError
from tta.evaluation.protocols import Setting, Visit, visit


class Recurring:
    """``recurring:20``: so many rounds through all corruptions, never a reset.

    In brief, a visit has 1/20 of the images: each image comes under each corruption once in all rounds.

    Hoang et al., "Persistent test-time adaptation in recurring testing scenarios", NeurIPS 2024, section 5.
    """

    resets = "never"
    takes = "ROUNDS, at least 1"

    def __init__(self, rounds: str = "20") -> None:
        self.rounds = int(rounds)
        if self.rounds < 1:
            raise ValueError(rounds)

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """See ``EvaluationProtocol``.

        Raises:
            TtaError: in brief, there are fewer images than rounds.
        """
        kinds = setting.corruptions
        if setting.brief and setting.images < self.rounds:
            raise TtaError(
                f"recurring:{self.rounds} shares out the images over its rounds, but there are "
                f"{setting.images}: take fewer rounds, more images, or --tier full"
            )
        for turn in range(self.rounds):
            for k, corruption in enumerate(kinds):
                items = setting.items(k if setting.brief else turn * len(kinds) + k)
                if setting.brief:
                    items = np.array_split(items, self.rounds)[turn]
                name = f"{corruption}, round {turn + 1}"
                yield visit(items, corruption, setting.severity, turn == k == 0, name)

"""Clean and each corruption in turn, and all of it again: worlds that come back."""

from __future__ import annotations

from collections.abc import Sequence

from tta.simulation import Segment, lay_out


class Recurring:
    """``recurring:3`` goes three rounds: clean, A, B, clean, A, B, clean, A, B."""

    takes = "how many rounds, 1 or more"

    def __init__(self, rounds: str = "3") -> None:
        self.rounds = int(rounds)
        if self.rounds < 1:
            raise ValueError(rounds)

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """The rounds, in equal parts but for a first one of ``onset`` frames."""
        turn = [((), 0.0), *(((name,), severity) for name in corruptions)]
        return lay_out(turn * self.rounds if corruptions else turn, frames, onset)

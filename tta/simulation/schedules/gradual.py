"""Severity climbs stair by stair and falls again: clean, 1 2 3 4 5 4 3 2 1, for each corruption."""

from __future__ import annotations

from collections.abc import Sequence

from tta.simulation import Segment, lay_out


class Gradual:
    """Up to the severity asked for and down again.

    As in Wang et al., "Continual Test-Time Domain Adaptation" (CVPR 2022), section 4; ``onset=0``
    leaves out the clean beginning, as they do.
    """

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Clean, then the stairs of each corruption."""
        top = int(severity)
        stairs = [*range(1, top + 1), *range(top - 1, 0, -1)]
        climbs = [((name,), float(level)) for name in corruptions for level in stairs]
        return lay_out([((), 0.0), *climbs], frames, onset)

"""Nothing changes: the whole stream is clean, or under the corruption asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tta.simulation import Segment, lay_out


class Unchanging:
    """One segment; ``onset`` plays no part."""

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """The whole stream."""
        return lay_out([(tuple(corruptions), severity if corruptions else 0.0)], frames, None)

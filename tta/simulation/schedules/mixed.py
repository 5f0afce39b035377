"""Clean, then every frame under a corruption of its own, drawn by chance."""

from __future__ import annotations

from collections.abc import Sequence

from tta.simulation import Segment, lay_out


class Mixed:
    """From ``onset`` (half the stream) on, each frame has one of the corruptions."""

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Clean, then mixed."""
        parts = [((), 0.0), *([(tuple(corruptions), severity)] if corruptions else [])]
        return lay_out(parts, frames, onset)

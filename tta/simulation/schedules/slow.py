"""A fault that grows: clean, then severity climbs from 0 without a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tta.simulation import Segment, lay_out


class Slow:
    """From ``onset`` (a quarter of the stream) on, the fault grows until the end.

    Only faults of cameras and sensors have severities in between.
    """

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Clean, then one growing segment a fault."""
        parts = [((), 0.0), *(((name,), severity) for name in corruptions)]
        laid = lay_out(parts, frames, frames // 4 if onset is None and corruptions else onset)
        return [replace(segment, grows=bool(segment.corruptions)) for segment in laid]

"""Clean, then each corruption in turn, at full severity from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence

from tta.simulation import Segment, lay_out


class Abrupt:
    """The stream's first part is clean; with several corruptions it is the continual protocol.

    Equal parts, unless ``onset`` says how long the clean one is; 0 leaves it out.
    """

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Clean, then one segment a corruption."""
        parts = [((), 0.0), *(((name,), severity) for name in corruptions)]
        return lay_out(parts, frames, onset)

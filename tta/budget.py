"""A false-alarm budget as people say it: one a week, two a day, one in 5,000 frames."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

from tta.errors import TtaError

SECONDS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "week": 7 * 86400.0,
    "month": 30 * 86400.0,
    "year": 365 * 86400.0,
}
_FORM = re.compile(r"\s*([0-9.]+)\s*/\s*([0-9][0-9_,.]*)?\s*([a-z]*)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many false alarms are tolerable in how much time, or in how many frames.

    Attributes:
        alarms: number of false alarms.
        period_s: in that many seconds; 0 where the budget counts frames.
        frames: in that many frames; 0 where the budget counts time.

    >>> Budget.parse("1/week").per_frame(10.0) * 7 * 86400 * 10
    1.0
    >>> Budget.parse("2/5000 frames").per_frame(None)
    0.0004
    """

    alarms: float
    period_s: float = 0.0
    frames: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``1/week``, ``2/12 hours`` or ``1/5000 frames``.

        Raises:
            TtaError: the text is no such budget; the message names the nearest units.
        """
        match = _FORM.fullmatch(text)
        if not match:
            raise TtaError(f"a false-alarm budget reads 1/week or 1/5000 frames, but got {text!r}")
        count, amount, unit = match.groups()
        try:
            alarms, many = float(count), float((amount or "1").replace(",", "").replace("_", ""))
        except ValueError as error:
            raise TtaError(f"{text!r} has a malformed number: write 1/week, say") from error
        if not (0 < alarms < math.inf and 0 < many < math.inf):
            raise TtaError(f"a false-alarm budget is above zero, but got {text!r}")
        name = unit.lower().rstrip("s")
        if name in ("frame", "f") or (not name and amount):
            return cls(alarms, frames=many)
        if name in SECONDS:
            return cls(alarms, period_s=many * SECONDS[name])
        known = [*SECONDS, "frames"]
        near = difflib.get_close_matches(unit.lower(), known, n=2, cutoff=0.5) or known
        raise TtaError(f"no unit {unit!r} in the budget {text!r}: use {', '.join(near)}")

    def per_frame(self, fps: float | None) -> float:
        """Tolerable false alarms a frame.

        Raises:
            TtaError: the budget counts time and the frame rate is not known.
        """
        if self.frames:
            return self.alarms / self.frames
        if fps is None:
            raise TtaError(
                "a false-alarm budget in time needs the frame rate: add --fps, or say 1/5000 frames"
            )
        if not 0 < fps < math.inf:
            raise TtaError(f"the frame rate is above zero, but is {fps}")
        return self.alarms / (self.period_s * fps)

    def __str__(self) -> str:
        count = f"{self.alarms:g}"
        if self.frames:
            return f"{count} in {self.frames:,.0f} frames"
        for name, seconds in reversed(SECONDS.items()):
            if self.period_s >= seconds:
                many = self.period_s / seconds
                return f"{count}/{name}" if many == 1 else f"{count} in {many:g} {name}s"
        return f"{count} in {self.period_s:g} seconds"

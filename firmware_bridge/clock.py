"""A device's clock seen from the host: unwrapped, and its offset and drift estimated; does no I/O."""

from __future__ import annotations

from collections import deque

import numpy as np

WRAP_US = 1 << 32
_KEPT = 64


class Clock:
    """Turns the device's u32 microseconds into the host's monotonic seconds.

    Each exchange gives four times, as in NTP (RFC 5905): asked t1, received t2, answered t3, heard t4.
    The delay on the way is ``(t4 - t1) - (t3 - t2)``, and the device's ``(t2 + t3)/2`` is the host's
    ``(t1 + t4)/2`` to half of it. The line through the exchanges of small delay gives offset and drift.
    Before the first exchange a frame counts as sent when it came.

    Attributes:
        backwards: how often the device's time went back without a restart.
        exchanges: how many so far.

    >>> clock = Clock()
    >>> clock.exchange(10.0, 500, 500, 10.0)
    >>> clock.exchange(20.0, 10_001_500, 10_001_500, 20.0)
    >>> round(clock.drift_ppm), round(clock.to_host(10_001_500), 6)
    (100, 20.0)
    """

    def __init__(self) -> None:
        self.backwards = self.exchanges = 0
        self._last_us: int | None = None
        self._points: deque[tuple[float, float, float]] = deque(maxlen=_KEPT)
        self._slope, self._at_us, self._at_s = 1e-6, 0.0, 0.0
        self._known = False

    def restart(self) -> None:
        """The device began anew: its clock says nothing of the one before."""
        self._last_us, self._known = None, False
        self._points.clear()
        self._slope = 1e-6

    def unwrap(self, t_us: int) -> int:
        """The device's time without wraps; the nearest to the one before, so it may go back a little."""
        if self._last_us is None:
            self._last_us = t_us
            return t_us
        step = (t_us - self._last_us + WRAP_US // 2) % WRAP_US - WRAP_US // 2
        if step < 0:
            self.backwards += 1
        self._last_us += step
        return self._last_us

    def heard(self, device_us: int, now_s: float) -> None:
        """A frame of this time came now; tells the offset until an exchange does."""
        if not self._known:
            self._at_us, self._at_s, self._known = device_us, now_s, True

    def exchange(self, t1_s: float, t2_us: int, t3_us: int, t4_s: float) -> None:
        """One question and its answer; device times unwrapped."""
        delay_s = max(0.0, (t4_s - t1_s) - (t3_us - t2_us) * 1e-6)
        self._points.append((delay_s, (t2_us + t3_us) / 2, (t1_s + t4_s) / 2))
        self.exchanges += 1
        least = min(delay for delay, _, _ in self._points)
        good = np.array([p for p in self._points if p[0] <= 2 * least + 2e-4])
        device, host = good[:, 1], good[:, 2]
        self._known = True
        self._at_us, self._at_s = float(device.mean()), float(host.mean())
        spread = device - self._at_us
        if np.ptp(device) > 2e6:  # two seconds: below that the delay hides any drift
            slope = float((spread * (host - self._at_s)).sum() / (spread**2).sum())
            self._slope = min(max(slope, 0.99e-6), 1.01e-6)

    @property
    def drift_ppm(self) -> float:
        """By how much the device's clock runs faster than ours."""
        return (1e-6 / self._slope - 1) * 1e6

    def to_host(self, device_us: float) -> float:
        """The host's monotonic seconds at an unwrapped time of the device."""
        return self._at_s + (device_us - self._at_us) * self._slope

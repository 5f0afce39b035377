"""How long to wait before the next try: exponential back-off with jitter.

d_k = min(longest, first·2^k)·(1 + u)/2 with u uniform in [0, 1), so that many devices that lost the same
server do not come back to it in step.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays in seconds.

    Args:
        first_s: the longest that the first one may be.
        longest_s: that any may be.
        uniform: draws u.

    >>> backoff = Backoff(0.5, 3.0, uniform=lambda: 1.0)
    >>> [backoff.next_s() for _ in range(4)]
    [0.5, 1.0, 2.0, 3.0]
    >>> backoff.reset()
    >>> backoff.next_s()
    0.5
    """

    def __init__(
        self,
        first_s: float = 0.5,
        longest_s: float = 30.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._first_s, self._longest_s, self._uniform = first_s, longest_s, uniform
        self.tries = 0

    def next_s(self) -> float:
        """The next delay, which counts as a try."""
        bound = self._longest_s
        if self.tries < 64:  # past that the power is no longer of interest
            bound = min(bound, self._first_s * 2.0**self.tries)
        self.tries += 1
        return bound * (1 + self._uniform()) / 2

    def reset(self) -> None:
        """It worked: begin anew."""
        self.tries = 0

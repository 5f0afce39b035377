"""The pulse of the frame loop: it beats before every frame, and while a source waits for one.

A thread of its own would beat on while the loop hangs. So whoever keeps the loop waiting on purpose calls
``beat`` several times a second: the sources that wait for a device do, and one of your own should.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

POLL_S = 0.25  # between two beats of what waits

_listeners: list[Callable[[], None]] = []


def beat() -> None:
    """The loop is alive. A listener may end the run here: by KeyboardInterrupt, between two frames."""
    for listener in _listeners:
        listener()


def listen(listener: Callable[[], None]) -> None:
    """Have a function called at every beat, on the loop's thread."""
    _listeners.append(listener)


def leave(listener: Callable[[], None]) -> None:
    """The opposite of ``listen``."""
    _listeners.remove(listener)


def wait(event: threading.Event, seconds: float) -> bool:
    """Wait for an event at most so long, with beats; whether it came.

    >>> wait(threading.Event(), 0.0)
    False
    """
    until = time.monotonic() + seconds
    while True:
        beat()
        left = until - time.monotonic()
        if event.wait(max(0.0, min(POLL_S, left))):
            return True
        if left <= POLL_S:
            return False

"""A paced stream: frame k arrives at k/fps, and must be answered before the next arrives.

Beside the frame the loop does other work, so that plain inference and that work together take a stated
share of the period: a camera's decoder, a tracker, a display. The work is sha-256 over a buffer, native code
that lets go of the interpreter as inference does, measured in CPU time: being preempted does not shorten it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

_BLOCK = bytes(16384)


def pace(
    frame: Callable[[int, float], None],
    fps: float,
    work_ms: float,
    frames: int,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    work: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Run a paced stream.

    Args:
        frame: answers frame k at a time in seconds.
        fps: frames per second.
        work_ms: CPU milliseconds of other work a frame, done before it.
        frames: how many.
        clock: seconds now, as tests replace it.
        sleep: waits, likewise.
        work: does the other work, likewise.

    Returns:
        ``missed``: frames answered after the next arrived; ``longest_wait_ms``: from a frame's arrival to the
        beginning of its work; ``longest_ms``: to its answer; ``seconds`` in all.
    """
    period, busy = 1 / fps, work or burn
    start = clock()
    missed, longest_wait, longest, answered_ms = 0, 0.0, 0.0, []
    for k in range(frames):
        arrival = start + k * period
        early = arrival - clock()
        if early > 0:
            sleep(early)
        longest_wait = max(longest_wait, clock() - arrival)
        busy(work_ms / 1e3)
        frame(k, clock())
        took = clock() - arrival
        answered_ms.append(took * 1e3)
        longest = max(longest, took)
        missed += took > period
    return {
        "frames": frames,
        "missed": missed,
        "longest_wait_ms": longest_wait * 1e3,
        "longest_ms": longest * 1e3,
        "period_ms": period * 1e3,
        "seconds": clock() - start,
        "ms": answered_ms,
    }


def burn(seconds: float) -> None:
    """Use that much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_BLOCK).digest()

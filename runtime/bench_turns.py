"""Candidates that take turns, block by block, and what each did in all its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tta.runtime.bench_process import Candidate


@dataclass
class Tally:
    """Sums over a candidate's blocks.

    Attributes:
        frames: frames answered.
        wall_s: wall time of its blocks, adaptation included.
        cpu_s: CPU time of its process in them, the worker's included.
        ms: wall milliseconds of each frame.
        last: its own counts at the end: ``rounds``, ``commits``, ``spent_s``, ...
        before: the same as the first block began.
    """

    frames: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    ms: list[float] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)

    def add(self, block: dict[str, Any]) -> None:
        """Take in one block."""
        self.frames += block["frames"]
        self.wall_s += block["wall_s"]
        self.cpu_s += block["cpu_s"]
        self.ms += block["ms"]
        self.last = counts(block)

    def during(self, key: str) -> float:
        """How much a count has grown in the blocks."""
        return self.last.get(key, 0) - self.before.get(key, 0)

    def figures(self, base: Tally, batch: int) -> dict[str, float]:
        """Its figures, and their ratios to another's; all that it learned beside what it cost."""
        p50, p95, p99 = (float(v) for v in np.percentile(self.ms, [50, 95, 99]))
        fps, base_fps = self.frames / self.wall_s, base.frames / base.wall_s
        cpu, base_cpu = self.cpu_s / self.frames, base.cpu_s / base.frames
        learned = self.during("sampled") or self.during("rounds") * batch
        worked = self.during("worked_s") or self.wall_s
        return {
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "fps": fps,
            "fps_ratio": fps / base_fps,
            "p50_ratio": p50 / float(np.percentile(base.ms, 50)),
            "p99_ratio": p99 / float(np.percentile(base.ms, 99)),
            "cpu_ratio": cpu / base_cpu,
            "adapted_fps": learned / worked,
            "rounds": self.during("rounds"),
            "commits_h": 3600 * self.during("commits") / worked,
            "duty": self.during("spent_s") / worked,
        }


def counts(block: dict[str, Any]) -> dict[str, float]:
    """A block's numbers, without its lists."""
    return {k: v for k, v in block.items() if isinstance(v, int | float)}


def take_turns(
    candidates: Sequence[Candidate],
    rounds: int,
    seconds: float,
    most: int | None = None,
    warm_s: float = 0.3,
) -> dict[str, Tally]:
    """Blocks of frames of each in turn, the order reversed from round to round.

    Args:
        candidates: they have said that they are ready.
        rounds: blocks that each gets.
        seconds: length of a block.
        most: frames a block at most, None for as many as go in.
        warm_s: length of a block before the first that counts.
    """
    limit = {} if most is None else {"most": most}
    tallies = {c.name: Tally() for c in candidates}
    for candidate in candidates:
        warm = candidate.ask("frames", seconds=warm_s)
        tallies[candidate.name].before = counts(warm)  # what it learned there cost it nothing
    for k in range(rounds):
        for candidate in candidates if k % 2 else reversed(candidates):
            tallies[candidate.name].add(candidate.ask("frames", seconds=seconds, **limit))
    return tallies

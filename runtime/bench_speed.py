"""Frames per second by candidate, and a paced stream: what a user of the stream notices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.runtime.bench_process import Candidate
from tta.runtime.bench_report import (
    AGAIN,
    PLAIN,
    Bench,
    Setting,
    Table,
    fits,
    label,
    ours,
)
from tta.runtime.bench_turns import take_turns
from tta.runtime.sampling import KEPT

SPEED = (
    "candidate", "p50 ms", "p95", "p99", "fps", "p99", "CPU", "learned/s", "commits/h",
)  # fmt: skip
DUTY_BLOCKS = 3
ASLEEP = "plain, no spinning"  # threads that sleep while they wait for each other
NOTE = (
    "ms of a frame; fps, p99 and CPU time as ratios to plain; frames learned from a second; commits an hour. "
    "session: onnxruntime calls alone; loop: with prediction, drift scores and report"
)


def speed(
    found: Bench,
    bundle: Bundle,
    plain: dict[str, Any],
    s: Setting,
    others: Sequence[Bundle] = (),
    original: dict[str, Any] | None = None,
) -> None:
    """Frames per second: one inference thread, then as many as there are cores."""
    most = -(-s.frames // s.rounds) if s.frames else None
    cores = s.threads or os.cpu_count() or 1
    seen_s = s.rounds * s.block_s / 2  # a commit that falls into no block would cost nothing
    commit_s = min(s.commit_s, seen_s)
    sampled = {"adapter": "bn_stats", "regime": "inline", "every": s.every, "commit_s": commit_s}
    one = {
        PLAIN: plain,
        AGAIN: plain,
        **({"original": original} if original else {}),
        "session": ours(bundle, s, bare=True, adapter="none"),
        "loop": ours(bundle, s, adapter="none"),
        "session, worker": ours(bundle, s, bare=True, regime="worker"),
        "loop, worker": ours(bundle, s, regime="worker"),
    }
    least = min(s.batch, KEPT)  # frames that a round of the sampling candidate looks at
    if s.every and fits("bn_stats", bundle, least):
        one[f"loop, every {s.every}"] = ours(bundle, s, **sampled)
        for k, other in enumerate(others):
            if fits("bn_stats", other, least):
                name = f"loop, every {s.every}, {label(other, k)}"
                one[name] = ours(other, s, **sampled)
    every = {"threads": cores, "spinning": True}  # as onnxruntime comes
    inline = {"regime": "duty", "duty": s.duty, **every}
    every_core = {
        PLAIN: {**plain, **every},
        AGAIN: {**plain, **every},
        ASLEEP: {**plain, "threads": cores},
        f"session, duty {s.duty:g}": ours(bundle, s, bare=True, **inline),
        f"loop, duty {s.duty:g}": ours(bundle, s, **inline),
    }
    longer = DUTY_BLOCKS * s.block_s  # a duty sees few rounds: each must earn its time first
    for title, specs, block_s in (
        ("1 inference thread", one, s.block_s),
        (f"{cores} inference threads", every_core, longer),
    ):
        with ExitStack() as stack:
            candidates = [stack.enter_context(Candidate(n, spec)) for n, spec in specs.items()]
            tallies = take_turns(candidates, s.rounds, block_s, most)
        figures = {n: t.figures(tallies[PLAIN], s.batch) for n, t in tallies.items()}
        found.figures[title] = figures
        rows = [
            (
                name,
                *(f"{f[k]:.2f}" for k in ("p50_ms", "p95_ms", "p99_ms")),
                *(f"{f[k]:.3f}" for k in ("fps_ratio", "p99_ratio", "cpu_ratio")),
                *(f"{f[k]:.3g}" for k in ("adapted_fps", "commits_h")),
            )
            for name, f in figures.items()
        ]
        found.tables.append(Table(f"{bundle.manifest.name}: {title}", SPEED, rows, NOTE))


def paced(found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting) -> None:
    """A paced stream on the given cores, plain and ours in turn."""
    cpus = list(s.cpus) or [0]
    specs = {
        PLAIN: {**plain, "cpus": cpus},
        AGAIN: {**plain, "cpus": cpus},
        "worker": ours(bundle, s, cpus=cpus, regime="worker", commit_s=s.paced_commit_s),
    }
    period_ms = 1e3 / s.fps
    totals: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        candidates = [stack.enter_context(Candidate(n, spec)) for n, spec in specs.items()]
        block = candidates[0].ask("frames", seconds=1.0)
        frame_ms = 1e3 * block["cpu_s"] / block["frames"]
        work_ms = s.load * period_ms - frame_ms
        if work_ms < 0:
            raise TtaError(
                f"a frame takes {frame_ms:.1f} ms, more than {s.load:.0%} of a period of "
                f"{period_ms:.1f} ms: choose fewer --fps"
            )
        blocks = max(1, round(s.pace_s / 20))
        frames = round(s.fps * s.pace_s / blocks)
        for _ in range(blocks):
            for candidate in candidates:
                part = candidate.ask("pace", fps=s.fps, work_ms=work_ms, frames=frames)
                total = totals.setdefault(
                    candidate.name, {"frames": 0, "missed": 0, "seconds": 0.0, "ms": []}
                )
                for key in ("frames", "missed", "seconds", "ms"):
                    total[key] += part[key]
                for key in ("longest_ms", "longest_wait_ms"):
                    total[key] = max(total.get(key, 0.0), part[key])
                total.update({k: part[k] for k in ("rounds", "commits") if k in part})
        for candidate in candidates:
            totals[candidate.name]["peak_mib"] = candidate.ask("memory")["peak_mib"]
    rows = []
    for name, t in totals.items():
        t["p50_ms"], t["p99_ms"] = (float(v) for v in np.percentile(t.pop("ms"), [50, 99]))
        t["missed_share"] = t["missed"] / t["frames"]
        minutes = t["seconds"] / 60
        rows.append(
            (
                name,
                str(t["frames"]),
                str(t["missed"]),
                *(f"{t[k]:.1f}" for k in ("p50_ms", "p99_ms", "longest_ms", "longest_wait_ms")),
                f"{t.get('rounds', 0) / minutes:.1f}",
                f"{t.get('commits', 0) / minutes:.1f}",
                f"{t['peak_mib']:.0f}",
            )
        )
    found.figures["paced"] = {"work_ms": work_ms, "frame_ms": frame_ms, **totals}
    columns = (
        "candidate", "frames", "missed", "p50 ms", "p99 ms", "longest ms", "longest wait ms",
        "rounds/min", "commits/min", "peak MiB",
    )  # fmt: skip
    title = (
        f"{bundle.manifest.name}: {s.fps:g} fps on core {', '.join(map(str, cpus))}, plain inference and "
        f"{work_ms:.1f} ms of other work take {s.load:.0%} of {period_ms:.1f} ms"
    )
    found.tables.append(Table(title, columns, rows))

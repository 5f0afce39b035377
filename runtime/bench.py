"""``tta bench``: what a bundle costs on this machine, always as a ratio to plain onnxruntime.

Each candidate is a process of its own, and they take turns in blocks of frames, so that whatever else the
machine does strikes all of them alike, and memory is the candidate's alone. Plain onnxruntime on the folded
source model is there twice; the ratio of the two (A/A) says how far a ratio can be trusted. Beside every
ratio stands what was learned meanwhile: a candidate that did not adapt proves nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.runtime.bench_process import EAGER, Candidate
from tta.runtime.bench_turns import take_turns
from tta.runtime.fold import fold

PLAIN, AGAIN = "plain", "plain (A/A)"
SPEED = (
    "candidate", "p50 ms", "p95", "p99", "fps", "p99", "CPU", "learned/s", "commits/h",
)  # fmt: skip
NOTE = (
    "ms of a frame; fps, p99 and CPU time as ratios to plain; frames learned from a second; commits an hour. "
    "session: onnxruntime calls alone; loop: with prediction, drift scores and report"
)


@dataclass(frozen=True)
class Setting:
    """What to measure.

    Attributes:
        adapter: ``name?option=value``; it adapts on every batch (governor ``always``).
        batch: frames a step.
        rounds: blocks that each candidate gets.
        block_s: seconds a block.
        threads: inference threads where inference may use all cores.
        duty: share of the time for inline adaptation.
        every: sampling of statistics, 0 for none.
        commit_s: seconds between two commits of the sampling candidate.
        steps: steps that are timed.
        swaps: sessions swapped for the memory figures.
        fps, load, cpus, pace_s: a paced run; no fps, none.
        vs: ``pkg.mod:factory`` of the same model for eager torch, empty for none.
    """

    adapter: str = "nhl"
    batch: int = 16
    rounds: int = 6
    block_s: float = 2.0
    threads: int = 0
    duty: float = 0.1
    every: int = 8
    commit_s: float = 7.5
    steps: int = 7
    swaps: int = 20
    fps: float = 0.0
    load: float = 0.7
    cpus: tuple[int, ...] = ()
    pace_s: float = 60.0
    vs: str = ""


@dataclass
class Table:
    """One claim's figures: a title, columns, rows of texts."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


@dataclass
class Bench:
    """The figures of one run, by table and raw."""

    bundle: str
    setting: Setting
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"bundle": self.bundle, "setting": asdict(self.setting), **self.figures}


def bench(bundle: Bundle, setting: Setting, others: Sequence[Bundle] = ()) -> Bench:
    """Measure one bundle, and its steps beside those of other bundles of the same model.

    Raises:
        TtaError: a candidate could not run; the message is its last word.
    """
    found = Bench(bundle.manifest.name, setting)
    with tempfile.TemporaryDirectory() as scratch:
        plain = {"kind": "plain", "model": str(fold(bundle, None, Path(scratch) / "plain.onnx"))}
        _speed(found, bundle, plain, setting, others)
        _steps(found, bundle, plain, setting, others)
        _memory(found, bundle, plain, setting)
        if setting.vs:
            _torch(found, bundle, setting, scratch)
        if setting.fps:
            _paced(found, bundle, plain, setting)
    return found


def ours(bundle: Bundle, setting: Setting, **more: Any) -> dict[str, Any]:
    """A candidate's spec for this bundle."""
    path = str(bundle.path)
    return {
        "kind": "tta",
        "bundle": path,
        "adapter": setting.adapter,
        "batch": setting.batch,
        **more,
    }


def _speed(
    found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting, others: Sequence[Bundle]
) -> None:
    """Frames per second: one inference thread, then as many as there are cores."""
    cores = s.threads or os.cpu_count() or 1
    sampled = {"adapter": "bn_stats", "regime": "inline", "every": s.every, "commit_s": s.commit_s}
    one = {
        PLAIN: plain,
        AGAIN: plain,
        "session": ours(bundle, s, bare=True, adapter="none"),
        "loop": ours(bundle, s, adapter="none"),
        "session, worker": ours(bundle, s, bare=True, regime="worker"),
        "loop, worker": ours(bundle, s, regime="worker"),
    }
    if s.every and _has_statistics(bundle):
        one[f"loop, every {s.every}"] = ours(bundle, s, **sampled)
        for k, other in enumerate(others):
            if _has_statistics(other):
                name = f"loop, every {s.every}, {_label(other, k)}"
                one[name] = ours(other, s, **sampled)
    every_core = {
        PLAIN: {**plain, "threads": cores},
        AGAIN: {**plain, "threads": cores},
        f"session, duty {s.duty:g}": ours(
            bundle, s, bare=True, regime="duty", duty=s.duty, threads=cores
        ),
        f"loop, duty {s.duty:g}": ours(bundle, s, regime="duty", duty=s.duty, threads=cores),
    }
    for title, specs in (("1 inference thread", one), (f"{cores} inference threads", every_core)):
        with ExitStack() as stack:
            candidates = [stack.enter_context(Candidate(n, spec)) for n, spec in specs.items()]
            tallies = take_turns(candidates, s.rounds, s.block_s)
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


def _has_statistics(bundle: Bundle) -> bool:
    return bool(bundle.manifest.named("mean"))


def _label(bundle: Bundle, k: int) -> str:
    return bundle.path.name.removesuffix(".tta") or f"other {k + 1}"


def _steps(
    found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting, others: Sequence[Bundle]
) -> None:
    """CPU time of a step by bundle and adapter, and of a commit."""
    rows, figures = [], {}
    with ExitStack() as stack:
        made: dict[str, Candidate] = {}
        for k, each in enumerate((bundle, *others)):
            for adapter in dict.fromkeys((s.adapter, "tent", "bn_stats", "nhl")):
                if not _fits(adapter, each):
                    continue
                name = f"{_label(each, k)}, {adapter}"
                spec = {**ours(each, s), "adapter": adapter}
                made[name] = stack.enter_context(Candidate(name, spec))
        base = stack.enter_context(Candidate(PLAIN, plain))
        cpu: dict[str, list[float]] = {name: [] for name in made}
        one = base.ask("frames", seconds=0.5)
        for candidate in made.values():
            candidate.ask("steps", n=1)
        for _ in range(s.steps):
            for name, candidate in made.items():
                cpu[name] += candidate.ask("steps", n=1)["cpu_ms"]
        frame_ms = 1e3 * one["cpu_s"] / one["frames"]
        first = min(next(iter(cpu.values())))
        for name, candidate in made.items():
            swaps = candidate.ask("swaps", n=3, look=3)
            best, median = min(cpu[name]), float(np.median(cpu[name]))
            figures[name] = {"best_ms": best, "median_ms": median, "commit_ms": swaps["cpu_ms"]}
            rows.append(
                (
                    name,
                    f"{best:.1f}",
                    f"{median:.1f}",
                    f"{best / s.batch / frame_ms:.2f}",
                    f"{best / first:.3f}",
                    f"{swaps['cpu_ms']:.1f}",
                )
            )
    found.figures["steps"] = {"plain_frame_ms": frame_ms, "batch": s.batch, **figures}
    columns = ("step", "best ms", "median ms", "a frame to plain", "to the first", "commit ms")
    title = f"{bundle.manifest.name}: CPU time of a step on {s.batch} frames, one thread"
    found.tables.append(Table(title, columns, rows))


def _fits(adapter: str, bundle: Bundle) -> bool:
    from tta.errors import TtaError
    from tta.runtime.method import check_needs, make_adapter

    try:
        check_needs(make_adapter(adapter), bundle)
    except TtaError:
        return False
    return adapter.partition("?")[0] != "bn_stats" or _has_statistics(bundle)


def _memory(found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting) -> None:
    """Resident memory by candidate, each alone in its process, and the time to its first answer."""
    figures: dict[str, Any] = {}
    with Candidate(PLAIN, plain) as candidate:
        candidate.ask("frames", seconds=0.3)
        figures[PLAIN] = {**candidate.ask("memory"), "start_s": candidate.start_s}
    with Candidate("frozen", ours(bundle, s, adapter="none")) as candidate:
        candidate.ask("frames", seconds=0.3)
        figures["frozen"] = {**candidate.ask("memory"), "start_s": candidate.start_s}
        figures["swapping"] = candidate.ask("swaps", n=s.swaps, look=max(1, s.swaps // 10))
    with Candidate("adapting", ours(bundle, s, regime="inline")) as candidate:
        candidate.ask("frames", seconds=0.3)
        candidate.ask("steps", n=2)
        candidate.ask("swaps", n=2, look=1)
        figures["adapting"] = {**candidate.ask("memory"), "start_s": candidate.start_s}
    weights = (bundle.path / "weights.safetensors").stat().st_size / 2**20
    swapping = figures["swapping"]
    limit = figures[PLAIN]["resident_mib"] + 1.5 * weights
    figures["weights_mib"], figures["swap_limit_mib"] = weights, limit
    kept = swapping["resident_mib"]
    found.figures["memory"] = figures
    rows = [
        (
            name,
            *(f"{figures[name][k]:.0f}" for k in ("resident_mib", "peak_mib")),
            f"{figures[name]['start_s']:.2f}",
        )
        for name in (PLAIN, "frozen", "adapting")
    ]
    rows.append(
        (f"{s.swaps} swaps", f"{kept[1]:.0f} to {kept[-1]:.0f}", f"{swapping['peak_mib']:.0f}", "")
    )
    columns = ("process", "resident MiB", "peak MiB", "start to first answer s")
    note = f"weights {weights:.0f} MiB; plain + 1.5 times the weights = {limit:.0f} MiB"
    found.tables.append(Table(f"{bundle.manifest.name}: memory and start", columns, rows, note))


def _torch(found: Bench, bundle: Bundle, s: Setting, scratch: str) -> None:
    """The same adapter in eager torch, step by step in turn with ours."""
    model = str(Path(scratch) / "model.pt")
    Candidate("the model", {"factory": s.vs, "save": model}, EAGER).end()
    layers = sorted({slot.layer for slot in bundle.manifest.named("scale")})
    spec = {"model": model, "adapter": s.adapter, "batch": s.batch, "layers": layers}
    starts: dict[str, list[float]] = {"tta": [], "torch": []}
    for _ in range(3):
        for name, given, module in (("tta", ours(bundle, s), ""), ("torch", spec, EAGER)):
            with Candidate(name, given, *([module] if module else [])) as candidate:
                starts[name].append(candidate.start_s)
    with ExitStack() as stack:
        mine = stack.enter_context(Candidate("tta", ours(bundle, s, regime="inline")))
        theirs = stack.enter_context(Candidate("torch", spec, EAGER))
        cpu: dict[str, list[float]] = {"tta": [], "torch": []}
        for k in range(s.steps + 1):
            for candidate in (mine, theirs):
                taken = candidate.ask("steps", n=1)["cpu_ms"]
                if k:  # the first loads and plans
                    cpu[candidate.name] += taken
        mine.ask("swaps", n=2, look=1)
        peak = {c.name: c.ask("memory")["peak_mib"] for c in (mine, theirs)}
    figures = {
        name: {
            "step_ms": min(cpu[name]),
            "peak_mib": peak[name],
            "start_s": float(np.median(starts[name])),
        }
        for name in cpu
    }
    ratios = {k: figures["tta"][k] / figures["torch"][k] for k in figures["tta"]}
    found.figures["torch"] = {**figures, "ratio": ratios}
    columns = ("", "step CPU ms", "peak MiB", "start to first answer s")
    rows: list[tuple[str, ...]] = [
        (name, f"{f['step_ms']:.1f}", f"{f['peak_mib']:.0f}", f"{f['start_s']:.2f}")
        for name, f in figures.items()
    ]
    rows.append(("ratio", *(f"{ratios[k]:.3f}" for k in ("step_ms", "peak_mib", "start_s"))))
    title = (
        f"{bundle.manifest.name}: {s.adapter}, {s.batch} frames, against eager torch, one thread"
    )
    found.tables.append(Table(title, columns, rows))


def _paced(found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting) -> None:
    """A paced stream on the given cores, plain and ours in turn."""
    cpus = list(s.cpus) or [0]
    specs = {
        PLAIN: {**plain, "cpus": cpus},
        AGAIN: {**plain, "cpus": cpus},
        "worker": ours(bundle, s, cpus=cpus, regime="worker", commit_s=s.commit_s),
    }
    period_ms = 1e3 / s.fps
    totals: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        candidates = [stack.enter_context(Candidate(n, spec)) for n, spec in specs.items()]
        block = candidates[0].ask("frames", seconds=1.0)
        frame_ms = 1e3 * block["cpu_s"] / block["frames"]
        work_ms = s.load * period_ms - frame_ms
        if work_ms < 0:
            from tta.errors import TtaError

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

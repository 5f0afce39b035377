"""What adaptation costs beside the frames: steps, commits, memory, the start; and in eager torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.runtime.bench_process import EAGER, OURS, Candidate
from tta.runtime.bench_report import PLAIN, Bench, Setting, Table, fits, label, ours


def steps(
    found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting, others: Sequence[Bundle]
) -> None:
    """CPU time of a step by bundle and adapter, and of a commit."""
    rows, figures = [], {}
    with ExitStack() as stack:
        made: dict[str, Candidate] = {}
        for k, each in enumerate((bundle, *others)):
            for adapter in dict.fromkeys((s.adapter, "tent", "bn_stats", "nhl")):
                if not fits(adapter, each, s.batch):
                    continue
                name = f"{label(each, k)}, {adapter}"
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


def memory(found: Bench, bundle: Bundle, plain: dict[str, Any], s: Setting) -> None:
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


def eager(setting: Setting, scratch: str) -> dict[str, Any]:
    """Have torch write the untouched model: for eager torch, and as ONNX by ``torch.onnx.export``."""
    spec = {"save": str(Path(scratch) / "model.pt"), "onnx": str(Path(scratch) / "original.onnx")}
    Candidate("the model", {"factory": setting.vs, **spec}, EAGER).end()
    return {"kind": "plain", "model": spec["onnx"], "torch": spec["save"]}


def torch(
    found: Bench, bundle: Bundle, original: dict[str, Any], s: Setting, others: Sequence[Bundle]
) -> None:
    """The same adapter in eager torch on the same layers, step by step in turn with ours."""
    rows: list[tuple[str, ...]] = []
    found.figures["torch"] = {}
    for k, each in enumerate((bundle, *others)):
        layers = sorted({slot.layer for slot in each.manifest.named("scale")})
        theirs = {
            "model": original["torch"],
            "adapter": s.adapter,
            "batch": s.batch,
            "layers": layers,
        }
        figures = _against(ours(each, s), theirs, s)
        ratio = {key: figures["tta"][key] / figures["torch"][key] for key in figures["tta"]}
        found.figures["torch"][label(each, k)] = {**figures, "ratio": ratio, "layers": len(layers)}
        for name, f in (*figures.items(), ("ratio", ratio)):
            digits = 3 if name == "ratio" else 1
            texts = (f"{f[key]:.{digits}f}" for key in ("step_ms", "peak_mib", "start_s"))
            rows.append((f"{label(each, k)}, {name}", *texts))
    columns = ("", "step CPU ms", "peak MiB", "start to first answer s")
    title = (
        f"{bundle.manifest.name}: {s.adapter}, {s.batch} frames, against eager torch, one thread"
    )
    found.tables.append(Table(title, columns, rows))


def _against(
    mine: dict[str, Any], theirs: dict[str, Any], s: Setting
) -> dict[str, dict[str, float]]:
    """Least CPU time of a step, peak memory and median start of both, in turn."""
    starts: dict[str, list[float]] = {"tta": [], "torch": []}
    for _ in range(s.starts - 1):  # the pair below starts once more
        for name, given, module in (("tta", mine, OURS), ("torch", theirs, EAGER)):
            with Candidate(name, given, module) as candidate:
                starts[name].append(candidate.start_s)
    cpu: dict[str, list[float]] = {"tta": [], "torch": []}
    with ExitStack() as stack:
        pair = (
            stack.enter_context(Candidate("tta", mine)),
            stack.enter_context(Candidate("torch", theirs, EAGER)),
        )
        for candidate in pair:
            starts[candidate.name].append(candidate.start_s)
        for k in range(s.steps + 1):
            for candidate in pair:
                taken = candidate.ask("steps", n=1)["cpu_ms"]
                if k:  # the first loads and plans
                    cpu[candidate.name] += taken
        pair[0].ask("frames", seconds=0.2)
        pair[0].ask("swaps", n=2, look=1)
        peak = {c.name: c.ask("memory")["peak_mib"] for c in pair}
    return {
        name: {
            "step_ms": min(cpu[name]),
            "peak_mib": peak[name],
            "start_s": float(np.median(starts[name])),
        }
        for name in cpu
    }

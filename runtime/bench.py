"""``tta bench``: what a bundle costs on this machine, always as a ratio to plain onnxruntime.

Candidates take turns frame by frame in one process, so that whatever else the machine does strikes all of
them alike; plain onnxruntime runs twice, and the ratio of the two (A/A) says how far a ratio can be trusted.
Times are process CPU time and wall time; with one thread and an idle machine they agree.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tta.bundle import Bundle
from tta.records import Array
from tta.runtime.fold import fold
from tta.runtime.session import InferSession, options
from tta.runtime.stream import Model, Stream

WARM_UP = 10
_COLD = """
import sys, numpy as np, tta
session = tta.Session(sys.argv[1], adapter="none")
i = session.get_inputs()[0]
session.run(None, {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32)})
"""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one candidate: wall time percentiles and the median of CPU time."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    ratio: float  # median CPU time to plain onnxruntime's in the same run


@dataclass
class Bench:
    """The figures of one run; all that has been adapted is counted beside what it cost."""

    bundle: str
    adapter: str
    batch: int
    threads: int
    frames: int
    candidates: dict[str, Timing] = field(default_factory=dict)
    graphs_ms: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    commits: int = 0
    step_ms: float = 0.0
    commit_ms: float = 0.0
    throughput: float = 0.0
    cold_start_s: float = 0.0
    rss_mib: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def rows(self) -> list[tuple[str, ...]]:
        """One row a candidate, for a table."""
        return [
            (
                name,
                *(f"{v:.2f}" for v in (t.p50_ms, t.p95_ms, t.p99_ms, t.cpu_ms)),
                f"{t.ratio:.3f}",
            )
            for name, t in self.candidates.items()
        ]


COLUMNS = ("candidate", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "CPU to plain")


def bench(
    bundle: Bundle, adapter: str = "nhl", batch: int = 16, frames: int = 320, threads: int = 1
) -> Bench:
    """Measure one bundle with one adapter.

    Args:
        bundle: the bundle.
        adapter: ``name?option=value``; it adapts on every batch (governor ``always``).
        batch: frames a step.
        frames: frames that each candidate answers.
        threads: intra-op threads of every session.
    """
    result = Bench(bundle.manifest.name, adapter, batch, threads, frames)
    result.rss_mib["start"] = _rss_mib()
    inputs = _inputs(bundle, batch)
    with tempfile.TemporaryDirectory() as scratch:
        plain = [_plain(bundle, Path(scratch) / f"{k}.onnx", threads) for k in range(2)]
    result.rss_mib["two plain sessions"] = _rss_mib()
    model = Model(bundle, threads)
    frozen = Stream(model, "none", governor="off")
    adapting = Stream(model, adapter, batch=batch, governor="always")
    result.rss_mib["with the bundle"] = _rss_mib()
    name = bundle.manifest.input.name
    candidates: dict[str, Callable[[Array], object]] = {
        "plain onnxruntime": lambda x: plain[0].run(None, {name: x[None]}),
        "plain again (A/A)": lambda x: plain[1].run(None, {name: x[None]}),
        "tta, frozen": frozen.predict,
        "tta, while adapting": adapting.predict,
    }
    wall: dict[str, list[float]] = {key: [] for key in candidates}
    cpu: dict[str, list[float]] = {key: [] for key in candidates}
    steps: list[float] = []
    for k in range(WARM_UP + frames):
        x = inputs[k % batch]
        for key, run in candidates.items():
            started, used = time.perf_counter(), time.process_time()
            run(x)
            wall[key].append((time.perf_counter() - started) * 1e3)
            cpu[key].append((time.process_time() - used) * 1e3)
        adapting.collect(x)
        if adapting.buffer.full:
            _, taken = adapting.buffer.take()
            started = time.perf_counter()
            adapting.adapt(taken)
            steps.append((time.perf_counter() - started) * 1e3)
    base = float(np.median(cpu["plain onnxruntime"][WARM_UP:]))
    for key in candidates:
        p50, p95, p99 = np.percentile(wall[key][WARM_UP:], [50, 95, 99])
        used = float(np.median(cpu[key][WARM_UP:]))
        result.candidates[key] = Timing(float(p50), float(p95), float(p99), used, used / base)
    result.steps, result.commits = len(steps), adapting.counts.commits
    result.step_ms = float(np.median(steps)) if steps else float("nan")
    total = sum(wall["tta, while adapting"]) + sum(steps)
    result.throughput = sum(wall["plain onnxruntime"]) / total
    result.graphs_ms = _graphs(model, inputs)
    result.commit_ms = _best(lambda: InferSession(bundle, adapting.current.slots, threads), 5)
    result.rss_mib["after the run, peak"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    result.cold_start_s = _cold_start(bundle)
    return result


def _inputs(bundle: Bundle, n: int) -> Array:
    spec = bundle.manifest.input
    shape = [n, *(d or 32 for d in spec.sample)]
    return np.random.default_rng(0).normal(size=shape).astype(spec.dtype)


def _plain(bundle: Bundle, path: Path, threads: int) -> ort.InferenceSession:
    """The source model as any onnxruntime would run it: one folded file."""
    fold(bundle, None, path)
    return ort.InferenceSession(str(path), options(threads), providers=["CPUExecutionProvider"])


def _graphs(model: Model, inputs: Array) -> dict[str, float]:
    """Best milliseconds of each graph on the whole batch, and of inference on it."""
    slots = model.bundle.source_slots
    found = {"infer": _best(lambda: model.source.run(inputs), 5)}
    for graph in model.bundle.manifest.provides:
        found[graph] = _best(lambda graph=graph: model.adapting.run(graph, inputs, slots), 5)  # type: ignore[misc]
    return found


def _best(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append((time.perf_counter() - started) * 1e3)
    return min(times)


def _cold_start(bundle: Bundle) -> float:
    """Seconds from the start of a process to its first prediction."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _COLD, str(bundle.path)], check=True)
    return time.perf_counter() - started


def _rss_mib() -> float:
    """Resident memory now, from /proc where there is one."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return pages * resource.getpagesize() / 2**20

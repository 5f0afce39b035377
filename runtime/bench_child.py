"""One candidate of a bench in a process of its own: reads commands, one JSON a line, and answers likewise.

``python -m tta.runtime.bench_child SPEC`` makes what the JSON object SPEC names, answers one frame, says
``{"ready": true}``, and then does as it is told. A candidate that is not asked rests, so those that take
turns do not disturb each other; and what is resident in the process is the candidate's alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np
import onnxruntime as ort

from tta.runtime.bench_pace import pace

POOL = 31  # different frames that take turns; a prime, so that no K-th frame is soon the same again


class Plain:
    """onnxruntime on one ONNX file, with the threads, the spinning and the order of nodes that ours has."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from tta.runtime.session import options

        made = options(spec.get("threads", 1), spec.get("spinning", False))
        self._session = ort.InferenceSession(
            spec["model"], made, providers=["CPUExecutionProvider"]
        )
        given = self._session.get_inputs()[0]
        self._name = given.name
        self.sample = [d if isinstance(d, int) else 32 for d in given.shape[1:]]

    def frame(self, x: Any, now_s: float) -> None:
        """Answer one frame."""
        self._session.run(None, {self._name: x[None]})

    def rest(self) -> dict[str, float]:
        """Nothing adapts."""
        return {}


class Adapting:
    """A stream of a bundle under a regime; with regime ``none`` it only serves.

    ``bare`` leaves out prediction, drift scores and report, as a caller of ``tta.Session`` has it.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        from tta.bundle import Bundle
        from tta.runtime.memory import settle_allocator
        from tta.runtime.regime import Duty, Inline
        from tta.runtime.stream import Model, Stream
        from tta.runtime.worker import Worker

        settle_allocator()
        adapter, self._regime_name = spec.get("adapter", "none"), spec.get("regime", "none")
        bundle = Bundle(spec["bundle"])
        self.sample = [d or 32 for d in bundle.manifest.input.sample]
        model = Model(
            bundle,
            spec.get("threads", 1),
            adapt_threads=spec.get("adapt_threads"),
            spinning=spec.get("spinning", False),
            profile=spec.get("profile"),
        )
        self.stream = Stream(
            model,
            adapter,
            batch=spec.get("batch", 16),
            governor=spec.get("governor", "always"),
            every=spec.get("every", 0),
            commit_s=spec.get("commit_s", 0.0),
            buffer="batch",
        )
        self._regime: Any = None
        self._share = spec.get("duty", 0.1)
        self._worked_s, self._since_s, self._frames = 0.0, 0.0, 0
        self._make: Callable[[], Any] = {
            "none": lambda: None,
            "inline": Inline,
            "worker": Worker,
            "duty": lambda: Duty(self._share, self._clock),
        }[self._regime_name]
        self._bare = spec.get("bare", False)

    def _clock(self) -> float:
        """Seconds that this candidate has been at work: a duty is a share of those."""
        return self._worked_s + time.perf_counter() - self._since_s

    def begin(self) -> None:
        """Before a block of frames."""
        self._since_s = time.perf_counter()
        if self._regime is None:
            self._regime = self._make()
            if self._regime is not None:
                self._regime.prepare([self.stream])
                self._since_s = time.perf_counter()

    def frame(self, x: Any, now_s: float) -> None:
        """Answer one frame as the loop does, preprocessing aside."""
        from tta.records import Frame

        stream = self.stream
        stream.counts.frames += 1
        if self._bare:
            stream.session.run(x[None])
            if self._regime is not None:
                stream.keep(Frame(x, now_s, 0), x)
                self._turn(stream)
            return
        stream.answer(Frame(x, now_s, stream.counts.frames), x)
        stream.show(x)
        stream.monitor.report(self._turn(stream))

    def _turn(self, stream: Any) -> Any:
        """Adaptation's turn; stream time is the time that this candidate has been at work."""
        return None if self._regime is None else self._regime.turn(stream, self._clock())

    def rest(self) -> dict[str, float]:
        """Say what has been learned so far, and wait for the round under way, which counts for later."""
        self._worked_s += time.perf_counter() - self._since_s
        counts = self.stream.counts
        said = {
            "rounds": counts.commits + counts.holds + counts.rollbacks + counts.stale,
            "commits": counts.commits,
            "dropped": counts.dropped,
            "sampled": counts.sampled,
            "failures": counts.failures,
            "rollbacks": counts.rollbacks,
            "spent_s": getattr(self._regime, "spent_s", 0.0),
            "worked_s": self._worked_s,
        }
        if hasattr(self._regime, "settle"):
            self._regime.settle([self.stream])
        return said

    def end(self) -> None:
        """End what runs beside."""
        if self._regime is not None:
            self._regime.finish([self.stream])

    def step(self, batch: Any) -> None:
        """One step of the method, neither verified nor committed."""
        from tta.records import Span
        from tta.runtime.passage import Spanned

        stream = self.stream
        run = Spanned(stream.model.adapting.run, Span(len(batch), seconds=1.0))
        state, _ = stream.method.adapt(stream.current, batch, run)
        stream.current = state if state.step < 1000 else stream.origin

    def commit(self, k: int) -> None:
        """Build a session for other slot values, and swap."""
        from tta.runtime.memory import trim

        stream = self.stream
        named = stream.model.bundle.manifest.named
        scale = np.float32(1 + 1e-3 * (1 + k % 7))
        norms = {
            s.name: stream.origin.slots[s.name] * scale
            for s in named("scale", "bias", "mean", "var") or named("weight", "head_bias")
        }
        state = stream.origin.child(norms)
        stream.session, stream.serving = stream.model.serve(state)
        trim()


def main() -> None:
    """Be a candidate until told to end."""
    answers = set_apart()
    spec = json.loads(sys.argv[1])
    if "cpus" in spec:
        os.sched_setaffinity(0, spec["cpus"])
    made: Any = Plain(spec) if spec["kind"] == "plain" else Adapting(spec)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(POOL, *made.sample)).astype(np.float32)
    made.frame(inputs[0], time.perf_counter())
    listen(made, inputs, spec.get("batch", 1), answers)


def set_apart() -> TextIO:
    """Stdout for answers alone; what an adapter or a model prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    return answers


def listen(made: Any, inputs: Any, batch: int, answers: TextIO) -> None:
    """Answer commands on stdin until ``end``."""
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "end":
            if hasattr(made, "end"):
                made.end()
            return
        answer = _COMMANDS[what](made, inputs, batch, **command)
        print(json.dumps(answer), file=answers, flush=True)


def _frames(
    made: Any, inputs: Any, batch: int, seconds: float, most: int = sys.maxsize
) -> dict[str, Any]:
    """Answer frames one after the other for some seconds, at most so many."""
    begin = getattr(made, "begin", None)
    if begin:
        begin()
    ms, k = [], 0
    cpu, start = time.process_time(), time.perf_counter()
    now = start
    while now - start < seconds and k < most:
        made.frame(inputs[k % POOL], now)
        after = time.perf_counter()
        ms.append((after - now) * 1e3)
        now, k = after, k + 1
    used = time.process_time() - cpu
    return {"frames": k, "wall_s": now - start, "cpu_s": used, "ms": ms, **made.rest()}


def _steps(made: Any, inputs: Any, batch: int, n: int) -> dict[str, Any]:
    """CPU and wall milliseconds of n steps."""
    found: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": []}
    for k in range(n):
        chosen = np.ascontiguousarray(np.roll(inputs, k, 0)[:batch])
        cpu, wall = time.process_time(), time.perf_counter()
        made.step(chosen)
        found["cpu_ms"].append((time.process_time() - cpu) * 1e3)
        found["wall_ms"].append((time.perf_counter() - wall) * 1e3)
    return found


def _swaps(made: Any, inputs: Any, batch: int, n: int, look: int) -> dict[str, Any]:
    """Swaps with a frame after each; resident MiB every so many of them, and the highest peak."""
    from tta.runtime.memory import forget_peak, peak_mib, resident_mib

    resident, peaks, cpu_ms = [resident_mib()], [], []
    for k in range(n):
        forget_peak()
        cpu = time.process_time()
        made.commit(k)
        cpu_ms.append((time.process_time() - cpu) * 1e3)
        made.frame(inputs[k % POOL], time.perf_counter())
        peaks.append(peak_mib())
        if not (k + 1) % look:
            resident.append(resident_mib())
    return {"resident_mib": resident, "peak_mib": max(peaks), "cpu_ms": float(np.median(cpu_ms))}


def _memory(made: Any, inputs: Any, batch: int) -> dict[str, float]:
    """What is resident, and the most that ever was."""
    from tta.runtime.memory import peak_mib, resident_mib

    return {"resident_mib": resident_mib(), "peak_mib": peak_mib()}


def _pace(made: Any, inputs: Any, batch: int, **how: Any) -> dict[str, Any]:
    begin = getattr(made, "begin", None)
    if begin:
        begin()
    found = pace(lambda k, now: made.frame(inputs[k % POOL], now), **how)
    return {**found, **made.rest()}


_COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "frames": _frames,
    "steps": _steps,
    "swaps": _swaps,
    "memory": _memory,
    "pace": _pace,
}

if __name__ == "__main__":
    main()

"""onnxruntime sessions of a bundle: one that serves frames, and one that adapts.

``InferSession`` holds ``infer.onnx`` with one set of slot values baked in, so that onnxruntime folds norms
into convolutions and a frame costs what the plain model costs. New values mean a new session, swapped in
between two frames. Where a provider is slow to build one, slots are inputs instead, see ``provider``.
``AdaptSession`` holds the batch and step graphs, where slots always are inputs.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from tta.bundle import Bundle
from tta.errors import BundleError, FrameError, TtaError
from tta.records import Array, Moments, Span, Step
from tta.runtime.provider import present, profile_of
from tta.runtime.weights import mapped

_ERRORS_ONLY = 3
_INPUT_DEFAULTS = {"alpha": 1.0, "eta": 0.0, "anti": 0.0, "max_norm": 1.0}


def options(threads: int = 1, spinning: bool = False) -> ort.SessionOptions:
    """Session options for a device: few threads, none of them spinning between frames.

    A spinning thread waits for work awake, and so burns the core that an adaptation thread needs.
    """
    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = 1
    made.execution_order = (
        ort.ExecutionOrder.PRIORITY_BASED
    )  # as exported: masks while they are warm
    made.log_severity_level = _ERRORS_ONLY
    made.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return made


class InferSession:
    """The model with the slot values of one state, as it serves frames.

    Args:
        bundle: the bundle.
        slots: slot values; those equal to the source are read from the bundle itself.
        threads: intra-op threads.
        providers: onnxruntime execution providers in order, by its names or short ones.
        base: options to start from, for callers that bring their own.
        profile: how slots reach the session; default what the bundle says of the first provider.
        spinning: whether threads wait for each other awake; see ``options``.

    Raises:
        TtaError: none of the providers is there, or the bundle has no graph for that profile.
    """

    def __init__(
        self,
        bundle: Bundle,
        slots: Mapping[str, Array] | None = None,
        threads: int = 1,
        providers: Sequence[Any] | None = None,
        base: ort.SessionOptions | None = None,
        profile: str | None = None,
        spinning: bool = False,
    ) -> None:
        made, chosen = base or options(threads, spinning), present(providers)
        self._bundle = bundle
        self.profile = profile or profile_of(bundle.manifest.ep_profiles, chosen[0])
        graph = "infer" if self.profile == "refold" else f"infer/{self.profile}"
        changed = _changed(bundle, slots or {}) if self.profile == "refold" else {}
        values = [ort.OrtValue.ortvalue_from_numpy(v) for v in changed.values()]
        if self.profile != "refold":
            changed, values = _external(bundle, graph, mapped(_weights(bundle)))
        if changed:
            made.add_external_initializers(list(changed), values)
        self.onnx = ort.InferenceSession(str(_served(bundle, graph)), made, providers=chosen)
        self._kept = values  # what onnxruntime did not fold it reads from here
        self._input = bundle.manifest.input.name
        self._names = [o.name for o in self.onnx.get_outputs()]
        self._factors: ort.InferenceSession | None = None
        if self.profile == "affine":
            plain = options()
            named, more = _external(bundle, "infer/factors", mapped(_weights(bundle)))
            plain.add_external_initializers(list(named), more)
            self._kept = [*values, *more]
            self._factors = ort.InferenceSession(
                str(_served(bundle, "infer/factors")), plain, providers=["CPUExecutionProvider"]
            )
        self._feed = self._fed(slots or bundle.source_slots)

    def with_slots(self, slots: Mapping[str, Array]) -> InferSession:
        """The same onnxruntime session fed with other slot values; not where they are folded in."""
        if self.profile == "refold":
            raise TtaError("a session with its slots folded in is built anew for other values")
        other = copy.copy(self)
        other._feed = self._fed(slots)
        return other

    def _fed(self, slots: Mapping[str, Array]) -> dict[str, Array]:
        """What the session is fed beside the frame."""
        if self.profile == "refold":
            return {}
        given = dict(slots)
        if self._factors is not None:
            wanted = [i.name for i in self._factors.get_inputs()]
            names = [o.name for o in self._factors.get_outputs()]
            if fixed := sorted(
                name
                for name in _changed(self._bundle, slots)
                if name not in wanted and name not in {i.name for i in self.onnx.get_inputs()}
            ):
                raise TtaError(
                    f"the affine profile keeps {fixed[0]} constant, but this state changes it: choose an "
                    "adapter that changes norms only, or serve with the profile refold or inputs"
                )
            given.update(zip(names, self._factors.run(None, {n: slots[n] for n in wanted})))
        return {i.name: given[i.name] for i in self.onnx.get_inputs() if i.name != self._input}

    def run(self, batch: Array) -> dict[str, Array]:
        """Task outputs and features of a batch ``(N, ...)`` by name."""
        return dict(zip(self._names, self.onnx.run(None, {self._input: batch, **self._feed})))


class AdaptSession:
    """The batch and step graphs of a bundle; ``run`` is the ``Run`` that adapters get.

    Graphs load on first use. Weights are mapped once and shared by all of them.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._bundle, self._threads = bundle, threads
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._names: dict[str, tuple[list[str], list[str]]] = {}
        self._arrays: dict[str, set[str]] = {}  # inputs of a graph that are no numbers
        self._weights: Mapping[str, Array] | None = None
        self._slots = {s.name for s in bundle.manifest.slots}
        temperatures = bundle.manifest.defaults.get("nhl", {}).get("t_invert", {})
        self._defaults = {
            **_INPUT_DEFAULTS,
            **{f"t_invert.{k}": v for k, v in temperatures.items()},
        }

    def session(self, graph: str) -> ort.InferenceSession:
        """The onnxruntime session of a graph."""
        if graph not in self._sessions:
            path = self._bundle.graph(graph)
            made = options(self._threads)
            made.enable_mem_pattern = (
                False  # it takes 1.7 times the memory of a step, and saves no time
            )
            if _shared_arena():
                made.add_session_config_entry("session.use_env_allocators", "1")
            if self._weights is None:
                self._weights = mapped(_weights(self._bundle))
            wanted, values = _external(self._bundle, graph, self._weights)
            made.add_external_initializers(list(wanted), values)
            opened = ort.InferenceSession(str(path), made, providers=["CPUExecutionProvider"])
            self._names[graph] = (  # asked for once: there may be hundreds
                [i.name for i in opened.get_inputs()],
                [o.name for o in opened.get_outputs()],
            )
            self._arrays[graph] = {i.name for i in opened.get_inputs() if i.shape}
            self._sessions[graph] = opened
        return self._sessions[graph]

    def run(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """Run ``batch`` or ``step/<objective>`` on a batch with these slot values.

        Raises:
            FrameError: the batch has the wrong shape or is not finite.
            TtaError: the graph does not know one of the inputs.
        """
        session = self.session(graph)
        arguments, results = self._names[graph]
        spec = self._bundle.manifest.input
        check_batch(batch, spec.sample, spec.dtype)
        feed: dict[str, Array] = {spec.name: batch}
        given = dict(inputs)
        common = given.pop("t_invert", None)
        for name in arguments:
            if name == spec.name:
                continue
            if name in self._slots:
                feed[name] = slots[name]
            elif name == "sample_weight":
                weight = given.pop(name, None)
                feed[name] = (
                    np.ones(len(batch), np.float32) if weight is None else np.float32(weight)
                )
            elif name in self._arrays[graph] and name not in given:
                raise TtaError(
                    f"graph {graph!r} has the input {name!r}, which its method must give"
                )
            elif name.startswith("t_invert.") and common is not None:
                feed[name] = np.array(common, np.float32)
            else:
                feed[name] = np.array(given.pop(name, self._defaults.get(name, 0.0)), np.float32)
        for name in given:
            if name not in _INPUT_DEFAULTS and name != "sample_weight":
                raise TtaError(f"graph {graph!r} has no input {name!r}")
        return _step(dict(zip(results, session.run(results, feed))), len(batch))


@functools.cache
def _shared_arena() -> bool:
    """Let all step graphs of the process use one pool of memory, since they never run at once."""
    try:
        kind, where = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
        ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, where), None)
    except Exception:  # an old onnxruntime, or somebody has registered one: each graph has its own
        return False
    return True


def _weights(bundle: Bundle) -> Path:
    return bundle.path / "weights.safetensors"


def _external(
    bundle: Bundle, graph: str, weights: Mapping[str, Array]
) -> tuple[dict[str, Array], list[Any]]:
    """A graph's tensors that lie in the weights file, and onnxruntime's handles of them."""
    wanted = {name: weights[name] for name in bundle.manifest.external.get(graph, ())}
    return wanted, [ort.OrtValue.ortvalue_from_numpy(v) for v in wanted.values()]


def _served(bundle: Bundle, graph: str) -> Path:
    """File of a graph that serves frames."""
    if graph != "infer" and graph not in bundle.manifest.provides:
        profile = graph.removeprefix("infer/")
        raise BundleError(
            f"this bundle has no graph {graph!r}: export it again with --ep cpu:{profile}, or serve it "
            "with --ep-profile refold"
        )
    return bundle.graph(graph)


def check_batch(batch: Array, sample: tuple[int | None, ...], dtype: str) -> None:
    """Refuse a batch that would poison statistics.

    Raises:
        FrameError: wrong rank, shape or dtype, no frames, NaN or infinity.
    """
    if batch.ndim != 1 + len(sample) or any(
        want is not None and want != got for want, got in zip(sample, batch.shape[1:])
    ):
        raise FrameError(f"the model takes (N, {', '.join(map(str, sample))}), got {batch.shape}")
    if batch.dtype.name != dtype:
        raise FrameError(f"the model takes {dtype}, got {batch.dtype.name}")
    if not len(batch):
        raise FrameError("the batch holds no frames")
    if not np.isfinite(batch).all():
        raise FrameError("the batch holds NaN or infinity")


def _changed(bundle: Bundle, slots: Mapping[str, Array]) -> dict[str, Array]:
    """Slots that differ from the source."""
    source = bundle.source_slots
    return {
        name: value
        for name, value in slots.items()
        if value is not source[name] and not np.array_equal(value, source[name])
    }


def _step(values: Mapping[str, Array], frames: int) -> Step:
    """Sort a graph's named outputs into a Step."""
    parts: dict[str, dict[str, Array]] = {}
    outputs: dict[str, Array] = {}
    objective = np.zeros(0, np.float32)
    for name, value in values.items():
        kind, _, rest = name.partition(".")
        if rest and kind in ("mean", "var", "count", "grad", "new", "winner"):
            parts.setdefault(kind, {})[rest] = value
        elif name == "objective":
            objective = value
        else:
            outputs[name] = value
    mean = parts.get("mean", {})
    return Step(
        outputs=outputs,
        moments={
            layer: Moments(mean[layer], parts["var"][layer], float(parts["count"][layer]))
            for layer in mean
        },
        objective=objective,
        gradients=parts.get("grad", {}),
        new=parts.get("new", {}),
        winner={k: float(v) for k, v in parts.get("winner", {}).items()},
        span=Span(frames),
    )

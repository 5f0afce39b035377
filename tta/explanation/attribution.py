"""The pure part of ``tta explain``: one adaptation step in, maps and shares out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from tta.bundle import Bundle
from tta.errors import BundleError
from tta.explanation.heat import onto
from tta.manifest import Manifest
from tta.protocols import Adapter, Run
from tta.records import Array, State, Step
from tta.runtime.method import make_adapter
from tta.runtime.session import AdaptSession

Kind = Literal["statistics", "norm", "modulator", "hebbian"]
KINDS: Mapping[str, Kind] = {  # by role of slot
    "mean": "statistics",
    "var": "statistics",
    "scale": "norm",
    "bias": "norm",
    "modulation": "modulator",
    "weight": "hebbian",
}
PARTS: Mapping[Kind, str] = {  # kinds whose contributions come of one thing
    "statistics": "statistics",
    "norm": "gradient",
    "modulator": "gradient",
    "hebbian": "hebbian",
}


@dataclass(frozen=True, slots=True)
class LayerMap:
    """What frames and positions contributed to one layer's part of a step.

    Attributes:
        layer: name of the layer.
        kind: ``statistics`` (mean and var), ``norm`` (scale and bias), ``modulator`` (gain and shift) or
            ``hebbian`` (weights); only the second and third are a gradient's.
        values: ``(N, ...)``, |c_u| over the slots that the step moved: NormGrad's map.
        along: ``(N, ...)``, ⟨c_u, G⟩/|G|² with G = Σ c_u: shares with a sign, which sum to 1.
        size: |G|, the length of what moved the layer: the gradient, Δw, or the shift of the statistics.
        change: |new - old|/|old| of the slots that the step moved; of statistics, the root mean square of
            (μ_b - μ)/σ and (σ²_b - σ²)/σ², a part of which the state follows.
        share: its part in the changes of all layers of its part of the step.
        heat: ``(N, H, W)`` or ``(N, T)``, the values on the input, mean 1; None where it has no places. Of
            statistics only what goes beyond that of source frames, where calibration has seen some.
        place: ``(H, W)`` or ``(T,)``, likewise of |Σ_n c_nu|, the batch as a whole.
    """

    layer: str
    kind: Kind
    values: Array
    along: Array
    size: float
    change: float
    share: float
    heat: Array | None
    place: Array | None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a step, all its layers together, weighted by their shares.

    Attributes:
        heat: ``(N, H, W)`` or ``(N, T)``, mean 1: where in each frame it came from.
        place: ``(H, W)`` or ``(T,)``, mean 1: where it came from over the batch. What all frames have in one
            place adds up there, and what differs from frame to frame averages out.
        frames: ``(N,)``, each frame's part of the contributions; sums to 1.
    """

    heat: Array
    place: Array
    frames: Array


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where one adaptation step came from.

    Attributes:
        layers: in the order of the model; empty where the step changed nothing that has a map.
        parts: ``statistics``, ``gradient``, ``hebbian``, as far as the step has them and they have places.
        step: number of the step.
        after: the state that the step led to.
    """

    layers: tuple[LayerMap, ...]
    parts: Mapping[str, Part]
    step: int
    after: State

    @property
    def without_gradient(self) -> bool:
        """Whether no gradient is in it: statistics and Hebbian changes come without."""
        return bool(self.layers) and not any(PARTS[m.kind] == "gradient" for m in self.layers)


class Call(NamedTuple):
    """One run of a step graph: what is needed to run it again."""

    graph: str
    batch: Array
    slots: Mapping[str, Array]
    inputs: Mapping[str, Any]


class Heard:
    """A ``Run`` that passes everything on, and keeps the run that a step came from.

    That is the last one of a step graph: where a method runs several, as SAR does, it descends that one's
    gradient. A method without gradient learns from its first run of ``batch``.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.call: Call | None = None

    def __call__(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """Run the graph."""
        if graph.startswith("step/") or self.call is None:
            self.call = Call(graph, batch, slots, inputs)
        return self._run(graph, batch, slots, **inputs)


def explain(
    bundle: Bundle,
    state: State,
    batch: Array,
    adapter: Adapter | str = "tent",
    run: Run | None = None,
) -> Explanation:
    """Let a method make one step from a state on a batch, and say where the step came from.

    Args:
        bundle: a bundle exported with ``--explain``.
        state: the state before the step, one of this method's.
        batch: preprocessed frames ``(N, ...)``.
        adapter: the method, or ``name?option=value``.
        run: the bundle's graphs, where they are loaded already.

    Raises:
        BundleError: the bundle has no graph for it.
    """
    method = make_adapter(adapter) if isinstance(adapter, str) else adapter
    check_explainable(method, bundle)
    heard = Heard(run or AdaptSession(bundle).run)
    after, _ = method.adapt(state, batch, heard)
    return trace(bundle.manifest, heard, heard.call, state, after, bundle.calibration())


def explaining(graph: str) -> str:
    """The graph that takes a run of this one apart.

    >>> explaining("step/entropy"), explaining("batch")
    ('explain/entropy', 'explain/batch')
    """
    return f"explain/{graph.removeprefix('step/')}"


def check_explainable(method: Adapter, bundle: Bundle) -> None:
    """Refuse a bundle that cannot explain a method's steps, before the first frame."""
    steps = sorted(g for g in method.needs if g.startswith("step/")) or ["batch"]
    if missing := [g for g in map(explaining, steps) if g not in bundle.manifest.provides]:
        name = type(method).__module__.rpartition(".")[2].rstrip("_")
        raise BundleError(
            f"this bundle has no graph {missing[0]!r}, which says where a step of {name!r} came from: "
            "export it again with --explain"
        )


def trace(
    manifest: Manifest,
    run: Run,
    call: Call | None,
    state: State,
    after: State,
    usual: Mapping[str, Array] | None = None,
) -> Explanation:
    """The explanation of a step that was made already.

    Args:
        manifest: of the bundle.
        run: the bundle's graphs.
        call: the run that the step came from.
        state: the state before.
        after: the state after.
        usual: the bundle's calibration, which may know what source frames add where.
    """
    if call is None or explaining(call.graph) not in manifest.provides:
        return Explanation((), {}, after.step, after)
    graph, batch, slots, inputs = call
    outputs = run(explaining(graph), batch, slots, **inputs).outputs
    layers = []
    for layer, kind, names in _moved(manifest, outputs, state, after):
        values, along = _joint(outputs, names, "map"), _joint(outputs, names, "along")
        square = float(along.sum())
        if not square > 0 or not values.any():  # moved by momentum alone
            continue
        placed = f"place.{names[0]}" in outputs
        whole = _joint(outputs, names, "place") if placed else values.mean(0)
        shown = values, whole[None]
        if kind == "statistics":
            shown = _beyond(*shown, layer, usual or {})
        heat, place = (onto(v, manifest.input.sample, batch.shape[1:]) for v in shown)
        if (
            kind == "statistics"
        ):  # G is M times the shift, and σ has the layer's epsilon in it there
            numbers = sum(state.slots[name].size for name in names)
            change = math.sqrt(square / numbers) / values.size
        else:
            change = _change(names, state, after)
        layers.append(
            LayerMap(
                layer, kind, values, along / square, math.sqrt(square), change, change,
                heat, None if place is None else place[0],
            )
        )  # fmt: skip
    order = {name: k for k, name in enumerate(manifest.layers)}
    layers.sort(key=lambda m: order.get(m.layer, len(order)))
    totals = {
        part: sum(m.change for m in layers if PARTS[m.kind] == part)
        for part in dict.fromkeys(PARTS.values())
    }
    shared = tuple(replace(m, share=m.change / totals[PARTS[m.kind]]) for m in layers)
    parts = {part: _part([m for m in shared if PARTS[m.kind] == part]) for part in totals}
    return Explanation(shared, {k: v for k, v in parts.items() if v}, after.step, after)


def _moved(
    manifest: Manifest, outputs: Mapping[str, Array], state: State, after: State
) -> list[tuple[str, Kind, list[str]]]:
    """The slots with a map that a step moved, by layer and kind."""
    found: dict[tuple[str, Kind], list[str]] = {}
    for slot in manifest.slots:
        moved = not np.array_equal(after.slots[slot.name], state.slots[slot.name])
        if moved and f"map.{slot.name}" in outputs:
            found.setdefault((slot.layer, KINDS[slot.role]), []).append(slot.name)
    return [(*key, names) for key, names in found.items()]


def _joint(outputs: Mapping[str, Array], names: Sequence[str], what: str) -> Array:
    """The slots' contributions as one vector: lengths add as squares, parts along the whole as they are."""
    found = [outputs[f"{what}.{name}"].astype(np.float64) for name in names]
    joint: Array = np.sum(found, axis=0) if what == "along" else np.sqrt(np.square(found).sum(0))
    return joint


def _beyond(
    values: Array, whole: Array, layer: str, usual: Mapping[str, Array]
) -> tuple[Array, Array]:
    """What goes beyond the contributions of source frames: √max(0, |c|² - E|c|²), see ``usual_places``.

    They were measured at the source state, so at an adapted one they are an approximation; where nothing goes
    beyond, all is shown.
    """
    frame, batch = (usual.get(f"explain.{k}.{layer}") for k in ("frame", "batch"))
    if frame is None or batch is None or frame.shape != values.shape[1:]:
        return values, whole
    n = len(values)
    expected = n * frame.astype(np.float64) + n * (n - 1) * batch
    above = (
        np.sqrt(np.maximum(np.square(values) - frame, 0)),
        np.sqrt(np.maximum(np.square(whole) - expected, 0)),
    )
    return (above[0] if above[0].any() else values), (above[1] if above[1].any() else whole)


def _change(names: Sequence[str], state: State, after: State) -> float:
    old, new = (
        np.concatenate([np.ravel(s.slots[name]) for name in names]).astype(np.float64)
        for s in (state, after)
    )
    return float(np.linalg.norm(new - old) / max(float(np.linalg.norm(old)), 1e-12))


def _part(layers: Sequence[LayerMap]) -> Part | None:
    placed = [m for m in layers if m.heat is not None and m.place is not None]
    if not placed:
        return None
    weights = np.array([m.share for m in placed]) / sum(m.share for m in placed)
    heat = sum(w * m.heat for w, m in zip(weights, placed) if m.heat is not None)
    place = sum(w * m.place for w, m in zip(weights, placed) if m.place is not None)
    frames = sum(w * _by_frame(m.values) for w, m in zip(weights, placed))
    return Part(np.asarray(heat), np.asarray(place), np.asarray(frames))


def _by_frame(values: Array) -> Array:
    sums = values.reshape(len(values), -1).sum(1)
    shares: Array = sums / sums.sum()
    return shares


__all__ = [
    "PARTS",
    "Call",
    "Explanation",
    "Heard",
    "LayerMap",
    "Part",
    "check_explainable",
    "explain",
    "explaining",
    "trace",
]

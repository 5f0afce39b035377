"""The whole way from a trained model to a bundle, as one function."""

from __future__ import annotations

import copy
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file

import tta
from tta import tasks
from tta.bundle import Bundle, write_manifest
from tta.canary_data import FILE, packed
from tta.errors import BundleError, ExportError
from tta.export import calibrate
from tta.export.canonical import canonical
from tta.export.choice import Layers
from tta.export.coupling import batch_coupled
from tta.export.drift_calibration import DriftOptions, calibrate_drift
from tta.export.explain_graph import explain_batch_graph, explain_graph
from tta.export.folded_norms import inserts, with_norms
from tta.export.infer_graph import infer_graph
from tta.export.kind_calibration import calibrate_kinds
from tta.export.layer_outputs import source_outputs
from tta.export.lift import Lifted, lift, zero_gradient
from tta.export.objectives import objective, suiting, takes_layers
from tta.export.onnx_file import OnnxFile
from tta.export.operators import dims
from tta.export.optimize.auto_layers import Candidate, weigh
from tta.export.profile_graphs import DEFAULT, check_profiles, checked, profile_graphs
from tta.export.step_graph import batch_graph, step_graph
from tta.export.torch_graph import trace
from tta.export.verify import Check, verify
from tta.export.verify_file import verify_file
from tta.export.write import external_names, write_graphs
from tta.manifest import InputSpec, Manifest
from tta.records import Array
from tta.runtime.preprocess import build
from tta.runtime.session import AdaptSession, InferSession


@dataclass(frozen=True)
class Cost:
    """Size and cost of one group of slots: tensors, numbers, and milliseconds for one frame."""

    group: str
    slots: int
    numbers: int
    ms: float


@dataclass(frozen=True)
class Exported:
    """What ``to_bundle`` made: the bundle, its checks, and what each group of slots costs."""

    bundle: Bundle
    checks: Sequence[Check]
    costs: Sequence[Cost]
    weighed: Sequence[Candidate] = ()  # what layers="auto" chose from, its choice first


def to_bundle(
    model: torch.nn.Module | OnnxFile,
    example: torch.Tensor | Array,
    out: str | Path,
    *,
    samples: Array | None = None,
    labels: Sequence[str] = (),
    preprocess: Mapping[str, Any] | None = None,
    hebbian: Sequence[str] | None = None,
    layers: Layers = "all",
    constant_statistics: bool = False,
    recompute: bool = False,
    explain: bool = False,
    objectives: Sequence[str] | None = None,
    task: str = "classify",
    name: str | None = None,
    input_name: str = "input",
    output_names: Sequence[str] | None = None,
    overwrite: bool = False,
    ep: Mapping[str, str] | None = None,
    targets: Array | None = None,
    drift: DriftOptions | None = None,
    canaries: Mapping[str, Array] | None = None,
    norms: str = "auto",
) -> Exported:
    """Export a torch model or an ONNX file as a bundle that adapts.

    Args:
        model: the trained module, or what ``onnx_file.read`` made of a file; it takes one float32 tensor
            ``(N, ...)``.
        example: an input of the right shape; real samples make a sharper check than noise.
        out: folder to write, ``name.tta`` by custom.
        samples: preprocessed source samples ``(N, ...)`` for calibration: source statistics of layers that
            keep none, feature moments, Hebbian temperature. Without them the example stands in.
        labels: class names.
        preprocess: how a frame becomes the input, see ``tta.runtime.preprocess``; default ``none``.
        hebbian: layers that become Hebbian; default the first convolution, ``()`` for none.
        layers: norm layers that adapt: ``all``, ``stem`` (the first), ``last:N``, names of layers or of the
            modules they are in, or ``auto``: the last layers that see most drift a millisecond. The
            others stay as they are, and the default Hebbian layer only where its norm adapts.
        constant_statistics: whether gradients take batch statistics for constants: faster, and no
            longer exact.
        recompute: whether the way back computes every second norm's input again: slower, and less memory.
        explain: whether each step graph gets one beside it that says where in the input a step came from.
        objectives: step graphs to build: those that the adapters of these names ask for; default
        ``entropy`` and
            ``nhl`` of a classifier, of other tasks all that suit them but ``nhl``.
        task: what the model is for, see ``tta.tasks``.
        name: model name; default the class name.
        input_name: name of the input in the graphs.
        output_names: names of the outputs; default what the task calls the first, ``output_1``, ...
        overwrite: replace an existing bundle.
        ep: how slots reach each execution provider, see ``profile_graphs``; default ``{"cpu": "refold"}``.
        targets: labels ``(N,)`` or regression targets ``(N, p)`` of the samples, for the error that a device
            estimates without labels.
        drift: false-alarm budget, ordered clips and correlation that drift detection is calibrated for.
        canaries: labelled frames that adaptation must not unlearn: preprocessed ``x (n, ...)``, targets ``y``
            and, where some must never break, ``severity (n,)`` of ``minor`` or ``major``; a regression's have
            ``tolerance``, see ``tta.canaries``.
        norms: whether convolutions of an ONNX file get norms behind them, as folded BatchNorms need: ``auto``
            where most have none, ``insert`` or ``keep``.

    Raises:
        ExportError: the model cannot be exported, or disagrees with what was exported; nothing is
            written then.
    """
    target = Path(out)
    if target.exists():
        if not overwrite:
            raise ExportError(f"{target} exists: choose another name or pass --overwrite")
        if not (target / "manifest.json").is_file():
            raise ExportError(f"{target} is no bundle folder, so it stays: choose another name")
    if task not in tasks.names():
        raise ExportError(f"task is one of {', '.join(tasks.names())}, but is {task!r}")
    kind = tasks.load(task)
    functions = {
        f"step/{o}": (found.written(kind, (output_names or [kind.primary])[0]), found.hebbian)
        for o, found in suiting(objectives, task).items()
    }
    if isinstance(model, OnnxFile):
        traced, input_name = model.model, str(model.model.graph.inputs[0].name)
        example = np.asarray(example, np.float32)
    else:
        model = copy.deepcopy(model).eval()  # the caller's own stays in the mode that it is in
        traced = trace(model, example, input_name)
    try:
        clean = canonical(traced)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
    ) as error:
        first = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"the model's graph is not valid ONNX, so it cannot adapt: {first}"
        ) from error
    shown = example.detach() if isinstance(example, torch.Tensor) else example
    data = np.asarray(shown) if samples is None else np.asarray(samples, np.float32)
    if isinstance(model, OnnxFile) and inserts(clean, norms):
        if samples is None:
            raise ExportError(
                f"the norms of {model.path.name} are folded into its convolutions, so their statistics must "
                "be measured: pass --samples with source frames, or --norms keep"
            )
        model = with_norms(model, clean, data)
    weighed: Sequence[Candidate] = ()
    if layers == "auto":
        if task != "classify":
            raise ExportError("layers 'auto' times the entropy step, so it needs task 'classify'")
        weighed = weigh(clean, data, objective("entropy").function)
        layers = weighed[0].layers
    if output_names is None:
        rest = range(1, len(clean.graph.outputs))
        output_names = [kind.primary, *(f"output_{k}" for k in rest)]
    lifted = lift(clean, hebbian, output_names, layers)
    _check_outputs(lifted, task, labels)
    if not lifted.hebbian:
        functions.pop("step/nhl", None)
    ep = checked(DEFAULT if ep is None else ep)
    graphs = {"infer": infer_graph(lifted), "batch": batch_graph(lifted)}
    graphs |= profile_graphs(lifted, ep)
    sources = None
    if any(takes_layers(function) for function, _ in functions.values()):
        sources = source_outputs(lifted, _checked(lifted, data), samples is not None)
    for graph, (function, with_change) in functions.items():
        graphs[graph] = step_graph(
            lifted,
            graph.removeprefix("step/"),
            function,
            with_change,
            constant_statistics,
            recompute,
            sources,
        )
    if explain:  # gradients as sums of contributions, checked as those of the steps are
        functions |= {g.replace("step/", "explain/", 1): given for g, given in functions.items()}
        if (statistics := explain_batch_graph(lifted)) is not None:
            graphs["explain/batch"] = statistics
    for graph in (g for g in functions if g.startswith("explain/")):
        graphs[graph] = explain_graph(
            lifted, graph.removeprefix("explain/"), *functions[graph], constant_statistics, sources
        )

    try:
        build(dict(preprocess or {"kind": "none"}), InputSpec(input_name, _batched(lifted)))
    except BundleError as error:
        raise ExportError(f"this preprocess would not run: {error}") from error
    _checked(lifted, data)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        write_graphs(folder, graphs, lifted.values)
        save_file({"none": np.zeros(0, np.float32)}, folder / "calibration.safetensors")
        features = graphs["infer"].graph.outputs[-1]
        manifest = Manifest(
            name=name or (model.path.stem if isinstance(model, OnnxFile) else type(model).__name__),
            task=task,
            input=InputSpec(input_name, _batched(lifted), "float32"),
            preprocess=dict(preprocess or {"kind": "none"}),
            outputs={
                **{k: _sample_shape(v) for k, v in lifted.outputs.items()},
                "features": _sample_shape(features),
            },
            primary=next(iter(lifted.outputs)),
            labels=tuple(labels),
            slots=tuple(lifted.slots),
            layers=lifted.layers,
            provides=tuple(g for g in graphs if g != "infer"),
            external={g: tuple(external_names(m)) for g, m in graphs.items()},
            zero_gradient=() if constant_statistics else zero_gradient(lifted),
            batch_coupled=batch_coupled(lifted),
            ep_profiles=ep,
            provenance=_provenance(model, layers, constant_statistics),
        )
        if canaries is not None:
            save_file(packed(manifest, canaries), folder / FILE)
        draft = Bundle(_seal(folder, manifest).parent)
        given = (lifted, draft, data, functions, constant_statistics, sources)
        checks = (
            verify_file(model, *given) if isinstance(model, OnnxFile) else verify(model, *given)
        )
        check_profiles(draft, data[:2])
        manifest = _calibrated(draft, manifest, data, samples is not None, targets, drift)
        _seal(folder, manifest)
        costs = measure(Bundle(folder), data[:1])
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return Exported(Bundle(target), checks, costs, weighed)


def _seal(folder: Path, manifest: Manifest) -> Path:
    write_manifest(folder, manifest)
    return folder / "manifest.json"


def _calibrated(
    bundle: Bundle,
    manifest: Manifest,
    data: Array,
    given: bool,
    targets: Array | None,
    drift: DriftOptions | None,
) -> Manifest:
    """Run calibration, write its file, and put its figures in the manifest."""
    session = AdaptSession(bundle)
    found = calibrate.running_statistics(bundle)
    limits: dict[str, float] = {}
    if given:
        found |= calibrate.statistics(bundle, session, data, targets)
        if "step/pseudo_label" in manifest.provides:
            found |= calibrate.fisher(bundle, session, data)
        found |= calibrate.usual_places(bundle, session, data)
        limits = calibrate.thresholds(bundle, session, data, found)
        found |= calibrate_drift(bundle, session, data, found, targets, drift)
        if drift is not None and drift.kinds:
            found |= calibrate_kinds(bundle, session, data, found, targets)
    defaults: dict[str, Mapping[str, Any]] = {}
    if "step/nhl" in manifest.provides:
        defaults["nhl"] = {"t_invert": dict(calibrate.temperatures(bundle, session, data))}
    save_file(found or {"none": np.zeros(0, np.float32)}, bundle.path / "calibration.safetensors")
    provenance = {**manifest.provenance, "calibration_samples": len(data) if given else 0}
    return replace(manifest, defaults=defaults, thresholds=limits, provenance=provenance)


def measure(bundle: Bundle, frame: Array, repeats: int = 15) -> list[Cost]:
    """What each group of slots costs for one frame, on this machine with one thread.

    The cost of a group is the time of the graph that serves it beyond the graph before it: statistics
    beyond inference, gradients beyond statistics, the Hebbian change beyond gradients.
    """
    session, infer = AdaptSession(bundle), InferSession(bundle)
    graphs = ["batch", *(g for g in ("step/entropy", "step/nhl") if g in bundle.manifest.provides)]
    runs: dict[str, Callable[[], object]] = {"infer": lambda: infer.run(frame)}
    for graph in graphs:
        runs[graph] = lambda graph=graph: session.run(graph, frame, bundle.source_slots)  # type: ignore[misc]
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            best[key] = min(best[key], (time.perf_counter() - start) * 1e3)
    entropy = best.get("step/entropy", best["batch"])
    groups = (
        ("inference", (), best["infer"]),
        ("statistics (mean, var)", ("mean", "var"), best["batch"] - best["infer"]),
        ("norm affine (scale, bias)", ("scale", "bias"), entropy - best["batch"]),
        (
            "Hebbian (weight, gain, shift)",
            ("weight", "modulation"),
            best.get("step/nhl", 0) - entropy,
        ),
        ("feature shift", ("feature_shift",), 0.0),
        ("head (weight, bias)", ("head_weight", "head_bias"), 0.0),
    )
    costs = []
    for group, roles, ms in groups:
        slots = bundle.manifest.named(*roles)
        if slots or not roles:
            numbers = sum(int(np.prod(s.shape)) for s in slots)
            costs.append(Cost(group, len(slots), numbers, max(ms, 0.0)))
    return costs


def _batched(lifted: Lifted) -> tuple[int | None, ...]:
    shape = dims(lifted.input)
    return (None, *(d if isinstance(d, int) else None for d in shape[1:]))


def _sample_shape(value: Any) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else -1 for d in dims(value)[1:])


def _check_outputs(lifted: Lifted, task: str, labels: Sequence[str]) -> None:
    primary, value = next(iter(lifted.outputs.items()))
    kind, shape = tasks.load(task), _sample_shape(value)
    if reason := kind.unfit(shape, 0):
        raise ExportError(f"output {primary!r}: {reason}: pass another task")
    ends = value.producer()
    if ends is not None and ends.op_type in kind.never_behind:
        raise ExportError(
            f"output {primary!r} ends in a {ends.op_type}, but a model for {task} gives logits: export it "
            "without that last layer"
        )
    if reason := kind.unfit(shape, len(labels)):
        raise ExportError(f"output {primary!r}: {reason}")


def _checked(lifted: Lifted, data: Array) -> Array:
    """The samples, if they fit the model."""
    want = _batched(lifted)[1:]
    if data.ndim != len(want) + 1 or any(w not in (None, g) for w, g in zip(want, data.shape[1:])):
        raise ExportError(f"samples must be (N, {', '.join(map(str, want))}), but are {data.shape}")
    if not len(data) or not np.isfinite(data).all():
        raise ExportError("samples must hold at least one frame, all of it finite")
    return data


def _provenance(
    model: torch.nn.Module | OnnxFile, layers: Layers, constant: bool
) -> dict[str, Any]:
    choice = {"layers": layers if isinstance(layers, str) else ",".join(layers)}
    if constant:
        choice["statistics_gradient"] = "constant"
    if isinstance(model, OnnxFile):
        source = model.path.name
        if model.probabilities:
            choice["softmax"] = "removed"
        if model.folded:
            choice["inserted_norms"] = str(len(model.folded))
    else:
        source = f"{type(model).__module__}.{type(model).__qualname__}"
    return {
        "tta": tta.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "model": source,
        **choice,
    }


__all__ = ["Cost", "Exported", "Lifted", "to_bundle"]

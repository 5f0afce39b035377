"""``tta export``: from the command line's words to ``to_bundle``, and a table of what came out."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tta import registry, tasks
from tta.autocorrelation import effective_size, from_time
from tta.errors import ExportError, MissingExtraError
from tta.records import Array
from tta.terminal import Terminal

if TYPE_CHECKING:
    from tta.bundle import Bundle
    from tta.export.drift_calibration import DriftOptions


def export_command(given: argparse.Namespace) -> None:
    """Export what the arguments name and print its checks and costs.

    Raises:
        ExportError: the factory, a file or an option is unusable, or the export failed.
        MissingExtraError: torch or onnx is not installed.
    """
    try:
        from tta.export.assembly import to_bundle
        from tta.export.profile_graphs import profiles
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("torch", "onnx", "onnx_ir", "onnxscript"):
            raise
        raise MissingExtraError("export", "tta export", error.name or "torch") from error
    samples = _samples(given.samples) if given.samples else None
    if given.factory.endswith(".onnx"):
        model, example, options = opened(given.factory, samples)
    else:
        model, example, options = _made(given.factory)
    if given.norms:
        options["norms"] = given.norms
    if given.task:
        options["task"] = given.task
    if samples is not None:
        options["samples"] = samples
        targets = _targets(given.samples)
        if targets is not None:
            options["targets"] = targets
    if given.canaries:
        options["canaries"] = _arrays(given.canaries)
    if given.labels:
        options["labels"] = _labels(given.labels)
    if given.preprocess:
        none = given.preprocess == "none"
        options["preprocess"] = {"kind": "none"} if none else _json(given.preprocess)
    inferred = "preprocess" not in options
    if inferred:
        options["preprocess"] = likely_preprocess(tuple(getattr(example, "shape", ())))
    if given.hebbian:
        options["hebbian"] = [] if given.hebbian == "none" else given.hebbian.split(",")
    if given.layers is not None:
        options["layers"] = given.layers
    if given.constant_statistics:
        options["constant_statistics"] = True
    if given.recompute:
        options["recompute"] = True
    if given.explain:
        options["explain"] = True
    if given.objectives:
        options["objectives"] = given.objectives.split(",")
    if given.ep is not None:
        options["ep"] = profiles(given.ep)
    options.setdefault("drift", _drift(given, options.get("samples")))
    options["overwrite"] = given.overwrite or options.get("overwrite", False)
    known = inspect.signature(to_bundle).parameters
    if unknown := sorted(options.keys() - known.keys()):
        raise ExportError(
            f"{given.factory} returned unknown options {', '.join(unknown)}; to_bundle takes "
            f"{', '.join(list(known)[3:])}"
        )
    exported = to_bundle(model, example, given.output, **options)

    terminal = Terminal()
    rows = [
        (
            cost.group,
            *((str(cost.slots), f"{cost.numbers:,}") if cost.slots else ("", "")),
            f"{cost.ms:.2f}",
        )
        for cost in exported.costs
    ]
    title = f"{given.output}: {exported.bundle.manifest.name}"
    terminal.table(title, ("slots", "tensors", "numbers", "ms a frame"), rows)
    if exported.weighed:
        rows = [
            (c.layers, f"{c.drift:.2f}", f"{c.ms:.2f}", f"{c.worth:.3f}") for c in exported.weighed
        ]
        terminal.table(
            "layers, the first chosen", ("layers", "drift", "ms a step", "drift a ms"), rows
        )
    terminal.say("ms: what each group adds to a step on one frame, one thread of this machine")
    against = "the file" if given.factory.endswith(".onnx") else "torch"
    worst = max(exported.checks, key=lambda c: c.error)
    terminal.say(
        f"{len(exported.checks)} checks against {against} passed; largest error "
        f"{worst.error:.2f} of its tolerance ({worst.what}, {worst.accepted})"
    )
    if given.checks:
        for check in exported.checks:
            terminal.say(f"  {check.what}: {check.error:.3f} of its tolerance, {check.accepted}")
    if inferred and options["preprocess"]["kind"] != "none":
        terminal.say(
            f"preprocess, inferred from the input's shape: {json.dumps(options['preprocess'])}; if the "
            "model was trained otherwise (mean and std, say), pass --preprocess FILE, or none for "
            "frames that are ready samples"
        )
    for line in calibration_notes(exported.bundle):
        terminal.say(line)
    if not exported.bundle.manifest.thresholds:
        terminal.say(
            "not calibrated: without --samples drift has no threshold, so the governor adapts always"
        )


def calibration_notes(bundle: Bundle) -> list[str]:
    """What calibration found out for drift detection, and what it had to assume."""
    known = bundle.calibration()
    if "drift.rho" not in known:
        return ["shifts are not detected: that needs at least 256 --samples, better 2,000"]
    frames, rate = float(known["drift.frames"][0]), float(known["drift.budget"][0])
    fps = float(known["drift.fps"][0])
    if "drift.ordered" in known:
        rho, whence = float(known["drift.rho"][-1]), "measured on the ordered samples"
    else:
        rho = from_time(float(known["drift.correlation_s"][0]), fps)
        whence = (
            f"assumed from a correlation time of {float(known['drift.correlation_s'][0]):g} s, since the "
            "samples are not ordered; a device measures its own while it warms up"
        )
    notes = [
        f"drift detection: at most one false alarm in {1 / rate:,.0f} frames over all scores; "
        f"neighbouring frames correlate with {rho:.3f}, {whence}",
        f"{frames:.0f} calibration frames, worth {effective_size(frames, rho):.0f} independent ones "
        "in a stream",
    ]
    if frames * rate < 1:
        notes.append("fewer frames than the budget needs, so thresholds are extrapolated and wider")
    if "drift.kinds.confusion" in known:
        confusion = known["drift.kinds.confusion"]
        named = confusion[:, :-1]
        notes.append(
            f"kinds of shifts on held-out faults: {100 * named.sum() / confusion.sum():.0f} % named, of them "
            f"{100 * named.trace() / max(named.sum(), 1):.0f} % rightly"
        )
    asks = registry.load("tta.drift", "estimated_error")
    if tasks.refusal("", asks, bundle.manifest.task):
        notes.append("the error is estimated of classifiers only, so every new domain is an alarm")
    elif "drift.estimated_error.error" not in known:
        notes.append(
            "no labels beside the samples, so no error is estimated and every new domain is an alarm"
        )
    return notes


def likely_preprocess(shape: tuple[int, ...]) -> dict[str, Any]:
    """How frames most likely become an input of that shape, batch axis first.

    Images of 1 or 3 channels are resized and scaled to 0..1; samples of several channels over time are
    collected to windows; anything else is taken as it comes.

    >>> likely_preprocess((1, 6, 100))
    {'kind': 'window', 'channels': 6, 'length': 100, 'hop': 100}
    >>> likely_preprocess((8, 64))
    {'kind': 'none'}
    """
    if len(shape) == 4 and shape[1] in (1, 3):
        colour = "RGB" if shape[1] == 3 else "GRAY"
        return {
            "kind": "image",
            "channels": shape[1],
            "layout": "CHW",
            "resize": [shape[2], shape[3]],
            "scale": 1 / 255,
            "colour": colour,
        }
    if len(shape) == 3:
        return {"kind": "window", "channels": shape[1], "length": shape[2], "hop": shape[2]}
    return {"kind": "none"}


def opened(path: str, samples: Array | None) -> tuple[Any, Array, dict[str, Any]]:
    """An ONNX file as the model to export, with an example of its input."""
    from tta.export.onnx_file import read

    model = read(path, None if samples is None else samples.shape[1:])
    shape = [d for d in model.model.graph.inputs[0].shape or () if isinstance(d, int)]
    noise = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    return model, noise if samples is None else samples, {}


def _made(name: str) -> tuple[Any, Any, dict[str, Any]]:
    """Call the factory ``pkg.mod:function``."""
    module_name, colon, function = name.partition(":")
    if not colon or not module_name.strip(".") or module_name.startswith("."):
        raise ExportError(f"the model is named pkg.mod:factory, but got {name!r}")
    here = str(Path.cwd())  # a console script does not have it there
    sys.path.insert(0, here)
    try:
        made = _function(name, module_name, function)()
    except ExportError:
        raise
    except Exception as error:  # the user's own code: its message, without our stack
        raise ExportError(f"{name} failed: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise ExportError(
            f"{name} must return (model, example) or (model, example, options), but returned "
            f"{type(made).__name__}"
        )
    return made[0], made[1], dict(made[2]) if len(made) == 3 else {}


def _function(name: str, module: str, function: str) -> Callable[[], Any]:
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ExportError(f"cannot load {name!r}: {error}") from error
    if not callable(found):
        raise ExportError(f"{name} must be a function, but is of type {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _samples(path: str) -> Array:
    """The array of an .npy file, or of an .npz file the one called ``samples``, else the first."""
    try:
        data = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            return data
        with data:
            names = list(data.keys())
            found: Array = data["samples" if "samples" in names else names[0]]
            return found
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise ExportError(f"samples cannot be read from {path}: {error}") from error


def _targets(path: str) -> Array | None:
    """Labels or regression targets beside the samples, None where there are none."""
    if not zipfile.is_zipfile(path):
        return None
    with np.load(path, allow_pickle=False) as data:
        for name in ("targets", "labels"):
            if name in data:
                found: Array = data[name]
                return found
    return None


def _arrays(path: str) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ExportError(f"canaries cannot be read from {path}: {error}") from error


def _drift(given: argparse.Namespace, samples: Array | None) -> DriftOptions:
    from tta.export.drift_calibration import DriftOptions

    clips = (len(samples),) if given.ordered and samples is not None else ()
    return DriftOptions(
        given.false_alarms,
        given.fps,
        clips,
        given.correlation_time,
        tuple(given.detectors.split(",")),
        given.kinds,
    )


def _labels(text: str) -> list[str]:
    if "," in text and not os.path.isfile(text):
        return [label.strip() for label in text.split(",")]
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ExportError(f"labels cannot be read from {text}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _json(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ExportError(f"the preprocess spec cannot be read from {path}: {error}") from error
    if not isinstance(found, dict):
        raise ExportError(f"{path} must hold a JSON object, but holds {type(found).__name__}")
    return found

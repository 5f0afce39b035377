"""What a bundle or a state holds, in words: ``tta inspect`` and ``tta state show``."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import numpy as np

from tta import registry, sensor_audit, tasks
from tta.bundle import Bundle
from tta.canary_data import shipped
from tta.choice import choose
from tta.errors import TtaError
from tta.manifest import Manifest, fewest_frames
from tta.moments import layer_moments, symmetric_kl
from tta.records import State, content_hash
from tta.runtime.extra import load_extra


def describe(bundle: Bundle) -> str:
    """The bundle's contract as text."""
    m = bundle.manifest
    shape = ", ".join("N" if d is None else str(d) for d in m.input.shape)
    kinds = Counter(m.layers.values())
    lines = [
        f"{m.name}   bundle {bundle.hash[:12]}, schema {m.schema}, task {m.task}",
        f"input       {m.input.name} ({shape}) {m.input.dtype}, preprocess {_spec(m.preprocess)}",
        "outputs     " + ", ".join(f"{k} {_shape(v)}" for k, v in m.outputs.items()),
        *_task(bundle),
        f"labels      {', '.join(m.labels) if m.labels else 'none'}",
        f"provides    infer, {', '.join(m.provides)}",
        "layers      " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        "",
        f"{'slots':22}{'tensors':>9}{'numbers':>10}",
    ]
    for role in dict.fromkeys(s.role for s in m.slots):
        slots = m.named(role)
        numbers = sum(int(np.prod(s.shape)) for s in slots)
        lines.append(f"  {role:20}{len(slots):>9}{numbers:>10}")
    lines += ["", f"{'layer':36}{'kind':16}slots"]
    for layer, kind in m.layers.items():
        own = [s for s in m.slots if s.layer == layer]
        lines.append(
            f"  {layer:34}{kind:16}"
            + ", ".join(f"{s.name[len(layer) + 1 :]} {_shape(s.shape)}" for s in own)
        )
    lines.append("")
    lines.append(f"batch       {_batch(m)}")
    lines.append(f"auto        {choose(m).reason}")
    if m.zero_gradient:
        lines.append(f"no gradient under batch statistics: {', '.join(m.zero_gradient)}")
    if m.defaults:
        lines.append(f"defaults    {dict(m.defaults)}")
    lines.append(
        "thresholds  "
        + (
            ", ".join(f"{k} {v:g}" for k, v in sorted(m.thresholds.items()))
            or "none: not calibrated"
        )
    )
    lines.append("files")
    for name in m.files:
        lines.append(f"  {name:34}{(bundle.path / name).stat().st_size / 1e3:>10.1f} kB")
    if (known := shipped(bundle)) is not None:
        lines.append(f"canaries    {len(known)}, of them {known.major.sum()} must-never-break")
    lines += sensor_audit.describe(bundle)
    made = ", ".join(f"{k} {v}" for k, v in m.provenance.items())
    lines.append(f"made with   {made}")
    return "\n".join(lines) + "\n"


def _task(bundle: Bundle) -> list[str]:
    """What the task is, and what suits it of methods and checks."""
    m, task = bundle.manifest, bundle.task
    lines = [f"task        {m.task}: {task.outputs}; error {task.measure}"]
    for kind, package in (("adapter", "tta.adapters"), ("check", "tta.checks")):
        found: dict[bool, list[str]] = {True: [], False: []}
        for name in registry.names(package):
            found[not tasks.refusal(name, registry.load(package, name), m.task)].append(name)
        apart = f"; not for this task: {', '.join(found[False])}" if found[False] else ""
        lines.append(f"  {kind}s  {', '.join(found[True])}{apart}")
    return lines


def describe_state(bundle: Bundle, state: State) -> str:
    """What a state changed, by layer."""
    lines = [
        f"state {state.hash[:12]} of {bundle.manifest.name}: adapter {state.adapter}, "
        f"step {state.step}, parent {state.parent[:12] or 'none'}",
        f"served as {content_hash(state.slots)[:12]}: the slots alone, as results name them",
        f"{'slot':44}{'relative change':>16}",
    ]
    for slot in bundle.manifest.slots:
        new, old = state.slots[slot.name], bundle.source_slots[slot.name]
        if not np.array_equal(new, old):
            base = float(np.linalg.norm(old))
            change = f"{float(np.linalg.norm(new - old)) / base:.2%}" if base else "was zero"
            lines.append(f"  {slot.name:42}{change:>15}")
    if len(lines) == 3:
        return "\n".join(lines[:2]) + "\nevery slot is as in the source model\n"
    lines.append(f"{'layer':44}{'KL from source':>16}")
    for layer in bundle.manifest.layers:
        new_moments = layer_moments(state.slots, layer)
        old_moments = layer_moments(bundle.source_slots, layer)
        if new_moments and old_moments:
            lines.append(f"  {layer:42}{symmetric_kl(new_moments, old_moments):>15.3f}")
    return "\n".join(lines) + "\n"


def describe_onnx(path: str | Path) -> str:
    """Which layers of an ONNX file could adapt, and at what cost, see ``export/inspect_file.py``.

    Raises:
        MissingExtraError: what reads ONNX graphs is not installed; a device does without.
        ExportError: the file cannot be exported.
    """
    for module in ("torch", "onnx", "onnx_ir", "onnxscript"):
        load_extra("export", "tta inspect of an ONNX file", module)
    found: str = importlib.import_module("tta.export.inspect_file").describe_file(path)
    return found


def draw(bundle: Bundle, target: str | Path) -> Path:
    """Write the bundle's neural circuit diagram as SVG; see ``tta.export.diagram``.

    Raises:
        MissingExtraError: what reads ONNX graphs is not installed; a device does without.
        TtaError: the file cannot be written.
    """
    path = Path(target)
    if path.suffix != ".svg":
        raise TtaError(
            f"a diagram is an SVG file: name one that ends in .svg instead of {path.name!r}"
        )
    if not path.resolve().parent.is_dir():
        raise TtaError(f"cannot write {path}: there is no folder {path.parent}")
    for module in ("onnx", "onnx_ir"):
        load_extra("export", "a diagram", module)
    diagram = importlib.import_module(
        "tta.export.diagram"
    )  # by name, so that a device never needs it
    try:
        path.write_text(diagram.diagram(bundle), encoding="utf-8")
    except OSError as error:
        raise TtaError(f"cannot write {path}: {error.strerror}") from error
    return path


def _batch(m: Manifest) -> str:
    """From how many frames on batch statistics make sense, and why."""
    if not m.batch_coupled:
        return "a step takes 1 frame or more: no layer's statistics mix samples"
    closed = {layer: n for layer, n in m.batch_coupled.items() if n > 0}
    least = min(closed, key=lambda layer: closed[layer], default="")
    fewest = f", {least} with fewest values a channel: {closed[least]} a frame" if closed else ""
    frames = fewest_frames(m)
    return (
        f"a step takes {frames} frame{'s'[: frames > 1]} or more: "
        f"statistics of {len(m.batch_coupled)} layers mix samples{fewest}"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _spec(spec: object) -> str:
    if not isinstance(spec, dict):
        return str(spec)
    rest = {k: v for k, v in spec.items() if k != "kind" and v is not None}
    return str(spec["kind"]) + (f" {rest}" if rest else "")

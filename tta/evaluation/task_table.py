"""``tta evaluate`` for models that are no classifiers: the error of each task beside the frozen model's.

Protocols, corruptions and ways to serve are those of classifiers; the error is the task's own
(``tta.tasks``), frame by frame, so that the gain is paired and has a 95 % interval over blocks of each visit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.corruptions import check_severity
from tta.errors import TtaError
from tta.evaluation.cell import check_fit, check_serve, corruption_names, taken_for
from tta.evaluation.interval import Interval, block_of, interval, pooled, within
from tta.evaluation.machine import machine
from tta.evaluation.protocols import Setting, Visit, build
from tta.evaluation.record import plain
from tta.evaluation.serving import ROUNDS, Direct, Serve, Streamed
from tta.evaluation.task_material import TaskMaterial
from tta.evaluation.whole_file import write_arrays, write_bytes
from tta.governor import Mode
from tta.records import Array
from tta.runtime.method import make_adapter
from tta.terminal import Terminal

BY_CLASS = ("correlated", "few_classes", "diurnal", "unseen")  # protocols that need classes


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A method under a protocol, over all visits.

    Attributes:
        frozen_error, error: means over frames; in percent where the error is a share.
        gain: of error, with its 95 % interval; below zero it hurts.
        agreement: mean agreement of the frozen model's and the served answers, 0..1.
        visits: one each: name, both errors, gain, agreement, figures of both, and what the governor did.
    """

    task: str
    measure: str
    model: str
    data: str
    adapter: str
    protocol: str
    batch: int
    seed: int
    serve: str
    governor: str
    frames: int
    frozen_error: float
    error: float
    gain: Interval
    agreement: float
    visits: tuple[dict[str, Any], ...]


def task_table(
    bundle: Bundle,
    data: str,
    *,
    adapters: Sequence[str],
    protocols: Sequence[str],
    batches: Sequence[int] = (16,),
    seeds: Sequence[int] = (0,),
    corruptions: str = "all",
    severity: int = 5,
    limit: int | None = None,
    brief: bool = True,
    serve: Serve = "batch",
    governor: Mode = "always",
    buffer: str = "auto",
    out: str | None = None,
    as_json: str | None = None,
    terminal: Terminal | None = None,
) -> list[TaskLine]:
    """Run all combinations and print their table and visits.

    Args:
        bundle: of any task.
        data: see ``TaskMaterial``.
        adapters: ``name?option=value`` each.
        protocols: ``name`` or ``name:argument`` each; those that sort by class need a classifier.
        batches: frames a step.
        seeds: of order and chance.
        corruptions: names joined by commas, or ``all``.
        severity: the largest, 1 to 5.
        limit: items of the data that are used.
        brief: protocols that show the data many times over take a part of it each time.
        serve: ``batch`` or ``stream``.
        governor: ``always``, ``auto`` or ``off``.
        buffer: which frames a step is on where a stream is served.
        out: folder of ``tasks.json`` and one .npz with the errors frame by frame a combination.
        as_json: also write the lines there.
        terminal: where to print.

    Raises:
        TtaError: something does not fit; nothing has run then.
    """
    terminal = terminal or Terminal()
    check_serve(serve, governor, False, buffer)
    for protocol in protocols:
        if protocol.partition(":")[0] in BY_CLASS:
            raise TtaError(
                f"protocol {protocol!r} sorts frames by class, but the task of {bundle.manifest.name} is "
                f"{bundle.manifest.task}: take reset, clean, continual, gradual, mixed or recurring"
            )
    chosen = corruption_names(corruptions)
    for name in chosen:
        check_severity(name, severity)
    for adapter in adapters:
        for batch in batches:
            taken = taken_for(bundle.manifest, adapter, buffer, batch, serve)
            check_fit(make_adapter(taken.adapter), bundle, taken, batch)
    material = TaskMaterial(bundle, data, limit)
    found = []
    for protocol in protocols:
        for adapter in adapters:
            for batch in batches:
                for seed in seeds:
                    line, arrays = _cell(
                        material, protocol, adapter, batch, seed, chosen, severity, brief, serve,
                        governor, buffer,
                    )  # fmt: skip
                    found.append(line)
                    if out is not None:
                        place = f"{len(found):03d}-{protocol}-{adapter}".replace(":", "_")
                        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in place)
                        write_arrays(Path(out).expanduser() / f"{name}.npz", arrays)
    text = json.dumps(plain({"lines": [asdict(line) for line in found], **machine()}), indent=1)
    if out is not None:
        write_bytes(Path(out).expanduser() / "tasks.json", text.encode() + b"\n")
    if as_json:
        write_bytes(Path(as_json).expanduser(), text.encode() + b"\n")
    _print(terminal, material, found)
    return found


def _cell(
    material: TaskMaterial,
    protocol: str,
    adapter: str,
    batch: int,
    seed: int,
    corruptions: tuple[str, ...],
    severity: int,
    brief: bool,
    serve: Serve,
    governor: Mode,
    buffer: str,
) -> tuple[TaskLine, dict[str, Array]]:
    manifest = material.bundle.manifest
    taken = taken_for(manifest, adapter, buffer, batch, serve)
    count = len(material.targets)
    labels = np.zeros(count, int)
    visits = list(
        build(protocol).visits(Setting(labels, corruptions, severity, count, seed, brief))
    )
    if serve == "batch" and governor == "always":
        server: Direct | Streamed = Direct(material, taken.adapter, material.model.adapting.run)
    else:
        server = Streamed(material, taken.adapter, batch, serve, governor, taken.buffer)
    parts, rows = [], []
    for number, each in enumerate(visits):
        if each.reset and number:
            server.begin()
        before = Counter(server.rounds)
        arrays, row = _visit(material, server, each, batch)
        row["rounds"] = {name: server.rounds[name] - before[name] for name in ROUNDS}
        parts.append({"visit": np.full(len(each.items), number), **arrays})
        rows.append(row)
    whole = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    scale = 100.0 if material.task.share else 1.0
    gains = [scale * (p["frozen_error"] - p["error"]) for p in parts]
    line = TaskLine(
        manifest.task,
        material.task.measure,
        manifest.name,
        material.data.name,
        adapter,
        protocol,
        batch,
        seed,
        serve,
        governor,
        len(whole["error"]),
        scale * float(np.nanmean(whole["frozen_error"])),
        scale * float(np.nanmean(whole["error"])),
        _gain(gains, batch),
        float(np.nanmean(whole["agreement"])),
        tuple(rows),
    )
    return line, whole


def _visit(
    material: TaskMaterial, server: Direct | Streamed, each: Visit, batch: int
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Errors of a visit frame by frame, and its row."""
    task = material.task
    frozen, served = [], []
    for start in range(0, len(each.items), batch):
        readings = material.shown(each, start, start + batch)
        frozen.append(material.frozen(readings))
        served.append(server.answer(readings).outputs)
    old, new = np.concatenate(frozen), np.concatenate(served)
    truth = material.targets[each.items]
    arrays = {
        "item": material.chosen[each.items],
        "frozen_error": task.error(old, truth),
        "error": task.error(new, truth),
        "agreement": task.agreement(old, new),
    }
    scale = 100.0 if task.share else 1.0
    gain = interval(scale * (arrays["frozen_error"] - arrays["error"]), block_of(len(old), batch))
    row = {
        "visit": each.name,
        "severity": each.severity,
        "frames": len(old),
        "frozen_error": scale * float(np.nanmean(arrays["frozen_error"])),
        "error": scale * float(np.nanmean(arrays["error"])),
        "gain": asdict(gain),
        "agreement": float(np.nanmean(arrays["agreement"])),
        "frozen_details": _finite(task.details(old, truth)),
        "details": _finite(task.details(new, truth)),
    }
    return arrays, row


def _gain(gains: Sequence[Array], batch: int) -> Interval:
    found = pooled([(interval(g, block_of(len(g), batch)), len(g)) for g in gains])
    if found.low is None:
        found = within(gains, block_of(min(map(len, gains)), batch))
    if found.low is None:
        joined = np.concatenate(gains)
        found = interval(joined, block_of(len(joined), batch))
    return found


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {k: v if np.isfinite(v) else None for k, v in figures.items()}


def _print(terminal: Terminal, material: TaskMaterial, found: Sequence[TaskLine]) -> None:
    task, name = material.task, material.bundle.manifest.name
    unit = " %" if task.share else ""
    columns = ("method", "protocol", "frames", f"frozen{unit}", f"error{unit}", "gain", "95 %",
               "agreement", "commits")  # fmt: skip
    rows = []
    for line in found:
        rows.append(_row(line.adapter, line.protocol, line.frames, asdict(line)))
        commits = sum(visit["rounds"]["commits"] for visit in line.visits)
        rows[-1] += (str(commits),)
        if len(line.visits) > 1:
            for visit in line.visits:
                rows.append(_row("", f"  {visit['visit']}", visit["frames"], visit))
                rows[-1] += (str(visit["rounds"]["commits"]),)
    title = f"{name}: {task.measure}; below zero a gain hurts"
    terminal.table(title, columns, rows)
    parts = [_details(line) for line in found]
    if any(parts):
        terminal.table(
            "further figures, frozen to adapted", ("method", "protocol", "figures"),
            [(x.adapter, x.protocol, text) for x, text in zip(found, parts) if text],
        )  # fmt: skip


def _row(method: str, protocol: str, frames: int, of: Mapping[str, Any]) -> tuple[str, ...]:
    gain = of["gain"]
    hurts = gain["high"] is not None and gain["high"] < 0
    span = "" if gain["low"] is None else f"{gain['low']:+.3g} to {gain['high']:+.3g}"
    return (
        ("▼ " if hurts else "") + method,
        protocol,
        f"{frames:,}",
        f"{of['frozen_error']:.4g}",
        f"{of['error']:.4g}",
        f"{gain['mean']:+.3g}",
        span,
        f"{of['agreement']:.3f}",
    )


def _details(line: TaskLine) -> str:
    """Means over visits of the further figures."""
    said = []
    for key in line.visits[0]["details"]:
        pairs = [(v["frozen_details"][key], v["details"][key]) for v in line.visits]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            old, new = np.mean(known, 0)
            said.append(f"{key} {old:.3f} → {new:.3f}")
    return ", ".join(said)


__all__ = ["TaskLine", "task_table"]

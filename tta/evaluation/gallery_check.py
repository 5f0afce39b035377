"""``tta gallery``: whether vectors that a model has stored are valid for a changed model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation.task_material import TaskMaterial
from tta.gallery import CrossRetrieval, cross_retrieval
from tta.records import Array
from tta.runtime.store import load_state
from tta.terminal import Terminal

CHUNK = 64


def gallery_command(
    bundle: str,
    data: str,
    *,
    old: str | None = None,
    state: str | None = None,
    limit: int | None = None,
    out: str | None = None,
    terminal: Terminal | None = None,
) -> CrossRetrieval:
    """Compare two embedders on labelled frames, and write the rotation that mends what it can.

    Args:
        bundle: of an embedder: the new one.
        data: labelled frames that both embed.
        old: bundle of the model that made the gallery; default the same one with its source slots.
        state: adapted state of the new one.
        limit: frames at most.
        out: file of ``rotation`` ``(D, d)``: queries of the new model times it go with the old vectors.
        terminal: where to print.

    Raises:
        TtaError: another task, or nothing to compare.
    """
    terminal = terminal or Terminal()
    opened = [Bundle(each) for each in (bundle, old or bundle)]
    for each in opened:
        if each.manifest.task != "embed":
            raise TtaError(
                f"galleries are of embedders, but the task of {each.manifest.name} is {each.manifest.task}"
            )
    if old is None and state is None:
        raise TtaError("nothing has changed: name the --old bundle, or a --state of this one")
    new, before = (TaskMaterial(each, data, limit) for each in opened)
    slots = None if state is None else load_state(state, opened[0]).slots
    found = cross_retrieval(_vectors(before, None), _vectors(new, slots), np.asarray(new.targets))
    rows = [
        ("old", "old", f"{100 * found.old_old:.1f}"),
        ("new", "old", f"{100 * found.new_old:.1f}"),
        ("new, rotated", "old", f"{100 * found.repaired:.1f}"),
        ("new", "new", f"{100 * found.new_new:.1f}"),
    ]
    title = f"{opened[0].manifest.name}: recall@1 on {len(new.targets) // 2} queries"
    terminal.table(title, ("queries of", "gallery of", "recall@1 %"), rows)
    terminal.say(found.verdict)
    if out is not None:
        path = Path(out).expanduser()
        save_file({"rotation": np.ascontiguousarray(found.rotation, np.float32)}, path)
        terminal.say(f"{path}: multiply queries of the new model by its rotation")
    return found


def _vectors(material: TaskMaterial, slots: Mapping[str, Array] | None) -> Array:
    model = material.model
    given = model.bundle.source_slots if slots is None else slots
    primary, parts = model.bundle.manifest.primary, []
    for start in range(0, len(material.targets), CHUNK):
        items = np.arange(start, min(start + CHUNK, len(material.targets)))
        x = material.prepared(material.readings.read(items, "none", 0))
        parts.append(model.adapting.run("batch", x, given, alpha=0.0).outputs[primary])
    return np.concatenate(parts).astype(np.float64)


__all__ = ["gallery_command"]

"""``tta explain``: run a stream, say where its last steps came from, and draw it."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.explanation.heat import half
from tta.explanation.overlay import hottest
from tta.explanation.report import by_layer, write
from tta.explanation.witness import Watched, watch
from tta.governor import Mode
from tta.runtime.folder import writable
from tta.runtime.redaction import redact
from tta.runtime.source_uri import open_source
from tta.terminal import Terminal

SHOWN = 12  # layers in the printed table; the files have all


def explain_command(given: argparse.Namespace) -> None:
    """Run what the arguments name."""
    explained(
        given.bundle,
        given.source,
        given.adapter,
        given.out,
        steps=given.steps,
        batch=given.batch,
        governor=given.governor,
        threads=given.threads,
        limit=given.limit,
    )


def explained(
    bundle: str,
    source: str,
    adapter: str = "nhl",
    out: str = "explained",
    *,
    steps: int = 1,
    batch: int = 16,
    governor: Mode = "auto",
    threads: int = 1,
    limit: int | None = None,
    terminal: Terminal | None = None,
) -> Watched:
    """Run, print what the last steps came from, and write JSON, a page and pictures.

    Args:
        bundle: path of a bundle that was exported with ``--explain``.
        source: URI as for ``tta run``.
        adapter: ``name?option=value``.
        out: folder for the files; it is made where it is absent.
        steps: how many of the last steps are explained.
        batch: frames a step.
        governor: ``auto``, ``always`` or ``off``.
        threads: inference threads.
        limit: frames at most.
        terminal: where to print.

    Raises:
        TtaError: the folder cannot be written (nothing has run then), or the stream came to no step.
    """
    said = terminal or Terminal()
    folder = writable(out)
    opened = Bundle(bundle)
    watched = watch(
        opened,
        open_source(source),
        adapter,
        keep=steps,
        batch=batch,
        governor=governor,
        threads=threads,
        limit=limit,
    )
    about: dict[str, Any] = {
        "bundle": opened.manifest.name,
        "hash": opened.hash,
        "adapter": adapter,
        "source": redact(source),
    }
    notes = _notes(watched)
    rows = [
        (f"{part}: {layer}", f"{100 * share:.1f} %", f"{change:.2g}")
        for part, layer, share, change in sorted(by_layer(watched.steps), key=lambda r: -r[2])
    ]
    title = f"the last {len(watched.steps)} of {watched.stream.current.step} steps, by layer"
    said.table(title, ("layer", "share of the part", "change"), rows[:SHOWN])
    if len(rows) > SHOWN:
        said.say(f"and {len(rows) - SHOWN} more layers")
    for note in notes:
        said.say(note)
    for path in write(folder, watched, about, notes):
        said.say(str(path))
    return watched


def _notes(watched: Watched) -> list[str]:
    """Sentences about the steps as a whole."""
    steps = [e for _, e in watched.steps]
    notes = []
    for name in dict.fromkeys(n for e in steps for n in e.parts):
        place = np.mean([e.parts[name].place for e in steps if name in e.parts], axis=0)
        at = ", ".join(f"{100 * s:.0f} %" for s in hottest(place))
        axes = "down and right" if place.ndim == 2 else "of the window's time"
        notes.append(
            f"{name}: hottest at {at} ({axes}); half of the heat in {100 * half(place):.0f} % of the "
            f"{'picture' if place.ndim == 2 else 'window'} (50 % where it is even)"
        )
    if not any(e.layers for e in steps):
        notes.append("these steps changed nothing that has a map, such as the scale of a norm")
    elif not any(e.parts for e in steps):
        notes.append(
            "no layer that was changed has places: they lie behind pooling, or the input has none"
        )
    elif all(e.without_gradient for e in steps):
        notes.append("no gradient is in it: these changes come from activity and statistics alone")
    known = watched.stream.model.calibration
    if any("statistics" in e.parts for e in steps) and not any(
        name.startswith("explain.") for name in known
    ):
        notes.append(
            "the statistics' heat holds what source frames add as well, most where layers pad at borders: "
            "export with --samples, and it is taken off"
        )
    undone = sum(
        made.decision is not None and made.decision.action != "commit" for made, _ in watched.steps
    )
    if undone:
        notes.append(f"{undone} of these {len(steps)} steps were not committed: see their reasons")
    return notes


__all__ = ["explain_command", "explained"]

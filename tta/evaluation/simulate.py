"""``tta simulate``: a shifting stream through the frozen and the adapted model, with pictures and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation import chart
from tta.evaluation.page import write_page
from tta.evaluation.record import Recording, write_rows
from tta.evaluation.side_by_side import side_by_side
from tta.evaluation.summary import COLUMNS, MEANING, NARROW, Summary, summarise, table, to_json
from tta.evaluation.timeline import timeline, verdict
from tta.governor import Mode
from tta.runtime.folder import writable as writable_folder
from tta.runtime.redaction import redact
from tta.runtime.source_uri import open_source
from tta.terminal import Terminal, plain_table

FILES = ("timeline.png", "timeline.html", "frames.jsonl", "summary.json")


def simulate(
    bundle: str,
    source: str,
    adapter: str = "auto",
    out: str | None = None,
    *,
    batch: int = 16,
    buffer: str = "auto",
    governor: Mode = "auto",
    threads: int = 1,
    window: int | None = None,
    limit: int | None = None,
    terminal: Terminal | None = None,
) -> Summary:
    """Run, print the table, and write the four ``FILES`` where ``out`` names a folder.

    Args:
        bundle: path of a classifier's bundle.
        source: URI, ``sim://...`` by custom; labels are used for figures only.
        adapter: ``name?option=value``, or ``auto``.
        out: folder for the files; it is made where it is absent.
        batch: frames an adaptation step.
        buffer: which frames a step is on: ``name?option=value``, or ``auto``.
        governor: ``auto``, ``always`` or ``off``.
        threads: inference threads.
        window: frames behind each point of the loss curve.
        limit: frames at most.
        terminal: where to print.

    Raises:
        MissingExtraError: pictures are asked for, and matplotlib is not installed.
        TtaError: the folder cannot be written; nothing has run then.
    """
    terminal = terminal or Terminal()
    folder = None if out is None else writable(out)
    opened = open_source(source)
    if getattr(opened, "live", False):
        raise TtaError(
            f"a simulation ends, but {redact(source)} is live: record it first, or use tta run"
        )
    total = _length(opened, limit)
    with terminal.progress(["frames"], total) as advance:
        recording = side_by_side(
            Bundle(bundle),
            opened,
            adapter,
            batch=batch,
            buffer=buffer,
            governor=governor,
            threads=threads,
            limit=limit,
            progress=lambda frames: advance(0, frames, ""),
            about={"source": redact(source)},
        )
    summary = report(recording, terminal)
    if folder is not None:
        save(folder, recording, summary, window)
        terminal.say(f"{folder}: {', '.join(FILES)}")
    return summary


def report(recording: Recording, terminal: Terminal) -> Summary:
    """Print what a recording shows."""
    summary = summarise(recording)
    title = f"{recording.about['model']}, frozen against {recording.about.get('adapter')}"
    if summary.measure == "error":
        title += ": error against labels, which the models never see"
    else:
        terminal.say(f"no labels, so no error: below is the {MEANING[summary.measure]}")
    rows = [tuple(row[k] for k in NARROW) for row in table(summary)]
    terminal.say(plain_table(title, [COLUMNS[k] for k in NARROW], rows))
    terminal.say(f"gain in points; found after so many {summary.unit}s")
    terminal.say(verdict(summary))
    counts = recording.counts
    terminal.say(
        f"{counts['commits']} commits, {counts['holds']} holds, {counts['resets']} returns to the source, "
        f"{counts['rollbacks']} rolled back; {counts['skipped']} frames skipped"
    )
    return summary


def writable(out: str | Path) -> Path:
    """The folder, made and proved writable, and matplotlib proved installed, before anything runs.

    Raises:
        TtaError: it cannot be made or written.
        MissingExtraError: matplotlib is not installed.
    """
    chart.need()
    return writable_folder(out, "pictures")


def save(
    folder: Path, recording: Recording, summary: Summary, window: int | None = None
) -> Sequence[Path]:
    """Write the four files."""
    view = timeline(recording, summary, window)
    paths = [folder / name for name in FILES]
    chart.write_chart(paths[0], view)
    write_page(paths[1], recording, summary, view)
    write_rows(paths[2], recording)
    text = json.dumps(to_json(recording, summary), indent=2, allow_nan=False, ensure_ascii=False)
    paths[3].write_text(text + "\n", encoding="utf-8")
    return paths


def _length(source: Any, limit: int | None) -> int:
    """Frames to come, 0 where nobody knows."""
    try:
        known = len(source)
    except TypeError:
        known = 0
    return min(known, limit) if limit and known else limit or known


__all__ = ["FILES", "report", "save", "simulate", "writable"]

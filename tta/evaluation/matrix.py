"""``tta evaluate``: methods under protocols, with tables and honest intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tta import registry
from tta.bundle import Bundle
from tta.errors import BundleError, TtaError
from tta.evaluation.lines import HURTS, Line
from tta.evaluation.protocols import names
from tta.evaluation.report import report
from tta.evaluation.serving import Serve
from tta.evaluation.sweep import SMOKE, Sweep, check, damaged, run
from tta.evaluation.tables import to_json
from tta.evaluation.task_table import task_table
from tta.evaluation.unfit import fitting
from tta.governor import Mode
from tta.runtime.method import check_needs, make_adapter
from tta.terminal import Terminal

TIERS = {"smoke": SMOKE, "full": None}
COLUMNS = (
    "method", "protocol", "batch", "images", "frozen %", "error %", "gain", "95 %", "worst visit",
    "ms a frame",
)  # fmt: skip


def matrix(
    bundle: str,
    data: str,
    *,
    adapters: str | None = None,
    protocols: str = "reset",
    batches: str = "200",
    seeds: str = "0",
    corruptions: str = "all",
    severity: int = 5,
    tier: str = "smoke",
    limit: int | None = None,
    post: bool = False,
    serve: Serve = "batch",
    governor: Mode = "always",
    buffer: str = "auto",
    skip_unfit: bool = False,
    keep_probabilities: bool = False,
    out: str = "evaluation",
    jobs: int = 1,
    backend: str | None = None,
    as_json: str | None = None,
    terminal: Terminal | None = None,
) -> list[Line]:
    """Run what is missing of a sweep and print its table.

    Lists are joined by commas; ``protocols`` and ``adapters`` may be ``all``. ``tier`` smoke takes 2,000
    items of the data and a part of them where a protocol shows them many times over, full all of them;
    ``limit`` says another number of items. All is checked before the first frame: what cannot run refuses
    the whole sweep, or with ``skip_unfit`` is left out, listed, and kept in ``refused.json``.

    Raises:
        TtaError: something does not fit; nothing has run then.
    """
    terminal = terminal or Terminal()
    if tier not in TIERS:
        raise TtaError(f"tier is {' or '.join(TIERS)}, but is {tier!r}")
    if as_json:
        _check_target(Path(as_json).expanduser())
    every = tuple(registry.names("tta.adapters"))
    opened = Bundle(bundle)
    if opened.manifest.task != "classify":
        if post or keep_probabilities or skip_unfit or jobs != 1 or backend:
            raise TtaError(
                "--post, --keep-probabilities, --skip-unfit, --jobs and --backend are for classifiers, "
                f"but the task of {opened.manifest.name} is {opened.manifest.task}: leave them out"
            )
        task_table(
            opened,
            data,
            adapters=_suiting(opened, every)
            if adapters == "all"
            else _words(adapters or "bn_stats,actmad", "adapter"),
            protocols=_words(protocols, "protocol"),
            batches=_numbers(batches, "batch", 1),
            seeds=_numbers(seeds, "seed", 0),
            corruptions=corruptions,
            severity=severity,
            limit=limit or TIERS[tier],
            brief=tier == "smoke",
            serve=serve,
            governor=governor,
            buffer=buffer,
            out=out,
            as_json=as_json,
            terminal=terminal,
        )
        return []
    sweep = Sweep(
        bundle,
        data,
        every if adapters == "all" else _words(adapters or "bn_stats,tent,nhl", "adapter"),
        tuple(names()) if protocols == "all" else _words(protocols, "protocol"),
        _numbers(seeds, "seed", 0),
        _numbers(batches, "batch", 1),
        corruptions,
        severity,
        limit or TIERS[tier],
        post,
        serve,
        governor,
        tier == "smoke",
        keep_probabilities,
        buffer=buffer,
    )
    folder = Path(out).expanduser()
    if skip_unfit:
        sweep, refused = fitting(sweep)
    material = check(sweep, folder)
    if skip_unfit:
        for each in refused:
            terminal.say(str(each))
        text = json.dumps([each.as_dict() for each in refused], indent=1)
        (folder / "refused.json").write_text(text + "\n", encoding="utf-8")
    for path in (broken := damaged(sweep, folder)):
        terminal.say(f"{path} or its .npz is damaged: this cell is made again")
    cells = sweep.cells()
    with terminal.progress(["cells"], len(cells)) as advance:
        done = sum((folder / f"{cell.key}.json").exists() for cell in cells)
        advance(0, done - len(broken), "")
        for cell in run(sweep, folder, material, jobs, backend):
            advance(0, 1, f"{cell.adapter}, {cell.protocol}")
    found = report(folder, material)
    model = material.bundle.manifest.name
    title = f"{model} on {data}: gain in points of error, below zero it hurts"
    terminal.table(title, COLUMNS, [_row(line) for line in found])
    terminal.say(f"{folder}: results.md with plots, *.csv, and a .json and .npz a cell")
    if as_json:
        Path(as_json).expanduser().write_text(to_json(found), encoding="utf-8")
    return found


def _suiting(bundle: Bundle, names: Sequence[str]) -> tuple[str, ...]:
    """Methods that suit the task of a bundle, and whose graphs it has."""
    found = []
    for name in names:
        try:
            check_needs(make_adapter(name), bundle)
        except BundleError:
            continue
        found.append(name)
    return tuple(found)


def _check_target(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise TtaError(
            f"--json {path} cannot be written: it must be a file in a folder that exists, and "
            f"{path if path.is_dir() else path.parent} is {'a' if path.is_dir() else 'no'} folder"
        )


def _row(line: Line) -> tuple[str, ...]:
    span = "" if line.gain.low is None else f"{line.gain.low:+.1f} to {line.gain.high:+.1f}"
    return (
        ("▼ " if line.verdict == HURTS else "") + line.method,
        line.protocol,
        str(line.batch),
        f"{line.images:,}",
        f"{line.frozen_error:.1f}",
        f"{line.error:.1f}",
        f"{line.gain.mean:+.1f}",
        span,
        f"{line.worst[0]:+.1f} {line.worst[1]}",
        f"{line.ms_per_frame:.2f}",
    )


def _words(text: str, what: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise TtaError(f"no {what} is named: write --{what} NAME, or several joined by commas")
    return words


def _numbers(text: str, what: str, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in _words(text, what))
    except ValueError as error:
        raise TtaError(
            f"--{what} takes whole numbers joined by commas, but got {text!r}"
        ) from error
    if min(numbers) < least:
        raise TtaError(f"--{what} is at least {least}, but got {min(numbers)}")
    return numbers


__all__ = ["TIERS", "matrix"]

"""The report of a results folder: tables, plots, what was broken, and what the labels are worth.

It is made from the files of the folder alone; where the data are at hand too, pictures and the source model's
probabilities are added to those files first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from tta.evaluation.broken import BrokenAnswer, broken_answers, broken_text, first, write_broken
from tta.evaluation.label_report import Audited, audited, labels_text, write_labels
from tta.evaluation.lines import HURTS, Line, lines
from tta.evaluation.material import Material
from tta.evaluation.plots import pens
from tta.evaluation.plots.batches import batches
from tta.evaluation.plots.classes import classes
from tta.evaluation.plots.contact_sheet import contact_sheet
from tta.evaluation.plots.gain_heat import gain_heat
from tta.evaluation.plots.reliability_diagram import reliability_diagram
from tta.evaluation.plots.visits import visits
from tta.evaluation.results import Group, read
from tta.evaluation.source_answers import source_answers
from tta.evaluation.tables import table, where_it_hurts, write_tables
from tta.evaluation.thumbnails import Shot, Thumbnails
from tta.terminal import Terminal

SUSPECTS = 24  # on the contact sheet of labels


def report(folder: Path, material: Material | None = None) -> list[Line]:
    """Write ``results.md``, the CSV files and ``plots/``; returns the lines of the table.

    Args:
        folder: of ``tta evaluate``.
        material: its data and source model, where they are at hand.

    Raises:
        TtaError: the folder holds no results.
    """
    groups = read(folder)
    found = lines(groups)
    write_tables(folder, groups, found)
    answers = source_answers(folder, material)
    audit = audited(answers) if answers is not None else None
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    name: Callable[[int], str] = answers.name if answers is not None else str
    pictures = Thumbnails(folder, material)
    broken = _broken(folder, groups, found, pictures, name)
    suspects = _suspects(folder, audit, pictures)
    pictures.save([*(each.shot for each in broken[1]), *suspects])
    drawn = draw(plots, groups, found, answers.names if answers is not None else ())
    text = [
        _head(groups, found),
        "## Where it hurts\n",
        where_it_hurts(found),
        "## All cells\n",
        _explained(found),
        table(found),
        _refused(folder),
        "## Plots\n",
        drawn,
        "## What was broken\n",
        broken_text(found, broken[0], len(broken[1])),
        "## What the labels are worth\n",
        labels_text(groups, audit, len(suspects))
        if audit is not None
        else "The source model's probabilities are not in this folder: run the same `tta evaluate` again, "
        "which adds them and repeats nothing (with `--keep-probabilities` where they are over 16 MiB).\n",
    ]
    (folder / "results.md").write_text("\n".join(part for part in text if part), encoding="utf-8")
    return found


def report_command(folder: str) -> None:
    """``tta report``: make the report again, and say what it says in short."""
    path = Path(folder).expanduser()
    found = report(path)
    terminal = Terminal()
    terminal.say(where_it_hurts(found).rstrip().replace("**", "").replace("`", ""))
    terminal.say(f"{path / 'results.md'}: {len(found)} cells, with plots and *.csv")


def draw(folder: Path, groups: Sequence[Group], found: Sequence[Line], names: Sequence[str]) -> str:
    """Write all plots into a folder; returns the Markdown that shows them."""
    pen = pens([group.method for group in groups])
    text = []
    if any(line.adapter != "none" for line in found):
        text.append(_put(folder, "gain", gain_heat(found), "Gain by method and protocol"))
    alone = len({group.batch for group in groups}) == 1
    for protocol, own in groupby(groups, lambda group: group.protocol):
        shown = []
        mine = [line for line in found if line.protocol == protocol]
        if len({line.batch for line in mine if line.adapter != "none"}) > 1:
            shown.append(
                _put(folder, f"batches-{protocol}", batches(mine, pen), "Gain by batch size")
            )
        by_batch = sorted(own, key=lambda group: group.batch)
        for batch, each in groupby(by_batch, lambda group: group.batch):
            some = list(each)
            end = protocol if alone else f"{protocol}-{batch}"
            if len(some[0].visits()) > 1:
                shown.append(_put(folder, f"visits-{end}", visits(some, pen), "Error by visit"))
            shown.append(_put(folder, f"classes-{end}", classes(some, names), "Error by class"))
            shown.append(
                _put(folder, f"reliability-{end}", reliability_diagram(some), "Reliability")
            )
        text.append(f"### {protocol}\n\n" + "\n".join(shown))
    return "\n".join(text)


def _put(folder: Path, name: str, svg: str, said: str) -> str:
    file = re.sub(r"[^A-Za-z0-9.-]+", "_", name) + ".svg"
    (folder / file).write_text(svg, encoding="utf-8")
    return f"![{said}]({folder.name}/{file})\n"


def _head(groups: Sequence[Group], found: Sequence[Line]) -> str:
    row = groups[0].rows[0]
    model, data = row.get("model", "a model"), row.get("data", "data")
    machines = sorted({str(r["machine"]) for g in groups for r in g.rows[:1] if "machine" in r})
    hurt = sum(line.verdict == HURTS for line in found)
    said = (
        f"{len(found)} cells (method, protocol, batch), {hurt} of which are worse than the source model. "
        f"Bundle {str(row.get('bundle', '?'))[:12]}, data {str(row.get('data_hash', '?'))[:12]}"
    )
    if "governor" in row:
        said += f"; served {row['serve']}, governor {row['governor']}"
    return f"# {model} on {data}\n\n{said}{'; ' + ', '.join(machines) if machines else ''}.\n"


def _refused(folder: Path) -> str:
    """Markdown: what of the sweep could not run."""
    path = folder / "refused.json"
    if not path.exists():
        return ""
    lines = [
        f"- {each['protocol'] or each['adapter']}"
        + (f" at batch {each['batch']}" if each["batch"] is not None else "")
        + f": {each['reason']}"
        for each in json.loads(path.read_text(encoding="utf-8"))
    ]
    return "## What could not run\n\n" + "\n".join(lines) + "\n" if lines else ""


def _explained(found: Sequence[Line]) -> str:
    over = sorted({line.over for line in found})
    return (
        "Gain is the source model's error less the method's on the same frames; below zero the method hurts. "
        f"Intervals are 95 %, over {' or '.join(over)}; p is McNemar's, over clips where there are any, else "
        "over images with all their appearances, with Holm's correction over this whole table; the verdict "
        "is at 5 %. ECE is over all frames of a cell, in 15 bins. Frames of no known class count nowhere.\n"
    )


def _broken(
    folder: Path,
    groups: Sequence[Group],
    found: Sequence[Line],
    pictures: Thumbnails,
    name: Callable[[int], str],
) -> tuple[int, list[BrokenAnswer]]:
    """Write the list and the contact sheet; returns how many are listed, and those that are shown."""
    pairs = [(line, broken_answers(group)) for line, group in zip(found, groups)]
    rows = write_broken(folder / "broken.csv", [answers for _, answers in pairs], name)
    order = sorted(pairs, key=lambda pair: (pair[0].verdict != HURTS, pair[0].gain.mean))
    shown = first([answers for _, answers in order if answers])
    cards = [
        (
            pictures.get(each.shot),
            (
                f"{name(each.label)} → {name(each.adapted)}",
                f"{each.method}, {100 * each.confidence:.0f} % sure",
                f"{each.shot.protocol}: {each.visit}",
                f"item {each.shot.item}",
            ),
        )
        for each in shown
    ]
    if cards:
        title = "Right by the source model, wrong once adapted"
        sheet = contact_sheet(title, cards)
        (folder / "plots" / "broken.svg").write_text(sheet, encoding="utf-8")
    return rows, shown


def _suspects(folder: Path, found: Audited | None, pictures: Thumbnails) -> list[Shot]:
    """Write the list of suspicious labels and its contact sheet; returns what is shown."""
    if found is None:
        return []
    answers, audit = found.answers, found.audit
    write_labels(folder / "labels.csv", found)
    shots = [Shot(item) for item in found.suspects[:SUSPECTS]]
    cards = []
    for shot, k in zip(shots, audit.suspects.tolist()):
        given, likely = int(answers.labels[k]), int(audit.suggested[k])
        sure = answers.probabilities[k]
        words = (
            f"given: {answers.name(given)}",
            f"likely: {answers.name(likely)}",
            f"{100 * sure[given]:.0f} % against {100 * sure[likely]:.0f} %",
            f"item {shot.item}",
        )
        cards.append((pictures.get(shot), words))
    if cards:
        sheet = contact_sheet("Labels that are likely wrong, the surest first", cards)
        (folder / "plots" / "labels.svg").write_text(sheet, encoding="utf-8")
    return shots


__all__ = ["draw", "report", "report_command"]

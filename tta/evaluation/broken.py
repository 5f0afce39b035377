"""Images that a method broke: right by the source model, wrong once adapted."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tta.evaluation.lines import Line
from tta.evaluation.results import Group
from tta.evaluation.thumbnails import Shot

LISTED = 1000  # answers a method and protocol in the file, the surest wrong ones first
SHOWN = 24  # on the contact sheet


@dataclass(frozen=True, slots=True)
class BrokenAnswer:
    """One answer that adaptation made wrong.

    Attributes:
        visit: name of the visit; ``shot`` has its number.
        confidence: of the wrong answer.
    """

    method: str
    batch: int
    visit: str
    shot: Shot
    label: int
    frozen: int
    adapted: int
    confidence: float


def broken_answers(group: Group) -> list[BrokenAnswer]:
    """At most a thousand of a group, the surest first."""
    images = group.images
    places = np.flatnonzero(group.right("frozen") & ~group.right())
    sure = images["pre_confidence"][places]
    places = places[np.argsort(-sure, kind="stable")[:LISTED]]
    names = [row["visit"] for row in max((c.rows for c in group.cells), key=len)]
    return [
        BrokenAnswer(
            group.method,
            group.batch,
            str(names[int(images["visit"][k])]),
            Shot(
                int(images["item"][k]),
                group.protocol,
                int(images["seed"][k]),
                int(images["visit"][k]),
                int(images["place"][k]),
            ),
            int(images["label"][k]),
            int(images["frozen"][k]),
            int(images["pre"][k]),
            float(images["pre_confidence"][k]),
        )
        for k in places
    ]


def first(lists: Sequence[Sequence[BrokenAnswer]], most: int = SHOWN) -> list[BrokenAnswer]:
    """Some to look at: from each list in turn, no item twice."""
    found: dict[int, BrokenAnswer] = {}
    for turn in zip_longest(*lists):
        for each in turn:
            if each is not None and len(found) < most:
                found.setdefault(each.shot.item, each)
    return list(found.values())


def write_broken(
    path: Path, lists: Sequence[Sequence[BrokenAnswer]], name: Callable[[int], str]
) -> int:
    """Write ``broken.csv``; returns its number of rows."""
    columns = (
        "protocol", "method", "batch", "seed", "visit", "place", "item", "label", "frozen", "adapted",
        "confidence", "label_name", "adapted_name",
    )  # fmt: skip
    rows = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for each in (answer for answers in lists for answer in answers):
            s = each.shot
            writer.writerow(
                (s.protocol, each.method, each.batch, s.seed, each.visit, s.place, s.item, each.label,
                 each.frozen, each.adapted, f"{each.confidence:.4f}", name(each.label), name(each.adapted))
            )  # fmt: skip
            rows += 1
    return rows


def broken_text(found: Sequence[Line], rows: int, shown: int) -> str:
    """Markdown: how many answers each method broke and repaired."""
    lines = [line for line in found if line.adapter != "none"]
    text = [
        "An answer is broken where the source model is right and the adapted one is wrong. "
        f"[broken.csv](broken.csv) lists {rows:,} of them, at most {LISTED:,} a method and protocol, the "
        "surest wrong ones first.\n",
        "| protocol | method | batch | broken | repaired | broken for each repaired |",
        "|---|---|---|---|---|---|",
    ]
    for x in lines:
        rate = f"{x.broken / x.repaired:.2f}" if x.repaired else "none repaired" if x.broken else ""
        text.append(
            f"| {x.protocol} | {x.method} | {x.batch} | {x.broken:,} | {x.repaired:,} | {rate} |"
        )
    if shown:
        text.append("\n![Images that were broken](plots/broken.svg)")
    return "\n".join(text) + "\n"


__all__ = [
    "LISTED",
    "SHOWN",
    "BrokenAnswer",
    "broken_answers",
    "broken_text",
    "first",
    "write_broken",
]

"""What likely wrong labels mean for the results: gains without them, and when two methods change places."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from tta.errors import TtaError
from tta.evaluation.label_audit import LabelAudit, audit_labels, flips_at, gains
from tta.evaluation.results import Group
from tta.evaluation.source_answers import SourceAnswers
from tta.records import Array


@dataclass(frozen=True, slots=True)
class Ranking:
    """The two best methods under a protocol, and what wrong labels would do to their order.

    Attributes:
        first, second: methods by their error on all labelled frames.
        errors: theirs in percent.
        kept_errors: on frames whose label is not suspicious.
        flips: share of wrong labels from which on the second is better; None for never.
    """

    protocol: str
    batch: int
    first: str
    second: str
    errors: tuple[float, float]
    kept_errors: tuple[float, float]
    flips: float | None


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit, and what it is of."""

    answers: SourceAnswers
    audit: LabelAudit

    @property
    def suspects(self) -> list[int]:
        """Numbers in the data of the items whose label is suspicious, the surest first."""
        found: list[int] = self.answers.items[self.audit.suspects].tolist()
        return found

    def kept(self, items: Array) -> Array:
        """``(n,)`` bool: the label of an item is not suspicious."""
        found: Array = self.audit.kept[self.places(items)]
        return found

    def likely(self, items: Array) -> Array:
        """``(n,)`` class that each item confidently is, -1 where none is."""
        found: Array = self.audit.suggested[self.places(items)]
        return found

    def places(self, items: Array) -> Array:
        """Where items stand among those that were audited."""
        return np.searchsorted(self.answers.items, items)


def audited(answers: SourceAnswers) -> Audited | None:
    """The audit; None where there is one class alone."""
    if answers.probabilities.shape[1] < 2:
        return None
    return Audited(answers, audit_labels(answers.probabilities, answers.labels))


def rankings(groups: Sequence[Group], audit: Audited) -> list[Ranking]:
    """One for each protocol and batch under which two methods ran, the source model not among them."""
    found = []
    key = lambda group: (group.protocol, group.batch)  # noqa: E731
    for (protocol, batch), each in groupby(sorted(groups, key=key), key):
        methods = [group for group in each if group.adapter != "none"]
        if len(methods) < 2:
            continue
        best = sorted(methods, key=lambda group: float((~group.right()).mean()))[:2]
        clean, corrected, errors = [], [], []
        for group in best:
            item, answer = group.images["item"], group.images["pre"]
            kept = audit.kept(item)
            if not kept.any():
                break
            clean.append(float(group.right()[kept].mean()))
            wrong = ~kept
            likely = answer[wrong] == audit.likely(item[wrong])
            corrected.append(float(likely.mean()) if wrong.any() else 0.0)
            errors.append(100 * float((~group.right()).mean()))
        if len(clean) < 2:
            continue
        found.append(
            Ranking(
                protocol,
                batch,
                best[0].method,
                best[1].method,
                (errors[0], errors[1]),
                (100 * (1 - clean[0]), 100 * (1 - clean[1])),
                flips_at((clean[0], clean[1]), (corrected[0], corrected[1]))
                if len(audit.suspects)
                else None,
            )
        )
    return found


def write_labels(path: Path, found: Audited) -> None:
    """``labels.csv``: the suspicious labels, the surest first."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("item", "given", "likely", "self_confidence", "margin", "given_name", "likely_name")
        )
        answers, audit = found.answers, found.audit
        for item, k in zip(found.suspects, audit.suspects.tolist()):
            given, likely = int(answers.labels[k]), int(audit.suggested[k])
            sure = float(answers.probabilities[k, given])
            names = answers.name(given), answers.name(likely)
            margin = float(audit.margin[k])
            writer.writerow((item, given, likely, f"{sure:.4f}", f"{margin:.4f}", *names))


def labels_text(groups: Sequence[Group], audit: Audited, shown: int) -> str:
    """Markdown: the audit, the gains on all and on kept labels, and the rankings."""
    n, count, noise = len(audit.answers.items), len(audit.suspects), audit.audit.noise
    text = [
        f"Confident learning finds {count:,} suspicious labels among {n:,} ({100 * count / n:.1f} %) from "
        "the source model's probabilities on the unchanged data, and estimates that "
        f"{100 * noise:.1f} % are wrong. Where the model is weak these are its own errors as well: "
        "look at them before you believe it ([labels.csv](labels.csv), the surest first).\n"
    ]
    if shown:
        text.append("![Suspicious labels](plots/labels.svg)\n")
    text += [
        "| protocol | method | batch | gain, all labels | gain, kept labels |",
        "|---|---|---|---|---|",
    ]
    for group in groups:
        if group.adapter == "none":
            continue
        images = group.images
        try:
            both = gains(
                images["frozen"], images["pre"], images["label"], audit.kept(images["item"])
            )
        except TtaError:  # every frame that it met is suspicious
            continue
        text.append(
            f"| {group.protocol} | {group.method} | {group.batch} | {both[0]:+.2f} | {both[1]:+.2f} |"
        )
    if found := rankings(groups, audit):
        text += [
            "\nThe two best methods, and from which share of wrong labels on they change places. Accuracy on "
            "suspicious labels is against the likely class, which the source model chose, so it leans "
            "towards methods that stay near the source.\n",
            "| protocol | batch | best | second | errors % | on kept labels % | change places at |",
            "|---|---|---|---|---|---|---|",
        ]
    for x in found:
        tied = x.kept_errors[0] == x.kept_errors[1]
        when = (
            ("tied" if tied else "never")
            if x.flips is None
            else f"{100 * x.flips:.1f} % wrong labels"
        )
        if x.flips is not None and x.flips <= noise:
            when += " (fewer than estimated here: the order is open)"
        text.append(
            f"| {x.protocol} | {x.batch} | {x.first} | {x.second} | {x.errors[0]:.2f}, {x.errors[1]:.2f} | "
            f"{x.kept_errors[0]:.2f}, {x.kept_errors[1]:.2f} | {when} |"
        )
    return "\n".join(text) + "\n"


__all__ = ["Audited", "Ranking", "audited", "labels_text", "rankings", "write_labels"]

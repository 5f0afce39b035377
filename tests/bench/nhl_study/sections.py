"""The tables of the page, each of them a function of the cells that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from tests.bench.nhl_study import plan
from tests.bench.nhl_study.cells import Cell, Result
from tests.bench.nhl_study.figures import (
    Side,
    by_visit,
    compare,
    errors,
    results,
    said,
    spread,
    table,
)
from tta.evaluation.paired import Difference

ROWS = [row.label for row in [*plan.compared(0), *plan.further(0)]]
PUBLISHED = {  # WRN-28-10 on CIFAR-10-C, severity 5, batch 200, reset: README of the authors of Tent
    "source": (72.3, 65.7, 72.9, 46.9, 54.3, 34.8, 42.0, 25.1, 41.3, 26.0, 9.3, 46.7, 26.6, 58.5, 30.3),
    "BN": (28.1, 26.1, 36.3, 12.8, 35.3, 14.2, 12.1, 17.3, 17.4, 15.3, 8.4, 12.6, 23.8, 19.7, 27.3),
    "Tent": (24.8, 23.5, 33.0, 12.0, 31.8, 13.7, 10.8, 15.9, 16.2, 13.7, 7.9, 12.1, 22.0, 17.3, 24.2),
}  # fmt: skip


def side(protocol: str, label: str, which: str = "pre") -> Side:
    """A row of the ablation."""

    def cell(seed: int) -> Cell:
        rows = {row.label: row for row in [*plan.compared(seed), *plan.further(seed)]}
        return plan.ablation(rows[label], protocol, seed)

    return Side(label, cell, which)


def _fixed(
    pairs: Callable[[int], Sequence[tuple[plan.Row, Cell]]], label: str
) -> Callable[[int], Cell]:
    return lambda seed: next(cell for row, cell in pairs(seed) if row.label == label)


def one(label: str, cell: Cell, which: str = "pre") -> Side:
    """A method that was run with one seed."""
    return Side(label, lambda seed: cell, which)


def finals(search: plan.Search) -> dict[str, Side]:
    """The methods of the held-out half."""
    sides = {}
    for pairs in (partial(plan.final, search), partial(plan.final_sham, search)):
        for row, _ in pairs(0):
            sides[row.label] = Side(row.label, _fixed(pairs, row.label))
    return sides


def watch_sides(protocol: str) -> dict[str, dict[str, Side]]:
    """The methods on the smartwatch, by split."""
    found: dict[str, dict[str, Side]] = {}
    for split in plan.SPLITS:
        pairs = partial(plan.watch, split, protocol)
        found[split] = {r.label: Side(r.label, _fixed(pairs, r.label)) for r, _ in pairs(0)}
    return found


def gap_by_corruption(ask: plan.Ask, base: str, method: str, protocol: str) -> dict[str, float]:
    """Points that a method is better than another, by corruption, mean over the seeds that both have."""
    a, b = (results(ask, side(protocol, label), plan.SEEDS) for label in (base, method))
    both = [seed for seed in a if seed in b]
    gaps = [
        {k: v - by_visit(b[s], "pre")[k] for k, v in by_visit(a[s], "pre").items()} for s in both
    ]
    return {k: float(np.mean([g[k] for g in gaps])) for k in plan.CORRUPTIONS} if gaps else {}


def ablation(ask: plan.Ask, protocol: str) -> str:
    """Every row against bn_stats and tent."""
    bn, tent = (side(protocol, label) for label in ("bn_stats", "tent"))
    source = errors(ask, Side("source", bn.cell, "frozen"), plan.SEEDS[:1])
    rows = [["source", "", spread(source), "", "", ""]]
    for label in ROWS:
        mine, late = side(protocol, label), side(protocol, label, "post")
        pre, post = (errors(ask, s, plan.SEEDS) for s in (mine, late))
        gains = [
            "" if label == base.label else said(compare(ask, base, mine, plan.SEEDS))
            for base in (bn, tent)
        ]
        rows.append([label, str(len(pre)), spread(pre), *gains, spread(post) if post else ""])
    columns = ["method", "seeds", "error %", "over bn_stats", "over tent", "error % after, seed 0"]
    return table(columns, rows)


def doses(ask: plan.Ask) -> str:
    """Filters alone, by how far they turn."""
    bn = side("reset", "bn_stats")
    found: dict[float, list[str]] = {}
    for turn, eta, adapter in plan.doses():
        mine = one(turn, plan.ablation(plan.Row("", adapter), "reset", 0))
        error, gain = errors(ask, mine, (0,)), said(compare(ask, bn, mine, (0,)))
        found.setdefault(eta, []).append(f"{error[0]:.2f}, {gain}" if error else "not run")
    rows = [[f"{eta:g}", *texts] for eta, texts in found.items()]
    return table(["eta", "Hebb only", "sham, fresh", "sham, steady"], rows)


def trials(ask: plan.Ask, search: plan.Search) -> str:
    """Every trial, nhl's also against the best tent."""
    best = search.best.get("tent")
    tent = None if best is None else one("tent", plan.searched(best[1], best[0]))
    rows = []
    for t in search.trials:
        mine = one(t.what, plan.searched(t.adapter, t.bundle))
        error = "not run" if t.error is None else f"{t.error:.2f}"
        gain = said(compare(ask, tent, mine, (0,))) if tent and t.method == "nhl" else ""
        rows.append([t.method, t.what, f"`{t.bundle}`", f"`{t.adapter}`", error, gain])
    return table(["method", "tried", "bundle", "adapter", "error %", "over the best tent"], rows)


def held_out(ask: plan.Ask, search: plan.Search) -> str:
    """The other corruptions on all images."""
    sides = finals(search)
    base, tent = sides["bn_stats"], sides.get("tent, searched", sides["tent"])
    source = errors(ask, Side("source", base.cell, "frozen"), (0,))
    rows = [["source", "", "", spread(source), "", ""]]
    for label, mine in sides.items():
        values = errors(ask, mine, plan.SEEDS)
        gains = [
            "" if label == other.label else said(compare(ask, other, mine, plan.SEEDS))
            for other in (base, tent)
        ]
        cell = mine.cell(0)
        what = f"`{cell.adapter}` on `{cell.bundle}`"
        rows.append([label, what, str(len(values)), spread(values), *gains])
    columns = ["method", "adapter", "seeds", "error %", "over bn_stats", f"over {tent.label}"]
    return table(columns, rows)


def published(ask: plan.Ask) -> tuple[str, dict[str, float]]:
    """By corruption beside the published table, and our means."""
    found = {"source": results(ask, side("reset", "bn_stats"), (0,))}
    for label in ("bn_stats", "tent", "nhl, all"):
        found[label] = results(ask, side("reset", label), plan.SEEDS)
    ours = {
        label: [_mean(by_seed, label, corruption) for corruption in plan.CORRUPTIONS]
        for label, by_seed in found.items()
    }
    columns = [*PUBLISHED.values(), *ours.values()]
    rows = [[c, *(f"{v[k]:.1f}" for v in columns)] for k, c in enumerate(plan.CORRUPTIONS)]
    rows.append(["**mean**", *(f"{np.mean(v):.1f}" for v in columns)])
    names = [*(f"{k}, published" for k in PUBLISHED), *(f"{k}, ours" for k in ours)]
    return table(["corruption", *names], rows), {k: float(np.mean(v)) for k, v in ours.items()}


def _mean(by_seed: Mapping[int, Result], label: str, corruption: str) -> float:
    which = "frozen" if label == "source" else "pre"
    values = [by_visit(r, which)[corruption] for r in by_seed.values()]
    return float(np.mean(values)) if values else float("nan")


def photographs(ask: plan.Ask, model: str) -> str:
    """One of the ImageNet models."""
    sides = {row.label: one(row.label, cell) for row, cell in plan.photographs(model)}
    source = errors(ask, Side("source", sides["bn_stats"].cell, "frozen"), (0,))
    rows = [["source", spread(source), "", ""]]
    for label, mine in sides.items():
        gains = [
            "" if label == base else said(compare(ask, sides[base], mine, (0,)))
            for base in ("bn_stats", "tent")
        ]
        rows.append([label, spread(errors(ask, mine, (0,))), *gains])
    return table(["method", "error %", "over bn_stats", "over tent"], rows)


def smartwatch(ask: plan.Ask, protocol: str, seeds: Sequence[int]) -> str:
    """People and a wrist that were not trained on."""
    sides = watch_sides(protocol)
    labels = list(next(iter(sides.values())))
    frozen = [Side("source", sides[split]["bn_stats"].cell, "frozen") for split in plan.SPLITS]
    rows = [["source", *(spread(errors(ask, s, (0,))) for s in frozen), "", ""]]
    for label in labels:
        row = [label, *(spread(errors(ask, sides[split][label], seeds)) for split in plan.SPLITS)]
        for base in ("bn_stats", "tent"):
            known = [
                compare(ask, sides[split][base], sides[split][label], seeds)
                for split in plan.SPLITS
                if label != base
            ]
            row.append(", ".join(_starred(d) for d in known if d))
        rows.append(row)
    columns = ["method", *plan.SPLITS, "over bn_stats, by split", "over tent, by split"]
    return table(columns, rows)


def _starred(found: Difference) -> str:
    return f"{found.gain:+.1f}" + ("\\*" if found.low > 0 or found.high < 0 else "")


def clean(ask: plan.Ask) -> str:
    """What it costs where nothing is wrong."""
    rows = []
    for row, cell in plan.clean():
        found = ask(cell)
        if found is not None and not rows:
            rows.append(["source", f"{found.error('frozen'):.2f}"])
        rows.append([row.label, "not run" if found is None else f"{found.error():.2f}"])
    return table(["method", "error %"], rows)

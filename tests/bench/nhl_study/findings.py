"""What the figures say, in sentences; an interval that holds 0 shows no difference."""

from __future__ import annotations

from tests.bench.nhl_study import plan
from tests.bench.nhl_study.figures import Side, compare, errors, verdict
from tests.bench.nhl_study.sections import finals, gap_by_corruption, one, side, watch_sides
from tta.evaluation.paired import Difference

HEBBIAN = (  # the same method without the Hebbian change, or with a sham in its place
    ("tent", "nhl, all"),
    ("tent + sham, fresh", "nhl, all"),
    ("bn_stats", "Hebb only"),
    ("sham only, fresh", "Hebb only"),
)


def findings(ask: plan.Ask, search: plan.Search) -> list[str]:
    """One sentence a question."""
    lines = [_short(ask, search), *_identity(ask)]
    for question, base, method in (
        ("Does the Hebbian term add to tent?", "tent", "nhl, all"),
        ("Does it add more than a random turn as large?", "tent + sham, fresh", "nhl, all"),
        ("Without the entropy, does it add to batch statistics?", "bn_stats", "Hebb only"),
        ("More than a random turn?", "sham only, fresh", "Hebb only"),
        ("More than a random drift?", "sham only, steady", "Hebb only"),
        ("Is a modulator behind the first layer enough?", "nhl, all", "nhl, first"),
        ("Do anti-Hebbian losers help?", "nhl, all", "nhl, all, anti"),
    ):
        found = {
            p: compare(ask, side(p, base), side(p, method), plan.SEEDS) for p in plan.PROTOCOLS
        }
        lines.append(f"{question} {method} against {base}: {_both(found)}.")
    for label in ("tent", "nhl, all"):
        found = {
            p: compare(ask, side(p, label), side(p, label, "post"), plan.SEEDS[:1])
            for p in plan.PROTOCOLS
        }
        lines.append(
            f"Answers from after the update against those from before, {label}: {_both(found)}."
        )
    lines += _held_out(ask, search)
    lines += _where(ask)
    return lines


def _short(ask: plan.Ask, search: plan.Search) -> str:
    """How often a Hebbian change did better than the same method without it, or with a sham in its place."""
    pairs = [(side(p, base), side(p, method)) for p in plan.PROTOCOLS for base, method in HEBBIAN]
    held = finals(search)
    known = [b for b in ("tent, searched", *(k for k in held if "sham" in k)) if b in held]
    pairs += [(held[b], held["nhl, searched"]) for b in known if "nhl, searched" in held]
    for protocol in ("shuffled", "in time"):
        for sides in watch_sides(protocol).values():
            pairs += [(sides[b], sides[m]) for b, m in HEBBIAN if b in sides and m in sides]
    for model in plan.MODELS:
        sides = {row.label: one(row.label, cell) for row, cell in plan.photographs(model)}
        pairs += [(sides[b], sides[m]) for b, m in HEBBIAN if b in sides and m in sides]
    found = [d for base, method in pairs if (d := compare(ask, base, method, plan.SEEDS))]
    better, worse = sum(d.low > 0 for d in found), sum(d.high < 0 for d in found)
    return (
        f"In short: of {len(found)} comparisons of a Hebbian change with the same method without it, or with "
        f"a sham in its place, over all data here, {better} are better, {worse} are worse, and "
        f"{len(found) - better - worse} show no difference."
    )


def _both(found: dict[str, Difference | None]) -> str:
    return "; ".join(f"{protocol} {verdict(d)}" for protocol, d in found.items())


def _identity(ask: plan.Ask) -> list[str]:
    known = {p: plan.same(ask, p) for p in plan.PROTOCOLS}
    done = [p for p, same in known.items() if same]
    if not done:
        return ["nhl with eta = 0 against tent, bit for bit: not run."]
    return [
        "nhl with eta = 0 and all norms trained is tent bit for bit: every slot, output and gradient of "
        f"every step ({', '.join(done)}; the study stops where it is not so)."
    ]


def _held_out(ask: plan.Ask, search: plan.Search) -> list[str]:
    sides = finals(search)
    lines = []
    for base, method in (
        ("tent, searched", "nhl, searched"),
        ("tent", "nhl, searched"),
        ("bn_stats", "tent"),
        ("nhl, searched, sham fresh", "nhl, searched"),
        ("nhl, searched, sham steady", "nhl, searched"),
    ):
        if base in sides and method in sides:
            found = compare(ask, sides[base], sides[method], plan.SEEDS)
            lines.append(
                f"On the corruptions that the search had not seen, {plan.ALL:,} images, {method} against "
                f"{base}: {verdict(found)}."
            )
    return lines or ["Held-out half: not run."]


def _where(ask: plan.Ask) -> list[str]:
    lines = []
    gaps = gap_by_corruption(ask, "sham only, fresh", "Hebb only", "reset")
    if gaps:
        worst, best = min(gaps, key=lambda k: gaps[k]), max(gaps, key=lambda k: gaps[k])
        lines.append(
            f"By corruption, Hebb only against sham runs from {gaps[worst]:+.1f} points ({worst}) to "
            f"{gaps[best]:+.1f} ({best}) under reset."
        )
    for protocol in ("shuffled", "in time"):
        sides = watch_sides(protocol)
        pairs = (("bn_stats", "Hebb only"), ("sham only, fresh", "Hebb only"), ("tent", "nhl, all"))
        for base, method in pairs:
            worse, better, seen = list[str](), list[str](), 0
            for split in plan.SPLITS:
                found = compare(ask, sides[split][base], sides[split][method], plan.SEEDS)
                seen += found is not None
                if found is not None and found.high < 0:
                    worse.append(split)
                if found is not None and found.low > 0:
                    better.append(split)
            lines.append(
                f"Smartwatch, {protocol}, {method} against {base}, {seen} splits: better in "
                f"{', '.join(better) or 'none'}, worse in {', '.join(worse) or 'none'}."
            )
    frozen = [
        errors(ask, Side("", s.cell, which), (0,))
        for s in [watch_sides("in time")["watch-8-10"]["bn_stats"]]
        for which in ("frozen", "pre")
    ]
    if all(frozen):
        lines.append(
            "Windows in order of time, exercise by exercise, break every method that leans on batch "
            f"statistics: bn_stats goes from {frozen[0][0]:.1f} to {frozen[1][0]:.1f} % on people 8 to 10. "
            "No Hebbian term mends that."
        )
    return lines


__all__ = ["findings"]

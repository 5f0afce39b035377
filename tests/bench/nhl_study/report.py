"""docs/nhl_study.md and its plot, from the cells that are there."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from tests.bench.nhl_study import plan, sections
from tests.bench.nhl_study.cells import Cell, Laboratory, Result
from tests.bench.nhl_study.figures import compare, table
from tests.bench.nhl_study.findings import findings

PAGE = Path(__file__).with_name("page.md")


class Counting:
    """Asks for cells and remembers how many there are."""

    def __init__(self, ask: plan.Ask) -> None:
        self._ask, self.part = ask, ""
        self.parts: dict[str, dict[Cell, bool]] = {}

    def __call__(self, cell: Cell) -> Result | None:
        """The cell's result, if it is there."""
        found = self._ask(cell)
        self.parts.setdefault(self.part, {})[cell] = found is not None
        return found


def write(lab: Laboratory, docs: Path) -> None:
    """Write the page and the plot."""
    counting = Counting(lab)
    for part in plan.everything(counting):
        counting.part = part
    search = plan.Search(lab)
    docs.mkdir(exist_ok=True)
    drawn = plot(lab, docs / "nhl_study.png")
    text = Template(PAGE.read_text(encoding="utf-8")).substitute(
        findings="\n".join(f"- {line}" for line in findings(lab, search)) + "\n",
        picture="![Gain over bn_stats by method](nhl_study.png)\n" if drawn else "",
        **setting(lab, counting),
        **{protocol: sections.ablation(lab, protocol) for protocol in plan.PROTOCOLS},
        doses=sections.doses(lab),
        **_search(lab, search),
        **_published(lab),
        **{model: sections.photographs(lab, model) for model in plan.MODELS},
        shuffled=sections.smartwatch(lab, "shuffled", plan.SEEDS),
        in_time=sections.smartwatch(lab, "in time", plan.SEEDS[:1]),
        clean=sections.clean(lab),
    )
    (docs / "nhl_study.md").write_text(text, encoding="utf-8")
    print(f"{docs / 'nhl_study.md'}", flush=True)


def processor() -> str:
    """Name of the processor, and how many of them there are."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{found[1].strip() if found else platform.machine()}, {os.cpu_count()} cores"


def setting(lab: Laboratory, counting: Counting) -> dict[str, str]:
    """How it was run, with what, and how much of it."""
    names = ("resnet20", *plan.LAYERS, *plan.MODELS, *plan.SPLITS)
    bundles = [(name, made) for name in names if (made := lab.bundle(name)) is not None]
    versions = dict(bundles[0][1].manifest.provenance) if bundles else {}
    listed = [f"{k} {versions[k]}" for k in ("python", "onnxruntime", "torch") if k in versions]
    hashes = [
        [f"`{name}`", f"`{made.hash[:16]}`", _temperatures(made.manifest.defaults)]
        for name, made in bundles
    ]
    done = [
        [part, f"{sum(cells.values())} of {len(cells)}"] for part, cells in counting.parts.items()
    ]
    there = {c for cells in counting.parts.values() for c, known in cells.items() if known}
    hours = sum(found.seconds for c in there if (found := lab(c)) is not None) / 3600
    return {
        "machine": ", ".join([processor(), *listed, f"numpy {np.__version__}"]),
        "hours": f"{hours:.1f}",
        "bundles": table(["bundle", "hash", "calibrated 1/τ"], hashes),
        "parts": table(["part, in the order of running", "cells there"], done),
        "photographs": str(plan.PHOTOGRAPHS),
        "photographed": ", ".join(plan.PHOTOGRAPHED),
        "seeds": ", ".join(map(str, plan.SEEDS)),
        "watch_seeds": str(len(plan.SEEDS)),
        "ablated": f"{plan.ABLATED:,}",
        "ablated_steps": str(plan.ABLATED // 200),
        "continual_steps": str(len(plan.CORRUPTIONS) * plan.ABLATED // 200),
        "search": f"{plan.SEARCH:,}",
        "all": f"{plan.ALL:,}",
        "all_steps": str(plan.ALL // 200),
        "eta": f"{plan.ETA:g}",
    }


def _search(lab: Laboratory, search: plan.Search) -> dict[str, str]:
    best = [f"- {m}: `{adapter}` on `{b}`" for m, (b, adapter) in search.best.items()]
    return {
        "searched": ", ".join(plan.SEARCHED),
        "held_out": ", ".join(plan.HELD_OUT),
        **{f"{m}_trials": str(sum(t.method == m for t in search.trials)) for m in ("tent", "nhl")},
        "trials": sections.trials(lab, search),
        "best": "\n".join(best) or "- not run",
        "final": sections.held_out(lab, search),
    }


def _published(lab: Laboratory) -> dict[str, str]:
    shown, means = sections.published(lab)
    source, bn, tent = (means[k] for k in ("source", "bn_stats", "tent"))
    seven = {k.lower(): float(np.mean(v[1::2])) for k, v in sections.PUBLISHED.items()}
    return {
        "published": shown,
        "order": "the published one" if source > bn > tent else "not the published one",
        "source": f"{source:.1f}",
        "bn": f"{bn:.1f}",
        "tent": f"{tent:.1f}",
        "bn_share": f"{100 * (source - bn) / source:.0f}",
        "tent_gain": f"{bn - tent:.2f}",
        **{f"seven_{k}": f"{v:.1f}" for k, v in seven.items()},
    }


def _temperatures(defaults: Any) -> str:
    found = defaults.get("nhl", {}).get("t_invert", {})
    return ", ".join(f"{k} {v}" for k, v in list(found.items())[:2]) + (
        " …" if len(found) > 2 else ""
    )


def plot(lab: Laboratory, path: Path) -> bool:
    """Gain over bn_stats with intervals, by method and protocol; False where nothing can be drawn."""
    drawn: list[tuple[str, str, Any]] = []
    for protocol in ("reset", "continual"):
        for row in [*plan.compared(0), *plan.further(0)]:
            base = sections.side(protocol, "bn_stats")
            found = compare(lab, base, sections.side(protocol, row.label), plan.SEEDS)
            if found is not None and row.label != "bn_stats":
                drawn.append((protocol, row.label, found))
    if not drawn:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(label for _, label, _ in drawn))
    figure = Figure(figsize=(7.5, 0.45 * len(labels) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for k, (protocol, colour) in enumerate((("reset", "tab:blue"), ("continual", "tab:orange"))):
        mine = [(labels.index(label), d) for p, label, d in drawn if p == protocol]
        y = [at + 0.18 * (2 * k - 1) for at, _ in mine]
        x = np.array([d.gain for _, d in mine])
        arms = np.abs(np.array([[d.low, d.high] for _, d in mine]).reshape(-1, 2).T - x)
        axes.errorbar(x, y, xerr=arms, fmt="o", color=colour, label=protocol, capsize=3)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("points of error less than bn_stats, with 95 % interval")
    axes.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
    return True


__all__ = ["write"]

"""Write docs/methods.md from results folders and the adapters' own docstrings.

    python -m tests.bench.methods_page RESULTS... --cost BUNDLE=DATA... [--out docs/methods.md]

RESULTS are folders of ``tta evaluate``, one a model and data set. Each ``--cost`` names a bundle and labelled
data on which every method is timed against plain inference, in turn with it, on this machine. What a method
is, where it comes from and what it costs in words is taken from its docstring: nothing is repeated by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.method_costs import Cost, measured
from tests.bench.method_texts import MethodText, method_text
from tta import registry
from tta.evaluation.lines import HELPS, HURTS, Line, lines
from tta.evaluation.plots import pens
from tta.evaluation.plots.batches import batches
from tta.evaluation.plots.gain_heat import gain_heat
from tta.evaluation.plots.visits import visits
from tta.evaluation.results import Group, read
from tta.evaluation.tables import span, where_it_hurts

CURVES = (
    "continual",
    "recurring",
    "gradual",
    "correlated",
    "diurnal",
)  # protocols with a story to tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="folders of tta evaluate")
    parser.add_argument("--cost", action="append", default=[], metavar="BUNDLE=DATA")
    parser.add_argument(
        "--batch", type=int, default=16, help="frames a step when timed (default 16)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed steps a method (default 15)")
    parser.add_argument("--out", type=Path, default=Path("docs/methods.md"))
    given = parser.parse_args()
    sets = [(folder, read(folder)) for folder in given.results]
    names = sorted(registry.names("tta.adapters"), key=lambda name: (name != "none", name))
    costs = {}
    for text in given.cost:
        bundle, _, data = text.partition("=")
        model, found = measured(bundle, data, given.batch, given.rounds, names)
        costs[model] = found
    pictures = given.out.parent / "img"
    pictures.mkdir(parents=True, exist_ok=True)
    found = [(groups, lines(groups)) for _, groups in sets]
    text = "\n".join(
        [
            HEAD,
            overview([method_text(name) for name in names], costs),
            costs_said(costs, given.batch, given.rounds),
            *(data_section(groups, own, pictures) for groups, own in found),
            "## Method by method\n",
            *(method_section(method_text(name), found) for name in names if name != "none"),
        ]
    )
    given.out.write_text(text, encoding="utf-8")
    print(f"{given.out}: {len(names)} methods on {len(sets)} data sets", file=sys.stderr)


HEAD = """# Methods: what each one is, costs and brings, and where it hurts

Written by `python -m tests.bench.methods_page` from the docstrings in `tta/adapters/` and from results: edit
those, not this page. docs/evaluation.md says what the protocols and figures are. Gain is in points of error
less than the source model on the same frames, with a 95 % interval; ▼ hurts and ▲ helps at 5 %, with Holm's
correction over all cells of a data set. A method that needs batch statistics works at batch 1 with a buffer,
or where layers normalize each frame by itself.
"""


def overview(texts: Sequence[MethodText], costs: dict[str, dict[str, Cost | str]]) -> str:
    """A row a method: file, paper, needs, batch 1, and its costs on each model."""
    columns = ["method", "paper", "needs", "at batch 1"]
    for model in costs:
        columns += [f"{model}: CPU ms a frame", "× plain", "state, KiB"]
    rows = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for text in texts:
        name = f"[`{text.name}`](../{text.file})"
        name += " (evaluation only)" if text.evaluation_only else ""
        cells = [name, text.paper or "", ", ".join(f"`{n}`" for n in text.needs), text.batch_one]
        for found in costs.values():
            cost = found[text.name]
            if isinstance(cost, str):
                cells += [cost, "", ""]
            else:
                cells += [f"{cost.ms:.2f}", f"{cost.ratio:.1f}", f"{cost.state_kib:,.0f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def costs_said(costs: dict[str, dict[str, Cost | str]], batch: int, rounds: int) -> str:
    """How the costs were measured."""
    if not costs:
        return ""
    return (
        f"Costs: CPU time on one thread, batches of {batch} unchanged frames, median of {rounds} steps, each "
        "in turn with plain inference on the same batch by `infer.onnx`; × plain is the median of the pairs' "
        "ratios. Methods that choose frames cost less where they choose none. "
        "The state is the most that slots and memory of a state hold, each array once; what onnxruntime "
        "needs for a step comes on top (docs/bench.md).\n"
    )


def data_section(groups: Sequence[Group], found: Sequence[Line], folder: Path) -> str:
    """Heat map, curves, and where it hurts, on one data set."""
    row = groups[0].rows[0]
    what = f"{row['model']} on {row['data']}"
    stem = "methods-" + re.sub(r"[^A-Za-z0-9]+", "-", what).strip("-").lower()
    shown = [_put(folder, f"{stem}-gain", gain_heat(found), f"Gain of each method, {what}")]
    pen = pens([group.method for group in groups])
    for protocol in dict.fromkeys(group.protocol for group in groups):
        own = [group for group in groups if group.protocol == protocol]
        sizes = sorted({group.batch for group in own})
        most = [group for group in own if group.batch == sizes[-1]]
        if protocol.startswith(CURVES) and len(most[0].visits()) > 1:
            shown.append(
                _put(folder, f"{stem}-{protocol}", visits(most, pen), f"Error by visit, {protocol}")
            )
        mine = [line for line in found if line.protocol == protocol and line.adapter != "none"]
        if protocol == "reset" and len({line.batch for line in mine}) > 1:
            shown.append(_put(folder, f"{stem}-batch", batches(mine, pen), "Gain by batch size"))
    seeds = max(line.seeds for line in found)
    frames = max(line.images for line in found)
    machine = row.get("cpu", row.get("machine", "?"))
    about = (
        f"Up to {frames:,} frames a protocol, {seeds} seed{'s' if seeds > 1 else ''}; bundle "
        f"{str(row['bundle'])[:12]}, data {str(row['data_hash'])[:12]}; {machine}.\n"
    )
    return "\n".join([f"## {what}\n", about, *shown, "### Where it hurts\n", where_it_hurts(found)])


def method_section(text: MethodText, sets: Sequence[tuple[Sequence[Group], Sequence[Line]]]) -> str:
    """What a method says of itself, and all its cells."""
    mark = " (evaluation only)" if text.evaluation_only else ""
    said = [f"### `{text.name}`{mark}\n", f"{text.sentence}\n"]
    said += [f"{text.paper}.\n"] if text.paper else []
    said += [f"{text.cost}\n"] if text.cost else []
    rows = [
        "| data | protocol | method | batch | source % | error % [95 %] | gain [95 %] | worst visit | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for groups, found in sets:
        data = groups[0].rows[0]["data"]
        for x in found:
            if x.adapter.partition("?")[0] != text.name:
                continue
            mark = {HURTS: "▼ **hurts**", HELPS: "▲"}.get(x.verdict, "")
            reach = x.error_span
            error = f"{x.error:.1f}"
            if reach.low is not None and reach.high is not None:
                error += f" [{reach.low:.1f}, {reach.high:.1f}]"
            rows.append(
                f"| {data} | {x.protocol} | `{x.method}` | {x.batch} | {x.frozen_error:.1f} | {error} | "
                f"{span(x.gain)} | {x.worst[0]:+.1f} {x.worst[1]} | {mark} |"
            )
    said += rows if len(rows) > 2 else ["Not evaluated here."]
    return "\n".join(said) + "\n"


def _put(folder: Path, name: str, svg: str, said: str) -> str:
    file = re.sub(r"[^A-Za-z0-9-]+", "-", name) + ".svg"
    (folder / file).write_text(svg, encoding="utf-8")
    return f"![{said}]({folder.name}/{file})\n"


if __name__ == "__main__":
    main()

"""The objectives that adapters write, by the name of their step graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from tta import registry
from tta.errors import ExportError


class LayerStatistics(NamedTuple):
    """What an objective sees of one norm layer: statistics ``(C,)`` of what it puts out, and the source's.

    They are over frames and positions, before a modulator behind the layer; variances are biased. In a graph
    they are values through which the gradient flows, but for the source's, which are constants.
    """

    mean: Any
    var: Any
    source_mean: Any
    source_var: Any


class Found(NamedTuple):
    """An adapter's ``objective``, whether its graph holds the Hebbian change, and whether any task has it."""

    function: Callable[..., Any]
    hebbian: bool
    any_task: bool


def known() -> dict[str, Found]:
    """All objectives by name: an adapter's ``objective`` is that of the one step graph that it needs."""
    found: dict[str, Found] = {}
    for name in registry.names("tta.adapters"):
        adapter = registry.load("tta.adapters", name)
        graphs = [graph for graph in adapter.needs if graph.startswith("step/")]
        if len(graphs) == 1 and hasattr(adapter, "objective"):
            hebbian, any_task = (
                bool(getattr(adapter, member, False)) for member in ("hebbian", "any_task")
            )
            made = Found(adapter.objective, hebbian, any_task)
            found.setdefault(graphs[0].removeprefix("step/"), made)
    return found


def objective(name: str) -> Found:
    """The objective of ``step/<name>``.

    Raises:
        ExportError: no adapter needs that graph.
    """
    found = known()
    if name not in found:
        raise ExportError(
            f"no adapter needs the objective {name!r}, so nothing says what it is; known: "
            f"{', '.join(sorted(found))}"
        )
    return found[name]


def takes_layers(function: Callable[..., Any]) -> bool:
    """Whether an objective asks for the statistics of layers, by a third parameter named ``layers``."""
    return "layers" in inspect.signature(function).parameters

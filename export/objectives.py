"""The objectives that adapters write, by the name of their step graph."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tta import registry, tasks
from tta.errors import ExportError

DEFAULTS = ("entropy", "nhl")


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
    """An adapter's ``objective``, whether its graph holds the Hebbian change, what it asks of the task."""

    function: Callable[..., Any]
    hebbian: bool
    asks: frozenset[str]

    @property
    def any_task(self) -> bool:
        """Whether it asks nothing."""
        return not self.asks

    def written(self, task: type[Any], primary: str) -> Callable[..., Any]:
        """The function with the task's entropy where it asks for one, for a primary output of that name."""
        function, name = self.function, task.primary
        if "entropy" in inspect.signature(function).parameters:
            function = functools.partial(function, entropy=task.entropy)
        if primary == name:
            return function

        def renamed(op: Any, outputs: Mapping[str, Any], *layers: Any) -> Any:
            return function(op, {**outputs, name: outputs[primary]}, *layers)

        renamed.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return renamed


def known() -> dict[str, Found]:
    """All objectives by name: an adapter's ``objective`` is that of the one step graph that it needs."""
    found: dict[str, Found] = {}
    for name in registry.names("tta.adapters"):
        adapter = registry.load("tta.adapters", name)
        graphs = [graph for graph in adapter.needs if graph.startswith("step/")]
        if len(graphs) == 1 and hasattr(adapter, "objective"):
            owner = next(base for base in adapter.__mro__ if "objective" in vars(base))
            hebbian = bool(getattr(adapter, "hebbian", False))
            made = Found(adapter.objective, hebbian, tasks.asked(owner))
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


def suiting(names: Sequence[str] | None, task: str) -> dict[str, Found]:
    """Objectives by name for a model of that task.

    By default they are ``DEFAULTS`` for a classifier, for others all that suit, but for Hebbian ones.

    Raises:
        ExportError: one that was named is unknown, or takes what the task does not give.
    """
    if names is None:
        given = tasks.load(task).gives
        if "class" in given:
            return {name: objective(name) for name in DEFAULTS}
        return {
            name: each for name, each in known().items() if each.asks <= given and not each.hebbian
        }
    found = {name: objective(name) for name in names}
    for name, each in found.items():
        if missing := each.asks - tasks.load(task).gives:
            takes = tasks.words(missing)
            raise ExportError(
                f"objective {name!r} takes {takes}, which a model for {task} does not give: leave it out; "
                f"{', '.join(fitting(task))} suit it"
            )
    return found


def fitting(task: str) -> list[str]:
    """Names of the objectives that suit a task."""
    given = tasks.load(task).gives
    return sorted(name for name, each in known().items() if each.asks <= given)

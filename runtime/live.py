"""The configuration keys that can change while a run goes on, and what changes then.

====================  =====================================================================================
``governor``          its mode; the state in force stays, and is served if the new mode serves it
``every``             learn from every K-th frame; not from or to 0, which is another way to learn
``commit_s``          seconds between two commits at least
``duty``              share of the time for inline adaptation; not from or to none
``false_alarms``      the budget, in the thresholds from the next look on; what was measured stays
``durable_s``         how often states are written to the disk at most
====================  =====================================================================================

All others need a restart. A change is first prepared, which refuses what cannot be, and then made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tta.budget import Budget
from tta.errors import TtaError
from tta.runtime.durable import Durable
from tta.runtime.regime import Duty, Regime
from tta.runtime.stream import Stream

Make = Callable[[], None]


class RestartError(TtaError):
    """A change that this run cannot make; the message says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a run consists of: its streams, when they adapt, what keeps their states, and how it serves."""

    streams: Sequence[Stream]
    when: Regime
    keepers: Sequence[object]
    serve: str = "stream"


def _governor(run: Running, old: Any, new: Any) -> Make:
    for stream in run.streams:
        if new != "off" and stream.current.adapter != stream.origin.adapter:
            raise RestartError("another method made the state in force")

    def make() -> None:
        for stream in run.streams:
            stream.switch(new)

    return make


def _every(run: Running, old: Any, new: Any) -> Make:
    if not (old and new):
        raise RestartError("to or from 0")
    return _on_streams(run, "every", new)


def _commit_s(run: Running, old: Any, new: Any) -> Make:
    if run.serve == "batch":
        raise RestartError("batches are served")
    return _on_streams(run, "commit_s", new)


def _duty(run: Running, old: Any, new: Any) -> Make:
    when = run.when
    if not isinstance(when, Duty) or new is None:
        raise RestartError("to or from none")
    when.check(new, len(run.streams))
    return lambda: setattr(when, "share", new)


def _false_alarms(run: Running, old: Any, new: Any) -> Make:
    budget = Budget.parse(new) if new else None
    for stream in run.streams:
        if budget is not None:
            budget.per_frame(stream.monitor.watch.policy.fps)

    def make() -> None:
        for stream in run.streams:
            stream.monitor.watch.tolerate(budget)

    return make


def _durable_s(run: Running, old: Any, new: Any) -> Make:
    def make() -> None:
        for keeper in run.keepers:
            if isinstance(keeper, Durable):
                keeper.every_s = new

    return make


def _on_streams(run: Running, name: str, new: Any) -> Make:
    def make() -> None:
        for stream in run.streams:
            setattr(stream, name, new)

    return make


LIVE: Mapping[str, Callable[[Running, Any, Any], Make]] = {
    "governor": _governor,
    "every": _every,
    "commit_s": _commit_s,
    "duty": _duty,
    "false_alarms": _false_alarms,
    "durable_s": _durable_s,
}


def change(
    run: Running, changed: Mapping[str, tuple[Any, Any]]
) -> tuple[list[str], dict[str, str]]:
    """Make the changes that can be made.

    Args:
        run: what goes on.
        changed: old and new value by key.

    Returns:
        Keys that were changed, and why each other one needs a restart, empty where it always does.

    Raises:
        TtaError: a value that cannot be; nothing was changed.
    """
    ready: dict[str, Make] = {}
    left: dict[str, str] = {}
    for key, (old, new) in changed.items():
        if key not in LIVE:
            left[key] = ""
            continue
        try:
            ready[key] = LIVE[key](run, old, new)
        except RestartError as why:
            left[key] = str(why)
    for make in ready.values():
        make()
    return list(ready), left

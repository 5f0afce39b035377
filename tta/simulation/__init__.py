"""When a stream changes (``schedules``) and in which order its readings come (``orders``).

One idea is one file, found by its name. Both are made from ``name`` or ``name:argument``, such as
``recurring:3`` or ``dirichlet:0.1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tta import registry
from tta.errors import SourceError
from tta.records import Array


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a stream in which nothing changes abruptly.

    Attributes:
        start: its first frame.
        stop: the frame after its last.
        corruptions: empty for none; of several, each frame has one by chance.
        severity: of the corruption; 0 where there is none.
        grows: the severity climbs from 0 at ``start`` to ``severity`` at ``stop``.
    """

    start: int
    stop: int
    corruptions: tuple[str, ...] = ()
    severity: float = 0.0
    grows: bool = False

    def severity_at(self, seq: int) -> float:
        """Severity at one of its frames."""
        if not self.grows:
            return self.severity
        # A hundred steps cannot be told from a slope, and each has its dirt made once.
        share = (seq - self.start) / (self.stop - self.start)
        return round(100 * share) / 100 * self.severity


class Schedule(Protocol):
    """When what happens. ``ambient`` and ``arrange`` are there where the world itself moves."""

    def segments(
        self, frames: int, corruptions: Sequence[str], severity: float, onset: int | None
    ) -> list[Segment]:
        """Segments that cover frames 0 .. frames - 1.

        Args:
            frames: length of the stream.
            corruptions: what can happen, none where the stream stays clean.
            severity: largest severity.
            onset: frames before the first change; None leaves it to the schedule.
        """


class Order(Protocol):
    """In which order a data set's items come."""

    needs_labels: bool

    def indices(
        self, count: int, length: int, labels: Array | None, rng: np.random.Generator
    ) -> Array:
        """Items ``(length,)`` out of 0 .. count - 1.

        Args:
            count: items of the data set.
            length: items that the stream takes.
            labels: ``(count,)`` class of each item, None where it is not known.
            rng: where chance comes from.
        """


Part = tuple[tuple[str, ...], float]


def lay_out(parts: Sequence[Part], frames: int, onset: int | None) -> list[Segment]:
    """Parts one after the other, equally long, or the first one ``onset`` long; empty ones left out.

    >>> [(s.start, s.stop) for s in lay_out([((), 0), (("fog",), 5)], 10, 4)]
    [(0, 4), (4, 10)]
    """
    first = frames // len(parts) if onset is None else min(onset, frames)
    cuts = first + (frames - first) * np.arange(len(parts)) // max(1, len(parts) - 1)
    bounds = [0, *cuts.tolist()] if len(parts) > 1 else [0, frames]
    return [
        Segment(start, stop, *part)
        for start, stop, part in zip(bounds, bounds[1:], parts)
        if stop > start
    ]


def pool(count: int, length: int, rng: np.random.Generator) -> Array:
    """Items at random, each once before one comes again: ``(length,)`` out of 0 .. count - 1."""
    rounds = [rng.permutation(count) for _ in range(-(-length // count))]
    items: Array = np.concatenate(rounds)[:length]
    return items


def build(role: str, text: str) -> Any:
    """The schedule or order that ``name`` or ``name:argument`` names.

    Raises:
        NotFoundError: no file has that name.
        SourceError: the argument is not one that it takes.
    """
    name, _, argument = text.partition(":")
    made = registry.load(f"tta.simulation.{role}s", name)
    try:
        return made(argument) if argument else made()
    except (TypeError, ValueError) as error:
        raise SourceError(f"{role} {text!r} cannot be made: {_expected(made)}") from error


def _expected(made: type[Any]) -> str:
    takes = getattr(made, "takes", "")
    return f"write it as {made.__module__.rpartition('.')[2].rstrip('_')}" + (
        f":NUMBER, {takes}" if takes else ", without an argument"
    )


__all__ = ["Order", "Part", "Schedule", "Segment", "build", "lay_out", "pool"]

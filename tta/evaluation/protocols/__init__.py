"""In which order a method meets which data, and when it is brought back to the source.

One protocol is one file, found by its name, made from ``name`` or ``name:argument``, such as
``recurring:20`` or ``correlated:0.1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from tta import registry
from tta.errors import TtaError
from tta.records import Array

_PACKAGE = "tta.evaluation.protocols"


@dataclass(frozen=True, slots=True)
class Visit:
    """A stretch of a stream with one row in the results.

    Attributes:
        items: ``(n,)`` items of the data, in order. Beyond their count follow the same items cut up,
            which show none of the classes: they have no label, and count in no error.
        corruptions: what happens to them, empty for nothing; ``18:00`` for the light of that hour.
        choice: ``(n,)`` which of these each frame has.
        severity: 1 to 5; 0 where nothing is corrupted.
        reset: whether the method begins at the source.
        name: of the row.
    """

    items: Array
    corruptions: tuple[str, ...]
    choice: Array
    severity: int
    reset: bool
    name: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What a protocol is made of.

    Attributes:
        labels: ``(count,)`` class of each item.
        corruptions: in the order in which they come.
        severity: largest severity.
        images: images a visit.
        seed: of everything that chance decides.
        brief: a quick look is wanted: what shows the data many times over takes a part of it each time.
    """

    labels: Array
    corruptions: tuple[str, ...]
    severity: int
    images: int
    seed: int
    brief: bool = False

    def items(self, number: int) -> Array:
        """Items of visit ``number``: all of them, in an order of its own."""
        return np.random.default_rng([self.seed, number]).permutation(self.images)


class EvaluationProtocol(Protocol):
    """Yields visits; ``resets`` says in words when the method begins at the source."""

    resets: str

    def visits(self, setting: Setting) -> Iterator[Visit]:
        """All visits, in order."""


def visit(items: Array, corruption: str, severity: int, reset: bool, name: str = "") -> Visit:
    """A visit with one corruption, or none where it is ``none``."""
    kinds = () if corruption == "none" else (corruption,)
    level = severity if kinds else 0
    return Visit(items, kinds, np.zeros(len(items), int), level, reset, name or corruption)


def names() -> list[str]:
    """All protocols."""
    return registry.names(_PACKAGE)


def build(text: str) -> EvaluationProtocol:
    """The protocol that ``name`` or ``name:argument`` names.

    Raises:
        NotFoundError: there is none of that name.
        TtaError: the argument is not one that it takes.
    """
    name, _, argument = text.partition(":")
    made: Any = registry.load(_PACKAGE, name)
    try:
        return cast(EvaluationProtocol, made(argument) if argument else made())
    except (TypeError, ValueError) as error:
        takes = getattr(made, "takes", "")
        how = f"write {name}:{takes}" if takes else f"write {name}, without an argument"
        raise TtaError(f"protocol {text!r} cannot be made: {how}") from error


__all__ = ["EvaluationProtocol", "Setting", "Visit", "build", "names", "visit"]

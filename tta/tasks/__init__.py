"""What models are for: one task, one file, found by its name (``segment`` is ``tta/tasks/segment.py``).

A task says how the primary output reads: decoder, confidence, class scores if it has any, how far two answers
agree, and the error of an answer against the truth. Nothing else here knows one task from another:
objectives, methods and checks name what they ask of a task (``asks``), a task names what it ``gives``,
and what asks for more than is given is refused by name.

==========  ====================================================================
scores      class scores, so that answers have an entropy
class       one class a frame: scores ``(N, K)`` whose softmax are probabilities
map         class scores ``(N, K, H, W)`` at each position
values      numbers ``(N, p)``
embedding   a vector ``(N, D)`` that is compared with others
boxes       objects with a box, a class and a score
==========  ====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from tta import registry
from tta.errors import BundleError
from tta.manifest import Manifest
from tta.records import Array

PACKAGE = "tta.tasks"
GIVES = ("scores", "class", "map", "values", "embedding", "boxes")


class Task(Protocol):
    """How the primary output of one bundle reads; outputs are batches ``(n, ...)`` throughout.

    Attributes:
        gives: what may be asked of it, of ``GIVES``.
        primary: name of the primary output where the exporter gives none.
        outputs: its shape in words.
        measure: name of the error.
        share: whether the error is a share, shown in percent.
        arrays: names that an archive's array of targets may have.
        never_behind: operators that must not end the model, since logits are meant.
    """

    gives: ClassVar[frozenset[str]]
    primary: ClassVar[str]
    outputs: ClassVar[str]
    measure: ClassVar[str]
    share: ClassVar[bool]
    arrays: ClassVar[tuple[str, ...]]
    never_behind: ClassVar[frozenset[str]]

    def __init__(self, manifest: Manifest, calibration: Mapping[str, Array]) -> None: ...

    @staticmethod
    def unfit(shape: tuple[int, ...], labels: int) -> str:
        """Why outputs of that shape, without the batch axis, are none of this task; empty if they are.

        Args:
            shape: -1 where an axis is open.
            labels: class names given, 0 for none.
        """

    @staticmethod
    def reference(outputs: Array, targets: Array | None) -> dict[str, Array]:
        """What the task must know of the source, kept in the calibration as ``task.<name>``."""

    @staticmethod
    def entropy(op: Any, outputs: Mapping[str, Any]) -> Any:
        """Mean entropy of a frame's decisions ``(N,)`` in nats, in a graph; of tasks that give scores."""

    def decode(self, output: Array) -> Any:
        """The answer of one frame ``(...)`` in JSON's types."""

    def log_p(self, outputs: Array) -> Array:
        """Log-probabilities ``(m, K)`` of all decisions of the frames; ``(n, 0)`` without class scores."""

    def entropies(self, outputs: Array) -> Array:
        """Mean entropy of each frame's decisions ``(n,)`` in nats; nan without class scores."""

    def used(self, outputs: Array) -> Array:
        """How the answers are spread over the classes, ``(K,)`` that sum to 1; empty without class scores."""

    def confidence(self, outputs: Array) -> Array:
        """``(n,)`` in 0..1, nan where an answer has none."""

    def agreement(self, frozen: Array, adapted: Array) -> Array:
        """How far two answers to the same frames agree ``(n,)``, 1 where they are the same."""

    def checked(self, targets: Array, n: int) -> Array:
        """The targets of n frames in the form that ``error`` takes.

        Raises:
            TtaError: they do not fit the outputs; the sentence says what does not.
        """

    def error(self, outputs: Array, targets: Array) -> Array:
        """Error of each frame ``(n,)``; nan where it has no truth to be compared with."""

    def details(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Further figures over all frames, such as the error by object size."""


def names() -> list[str]:
    """All tasks, sorted.

    >>> "segment" in names()
    True
    """
    return registry.names(PACKAGE)


def load(name: str) -> type[Any]:
    """The class of a task.

    Raises:
        BundleError: there is none.
    """
    if name not in names():
        raise BundleError(
            f"a task is one of {', '.join(names())}, but is {name!r}: upgrade tta-edge, or export again"
        )
    return registry.load(PACKAGE, name)


def of(manifest: Manifest, calibration: Mapping[str, Array]) -> Task:
    """The task of a bundle."""
    made: Task = load(manifest.task)(manifest, calibration)
    return made


def known(calibration: Mapping[str, Array]) -> dict[str, Array]:
    """What a task's ``reference`` left in the calibration, by name."""
    return {k.removeprefix("task."): v for k, v in calibration.items() if k.startswith("task.")}


def asked(kind: Any) -> frozenset[str]:
    """What a check, or a method with its objective, asks of a task.

    It is what the class says in ``asks`` beside its objective. An objective that says nothing takes one class
    a frame; a class without an objective, and one of ``any_task``, asks nothing.

    >>> from tta.adapters.actmad import ActMad
    >>> sorted(asked(ActMad))
    []
    """
    cls = kind if isinstance(kind, type) else type(kind)
    for base in cls.__mro__:
        if "asks" in vars(base):
            return frozenset(vars(base)["asks"])
        if "objective" in vars(base):
            return frozenset() if getattr(cls, "any_task", False) else frozenset({"class"})
    return frozenset()


_WORDS = {
    "scores": "class scores",
    "class": "one class a frame",
    "map": "a class at each position",
    "values": "numbers",
    "embedding": "a vector that is compared with others",
    "boxes": "objects with boxes",
}


def words(properties: frozenset[str]) -> str:
    """What is asked, as in "takes class scores"; the first of several."""
    return _WORDS[sorted(properties)[0]]


def refusal(what: str, kind: Any, task: str) -> str:
    """One sentence why something does not fit a task, empty if it does.

    Args:
        what: its kind and name, such as ``check 'alignment'``.
        kind: its class.
        task: name of the task.
    """
    missing = sorted(asked(kind) - load(task).gives)
    if not missing:
        return ""
    return f"{what} takes {words(frozenset(missing))}, which a model for {task} does not give"


__all__ = ["GIVES", "PACKAGE", "Task", "asked", "known", "load", "names", "of", "refusal", "words"]

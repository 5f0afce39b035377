"""Which axes of each tensor of a graph are whose, and whether it mixes the samples of a batch.

Every tensor gets named axes (N, C, H, W, T; a flattened axis keeps the names of its parts) and, for the
batch axis N, one of three states:

- ``absent``: it has no axis N and is the same for any batch (a weight, a slot);
- ``broadcast``: it has N, and sample i of it comes from sample i of the input alone;
- ``mixed``: samples meet in it: a sum over the batch, or anything computed from one.

The law behind ``broadcast`` is f(X)[.., i, ..] = f(X[.., i, ..]) for all i: an axis that passes by a box
is broadcast over (Abbott, "Neural Circuit Diagrams: robust diagrams for the communication,
implementation, and analysis of deep learning architectures", TMLR 2024, arXiv 2402.05424).

One file per family of operators holds the family's rules in ``RULES``, operator name → rule, as
``export/gradient/`` does. An operator without a rule gets the conservative answer: where one of its
inputs has N or is mixed, its outputs are mixed; such operators are listed in ``Labels.unknown``.

Graph inputs may be ``known``: ``{"alpha": 0.0}`` asks for the answer of the source model, where batch
statistics meet a factor that is zero. Otherwise each input may be anything.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

State = Literal["absent", "broadcast", "mixed"]
Value = npt.NDArray[Any]

BATCH = "N"
SIZES = (10007, 10009)  # two lengths for N: primes, so a merged axis still shows that N is in it


class Part(NamedTuple):
    """A named axis, or one factor of a merged one. The batch's size is ``SIZES[0]``."""

    name: str
    size: int


Axis = tuple[Part, ...]
NAMES: Mapping[int, Sequence[str]] = {
    1: (BATCH,),
    2: (BATCH, "C"),
    3: (BATCH, "C", "T"),
    4: (BATCH, "C", "H", "W"),
    5: (BATCH, "C", "D", "H", "W"),
}


@dataclass(frozen=True)
class Tensor:
    """What is known of one tensor.

    Attributes:
        axes: each axis as the parts that it is made of, outermost first.
        mixed: whether samples meet in it, apart from ``terms``.
        zero: every element is 0.
        values: its elements for both ``SIZES`` of the batch where they are known: shapes, constants.
        terms: mixed vectors that were added to it, with their factors: x - m has {m: -1}. A norm that
            subtracts the same vector again cancels them.
        root: name of the vector that it is a view of, for ``terms``.
        cause: the node that mixed first.
    """

    axes: tuple[Axis, ...]
    mixed: bool = False
    zero: bool = False
    values: tuple[Value, Value] | None = None
    terms: Mapping[tuple[str, tuple[int, ...]], float] = field(default_factory=dict)
    root: str = ""
    cause: str = ""

    @property
    def state(self) -> State:
        """How it stands to the batch axis."""
        if self.mixed or self.terms:
            return "mixed"
        return "broadcast" if self.batched else "absent"

    @cached_property
    def batched(self) -> int:
        """How often the batch axis is among its axes."""
        return sum(part.name == BATCH for axis in self.axes for part in axis)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes, N being ``SIZES[0]``."""
        return tuple(length(axis) for axis in self.axes)

    def names(self) -> tuple[str, ...]:
        """Names of its axes; merged parts are joined by a dot."""
        return tuple(title(axis) for axis in self.axes)


@dataclass(frozen=True)
class Call:
    """One node as a rule sees it: its attributes, its inputs, the shapes of its outputs."""

    op_type: str
    name: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Tensor | None]
    shapes: Sequence[tuple[int, ...]]

    def x(self, index: int = 0) -> Tensor:
        """The input at that position, which must be there."""
        value = self.inputs[index]
        assert value is not None, f"{self.op_type} lacks its input {index}"
        return value

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute's value."""
        return self.attributes.get(attribute, default)

    def integers(self, index: int, attribute: str = "") -> list[int] | None:
        """A list of integers given as input (or as attribute in older opsets); None if not known."""
        if index < len(self.inputs) and self.inputs[index] is not None:
            values = self.x(index).values
            return None if values is None else [int(v) for v in np.ravel(values[0])]
        found = self.attributes.get(attribute)
        return None if found is None else [int(v) for v in np.ravel(found)]

    def axis(self, default: int, rank: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return int(self.get("axis", default)) % rank

    def any_mixed(self) -> bool:
        """Whether samples meet in one of the inputs."""
        return any(x is not None and x.state == "mixed" for x in self.inputs)


Rule = Callable[[Call], Sequence[Tensor]]


@cache
def rules() -> Mapping[str, Rule]:
    """All rules by operator name."""
    found: dict[str, Rule] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found.update(getattr(importlib.import_module(f"{__name__}.{module.name}"), "RULES", {}))
    return found


def length(axis: Axis) -> int:
    """Number of elements along an axis."""
    return int(np.prod([part.size for part in axis], dtype=np.int64))


def title(axis: Axis) -> str:
    """Name of an axis: the names of its parts, joined."""
    return "·".join(dict.fromkeys(part.name for part in axis if part.name))


def has_batch(axis: Axis) -> bool:
    """Whether the batch is this axis, or a part of it."""
    return any(part.name == BATCH for part in axis)


def fresh(size: int, name: str = "") -> Axis:
    """An axis that no input explains; a multiple of the batch's length has the batch in it."""
    if size and size % SIZES[0] == 0:
        rest = size // SIZES[0]
        return (Part(BATCH, SIZES[0]), *([Part(name, rest)] if rest > 1 else []))
    return (Part(name, size),)


def resized(axis: Axis, size: int) -> Axis:
    """The axis with another length; it keeps its name."""
    return axis if length(axis) == size else fresh(size, title(axis))


def place(axis: Axis) -> tuple[int, int] | None:
    """Number of elements of an axis outside and inside its batch part, None where there is none."""
    for k, part in enumerate(axis):
        if part.name == BATCH:
            return length(axis[:k]), length(axis[k + 1 :])
    return None


def unite(axes: Sequence[Axis], size: int) -> tuple[Axis, bool]:
    """One axis for operands that meet along it, and whether samples meet because of that.

    Operands of length 1 are repeated. Two that hold the batch in different places do mix.
    """
    full = [axis for axis in axes if length(axis) == size]
    chosen = max(full, key=lambda a: (has_batch(a), bool(title(a))), default=fresh(size))
    if size == 1:
        chosen = next((a for a in axes if title(a)), ())
    places = {place(axis) for axis in full}
    return chosen, len(places) > 1


def tensor(call: Call, axes: Sequence[Axis], mixed: bool, **more: Any) -> Tensor:
    """A result of a node: two batch axes in one tensor pair samples with one another."""
    made = Tensor(tuple(axes), mixed, **more)
    return replace(made, mixed=True) if made.batched > 1 else made

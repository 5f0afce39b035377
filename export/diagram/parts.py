"""What a diagram is made of: wires, operations, and the columns of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from tta.export.axes import BATCH


@dataclass(frozen=True)
class Wire:
    """One axis of a tensor: its name and its length, 0 for the batch's, which is open."""

    name: str
    size: int

    @property
    def text(self) -> str:
        """Its label."""
        return f"{self.name} {self.size}".strip() if self.size else self.name

    @property
    def batch(self) -> bool:
        """Whether samples lie along it."""
        return BATCH in self.name.split("·")


@dataclass
class Operation:
    """One box.

    Attributes:
        text: what stands above it.
        inputs: names of the tensors that go in.
        outputs: names of those that come out.
        consumed: which axes of the first input it does not broadcast over.
        layers: adaptable layers in it.
        learned: whether it has weights.
        nonlinear: whether it is no linear map.
        mixes: whether its batch statistics mix samples.
        kinds: operators that went into it.
    """

    text: str
    inputs: list[str]
    outputs: list[str]
    consumed: frozenset[int] = frozenset()
    layers: tuple[str, ...] = ()
    learned: bool = False
    nonlinear: bool = False
    mixes: bool = False
    kinds: tuple[str, ...] = ()


@dataclass
class Columns:
    """A bundle as alternating data and operation columns.

    Attributes:
        operations: boxes in order.
        wires: axes by tensor name; those of length 1 without a name are left out.
        kept: for each tensor, which of its axes ``wires`` holds.
        mixed: tensors in which samples meet when norms run on batch statistics.
        inputs: tensors that come from outside.
        outputs: tensors that the graph gives, by name.
    """

    operations: list[Operation]
    wires: dict[str, list[Wire]]
    kept: dict[str, list[int]]
    mixed: set[str]
    inputs: list[str]
    outputs: list[str] = field(default_factory=list)

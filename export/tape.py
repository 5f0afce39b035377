"""The tape: what the forward did, so that it can be walked backwards.

Export rebuilds each graph by running the lifted model symbolically: every node is emitted again through
the operator namespace, and what was emitted is recorded here. A layer under the statistics rule is one
record with an adjoint of its own; every other record finds its adjoint by operator in
``export/gradient/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from tta.export.operators import Operators

Cotangents = Sequence[ir.Value | None]
Adjoint = Callable[[Operators, "Record", Cotangents], Cotangents]


@dataclass
class Record:
    """One recorded operation.

    Attributes:
        op_type: ONNX operator, or ``tta::AdaptiveNorm`` and the like.
        name: name of the node in the source model, for messages.
        inputs: its inputs in the new graph.
        outputs: its outputs in the new graph.
        attributes: plain values of the node's attributes.
        adjoint: own reverse rule; None looks one up by operator.
        active: which inputs lead to a wanted value; set by the reverse pass.
        mask: where an activation lets the gradient pass, as booleans; made on the way forward.
    """

    op_type: str
    name: str
    inputs: Sequence[ir.Value | None]
    outputs: Sequence[ir.Value]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    adjoint: Adjoint | None = None
    active: tuple[bool, ...] = ()
    mask: ir.Value | None = None

    def x(self, index: int = 0) -> ir.Value:
        """The input at that position, which must be there."""
        value = self.inputs[index]
        assert value is not None
        return value

    def has(self, index: int) -> bool:
        """Whether the optional input at that position is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute's value."""
        return self.attributes.get(attribute, default)

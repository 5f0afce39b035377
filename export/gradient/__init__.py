"""Reverse-mode differentiation over ONNX nodes.

One file per family of operators holds the family's rules in ``RULES``: operator name → function
that takes the operator namespace, the recorded forward node and the cotangents of its outputs, and
returns the cotangents of its inputs (None where an input needs none). A new rule is a new entry, a
new family a new file. ``reverse`` walks the tape backwards from the objective and stops at the
first adaptable layer.

The gradient is an ONNX graph itself, so a device needs no autograd: see Baydin et al., "Automatic
differentiation in machine learning: a survey", JMLR 18, 2018, section 3.2, on reverse accumulation.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import onnx_ir as ir

from tta.errors import NoGradientError
from tta.export.operators import Operators
from tta.export.tape import Cotangents, Record

Rule = Callable[[Operators, Record, Cotangents], Cotangents]


@cache
def rules() -> Mapping[str, Rule]:
    """All rules by operator name."""
    found: dict[str, Rule] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found.update(importlib.import_module(f"{__name__}.{module.name}").RULES)
    return found


def reverse(
    op: Operators,
    tape: Sequence[Record],
    seeds: Mapping[ir.Value, ir.Value],
    wanted: Iterable[ir.Value],
) -> dict[ir.Value, ir.Value]:
    """Gradients of what ``seeds`` weigh with respect to the wanted values.

    Args:
        op: the graph under construction; the gradient's nodes are appended to it.
        tape: the forward, in order.
        seeds: cotangent by output value.
        wanted: values whose gradients are asked for; one that has no path to a seed is absent from
            the result.

    Raises:
        NoGradientError: an operator on a needed path has no rule.
    """
    targets = list(wanted)
    active = set(targets)
    for record in tape:
        record.active = tuple(i is not None and i in active for i in record.inputs)
        if any(record.active):
            active.update(record.outputs)
    table = rules()
    cotangents: dict[ir.Value, ir.Value] = dict(seeds)
    for record in reversed(tape):
        outgoing = [cotangents.get(o) for o in record.outputs]
        if not any(record.active) or all(c is None for c in outgoing):
            continue
        rule = record.adjoint or table.get(record.op_type)
        if rule is None:
            raise NoGradientError(
                f"operator {record.op_type} of node {record.name!r} has no gradient rule"
            )
        for value, is_active, gradient in zip(
            record.inputs, record.active, rule(op, record, outgoing)
        ):
            if value is None or gradient is None or not is_active:
                continue
            known = cotangents.get(value)
            cotangents[value] = gradient if known is None else op.Add(known, gradient)
    return {value: cotangents[value] for value in targets if value in cotangents}


def blocked(
    tape: Sequence[Record], outputs: Iterable[ir.Value]
) -> tuple[list[Record], set[ir.Value]]:
    """Records on the way to the outputs that have no rule, and all values that lead through them.

    A wanted value in the second result cannot be adapted; every other one can.
    """
    needed = set(outputs)
    table = rules()
    for record in reversed(tape):
        if needed.intersection(record.outputs):
            needed.update(i for i in record.inputs if i is not None and _differentiable(i))
    stuck: list[Record] = []
    tainted: set[ir.Value] = set()
    for record in reversed(tape):
        if not needed.intersection(record.outputs):
            continue
        missing = record.adjoint is None and record.op_type not in table
        if missing and any(_differentiable(o) for o in record.outputs):
            stuck.append(record)
        if missing or tainted.intersection(record.outputs):
            tainted.update(i for i in record.inputs if i is not None)
    return stuck[::-1], tainted


def _differentiable(value: ir.Value) -> bool:
    return value.type is None or value.type.dtype.is_floating_point()

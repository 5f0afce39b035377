"""Adjoints of matrix products."""

from __future__ import annotations

import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._broadcast import unbroadcast
from tta.export.gradient._static import first, refuse, shape
from tta.export.operators import Operators, rank
from tta.export.tape import Cotangents, Record


def matmul(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For Y = A B: dL/dA = dL/dY Bᵀ, dL/dB = Aᵀ dL/dY, summed over broadcast batch axes.

    A vector counts as a matrix of one row (left) or one column (right).
    """
    dy, a, b = first(dys), node.x(0), node.x(1)
    row, column = rank(a) == 1, rank(b) == 1
    if row or column:
        dy = op.Unsqueeze(dy, [-2, -1] if row and column else [-2] if row else [-1])
    left = op.Unsqueeze(a, [0]) if row else a
    right = op.Unsqueeze(b, [1]) if column else b
    da = db = None
    if node.active[0]:
        da = _left(op, dy, left, right)
        da = op.Squeeze(da, [0]) if row else da
    if node.active[1]:
        db = _right(op, dy, left, right)
        db = op.Squeeze(db, [1]) if column else db
    return [da, db]


def _left(op: Operators, dy: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    product = op.MatMul(dy, _transpose(op, b))
    return unbroadcast(op, product, a, product)


def _right(op: Operators, dy: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    if rank(b) > 2:
        product = op.MatMul(_transpose(op, a), dy)
        return unbroadcast(op, product, b, product)
    if rank(a) > 2:  # one product over all rows of the batch
        a = op.Reshape(a, shape(op, [-1, (b, 0)]))
        dy = op.Reshape(dy, shape(op, [-1, (b, 1)]))
    return op.Gemm(a, dy, transA=1)


def _transpose(op: Operators, x: ir.Value) -> ir.Value:
    n = rank(x)
    return op.Transpose(x, perm=[*range(n - 2), n - 1, n - 2])


def gemm(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For Y = a A B + b C: dL/dA = a dL/dY Bᵀ, dL/dB = a Aᵀ dL/dY, dL/dC = b Σ dL/dY.

    A and B stand for their transposes where transA or transB is set; so do their cotangents.
    """
    dy, a, b = first(dys), node.x(0), node.x(1)
    trans_a, trans_b = node.get("transA", 0), node.get("transB", 0)
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    da = db = dc = None
    if node.active[0]:
        da = (
            op.Gemm(b, dy, transA=trans_b, transB=1, alpha=alpha)
            if trans_a
            else op.Gemm(dy, b, transB=1 - trans_b, alpha=alpha)
        )
    if node.active[1]:
        db = (
            op.Gemm(dy, a, transA=1, transB=trans_a, alpha=alpha)
            if trans_b
            else op.Gemm(a, dy, transA=1 - trans_a, alpha=alpha)
        )
    if node.has(2) and node.active[2]:
        dc = unbroadcast(op, dy, node.x(2), node.outputs[0])
        dc = dc if beta == 1.0 else op.Mul(dc, beta)
    return [da, db, dc]


def einsum(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = Σ Π aₖ in index notation: dL/daₖ contracts dL/dy with all other operands.

    An index that only aₖ has is summed in the forward and repeated here.
    """
    equation = str(node.get("equation", "")).replace(" ", "")
    if "->" not in equation or "..." in equation:
        raise refuse(node, f"equation {equation!r}; write it with '->' and without '...'")
    left, out = equation.split("->")
    terms = left.split(",")
    if any(len(set(t)) < len(t) for t in terms):
        raise refuse(node, f"equation {equation!r} takes a diagonal")
    dy = first(dys)
    result: list[ir.Value | None] = []
    for k, (term, on) in enumerate(zip(terms, node.active)):
        if not on:
            result.append(None)
            continue
        others = [(t, node.x(j)) for j, t in enumerate(terms) if j != k]
        reachable = set(out).union(*(t for t, _ in others))
        kept = "".join(c for c in term if c in reachable)
        source = ",".join([out, *(t for t, _ in others)])
        gradient = op.Einsum(dy, *(v for _, v in others), equation=f"{source}->{kept}")
        if kept != term:
            alone = [j for j, c in enumerate(term) if c not in reachable]
            gradient = op.Expand(op.Unsqueeze(gradient, alone), op.Shape(node.x(k)))
        result.append(gradient)
    return result


RULES: dict[str, Rule] = {"MatMul": matmul, "Gemm": gemm, "Einsum": einsum}

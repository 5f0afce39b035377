"""Matrix products and convolutions: contracted axes are consumed, new ones made."""

from __future__ import annotations

from collections.abc import Mapping

from tta.export.axes import (
    SIZES,
    Axis,
    Call,
    Rule,
    Tensor,
    fresh,
    has_batch,
    place,
    resized,
    tensor,
    title,
    unite,
)


def matmul(call: Call) -> list[Tensor]:
    """(..., n, k) · (..., k, m): the axis k is consumed, stacked axes meet elementwise."""
    a, b = call.x(0), call.x(1)
    left = a.axes if len(a.axes) > 1 else ((), *a.axes)
    right = b.axes if len(b.axes) > 1 else (*b.axes, ())
    mixed = call.any_mixed() or has_batch(left[-1]) or has_batch(right[-2])
    shape = list(call.shapes[0])
    matrix = [axis for x, axis in ((a, left[-2]), (b, right[-1])) if len(x.axes) > 1]
    axes: list[Axis] = []
    stacked = shape[: len(shape) - len(matrix)]
    for k in range(-len(stacked), 0):
        met = [x[k - 2] for x in (left, right) if len(x) >= 2 - k]
        axis, meets = unite(met, stacked[k])
        axes.append(axis)
        mixed |= meets
    if len(b.axes) > 1 and not title(matrix[-1]):
        matrix[-1] = fresh(shape[-1], "" if has_batch(left[-1]) else title(left[-1]))
    zero = a.zero or b.zero
    return [tensor(call, [*axes, *matrix], mixed and not zero, zero=zero)]


def gemm(call: Call) -> list[Tensor]:
    """α·A'·B' + β·C."""
    a, b = call.x(0), call.x(1)
    rows, inner = a.axes[::-1] if call.get("transA", 0) else a.axes
    other, columns = b.axes[::-1] if call.get("transB", 0) else b.axes
    mixed = call.any_mixed() or has_batch(inner) or has_batch(other)
    if not title(columns):
        columns = fresh(call.shapes[0][1], "" if has_batch(inner) else title(inner))
    extra = call.inputs[2] if len(call.inputs) > 2 else None
    if extra is not None:
        for k, axis in enumerate((rows, columns)):
            at = k - 2
            if len(extra.axes) >= -at:
                _, meets = unite([axis, extra.axes[at]], call.shapes[0][k])
                mixed |= meets
    return [tensor(call, [rows, columns], mixed)]


def convolution(call: Call) -> list[Tensor]:
    """Conv and ConvTranspose: channels are consumed within their group, positions within a window.

    The batch may ride on the channels: with the groups a multiple of the batch, each sample meets its own.
    """
    x, w = call.x(0), call.x(1)
    inner, outer = (0, 1) if call.op_type == "ConvTranspose" else (1, 0)  # of the weight's axes
    found = place(x.axes[1])
    apart = found is not None and found[0] == 1 and int(call.get("group", 1)) % SIZES[0] == 0
    consumed = [*x.axes[2:], *w.axes[2:]]
    if not apart:
        consumed += [x.axes[1], w.axes[inner]]
    elif inner == 1:
        consumed += [w.axes[inner]]
    else:
        consumed += [w.axes[outer]]
    shape = call.shapes[0]
    channels = fresh(shape[1], "C" if has_batch(x.axes[1]) else title(x.axes[1]))
    lost = not apart and has_batch(w.axes[outer]) and place(w.axes[outer]) != place(channels)
    mixed = call.any_mixed() or lost or any(has_batch(axis) for axis in consumed)
    axes = [x.axes[0], channels, *(resized(a, n) for a, n in zip(x.axes[2:], shape[2:]))]
    zero = (x.zero or w.zero) and len([i for i in call.inputs if i is not None]) == 2
    return [tensor(call, axes, mixed and not zero, zero=zero)]


def einsum(call: Call) -> list[Tensor]:
    """Einsum without ellipsis: letters that the output lacks are consumed."""
    equation = str(call.get("equation", "")).replace(" ", "")
    terms, arrow, output = equation.partition("->")
    letters = terms.split(",")
    if not arrow or "." in equation:
        axes = [fresh(n) for n in call.shapes[0]]
        batched = any(x is not None and x.batched for x in call.inputs)
        return [tensor(call, axes, call.any_mixed() or batched)]
    met: dict[str, list[Axis]] = {}
    for term, x in zip(letters, call.inputs):
        for letter, axis in zip(term, x.axes if x is not None else ()):
            met.setdefault(letter, []).append(axis)
    mixed = call.any_mixed()
    axes = []
    for letter, sides in met.items():
        mixed |= letter not in output and any(has_batch(axis) for axis in sides)
    for letter, size in zip(output, call.shapes[0]):
        axis, meets = unite(met[letter], size)
        axes.append(axis)
        mixed |= meets
    return [tensor(call, axes, mixed)]


RULES: Mapping[str, Rule] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": convolution,
    "ConvTranspose": convolution,
    "Einsum": einsum,
}

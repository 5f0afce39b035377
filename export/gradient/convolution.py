"""Adjoints of convolution, in 1 to 3 dimensions, with groups, strides, dilations and uneven pads.

The adjoint of the input is a convolution again (Dumoulin and Visin, "A guide to convolution
arithmetic for deep learning", arXiv:1603.07285, chapter 4). Where the stride is 1 it is a Conv with
the flipped kernel: onnxruntime folds the flip at session creation and runs it several times faster
than ConvTranspose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tta.export.gradient import Rule
from tta.export.gradient._static import first, pad_axes, refuse, spatial
from tta.export.operators import Operators, dims, rank
from tta.export.tape import Cotangents, Record

MANY_TAPS = 64
LOWEST = -(2**31)  # Slice: down to and including index 0


@dataclass(frozen=True)
class Window:
    """How a kernel slides; pads are all begins, then all ends, as in ONNX."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1

    @property
    def reach(self) -> list[int]:
        """Span of the kernel in input positions, less one: d (k - 1)."""
        return [d * (k - 1) for d, k in zip(self.dilations, self.kernel)]


def window(node: Record, kernel: Sequence[int | str | None]) -> Window:
    """Geometry of a convolution or pooling node, with defaults filled in and auto_pad resolved."""
    n = len(kernel)
    if not all(isinstance(k, int) for k in kernel):
        raise refuse(node, f"kernel shape {tuple(kernel)} is not static")
    sizes = tuple(k for k in kernel if isinstance(k, int))
    strides = tuple(node.get("strides", (1,) * n))
    dilations = tuple(node.get("dilations", (1,) * n))
    pads = tuple(node.get("pads", (0,) * (2 * n)))
    mode = node.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0,) * (2 * n)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        lengths = [1] * n if max(strides) == 1 else spatial(node, node.x())
        total = [
            max((math.ceil(i / s) - 1) * s + d * (k - 1) + 1 - i, 0)
            for i, s, d, k in zip(lengths, strides, dilations, sizes)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = (*small, *large) if mode == "SAME_UPPER" else (*large, *small)
    return Window(sizes, strides, pads, dilations, int(node.get("group", 1)))


def weight_adjoint(
    op: Operators,
    x: ir.Value,
    dy: ir.Value,
    weight: ir.Value,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int = 1,
) -> ir.Value:
    """dL/dw of y = conv(x, w): dw[m, c, k] = Σ_{n,i} dy[n, m, i] x[n, c, s i + d k - p].

    For each tap k the positions of x that it meets are one Slice; all taps are one matrix product
    with dy, or, in a depthwise convolution, one weighted sum each. Where the positions are not
    static or the taps too many, it is one convolution of x with dy as kernel, which is slower.

    Args:
        op: where the nodes go.
        x: input, shape (N, C, ...).
        dy: cotangent of the output (or what stands for it in a Hebbian rule), shape (N, M, ...).
        weight: the kernel, shape (M, C/group, ...); only its shape is read.
        strides: of the forward convolution, one per position axis.
        pads: of the forward convolution, all begins, then all ends.
        dilations: of the forward convolution.
        group: of the forward convolution.

    Returns:
        dL/dw, shape (M, C/group, ...).
    """
    m, c, *kernel = (k for k in dims(weight) if isinstance(k, int))
    form = Window(tuple(kernel), tuple(strides), tuple(pads), tuple(dilations), group)
    out = [o for o in dims(dy)[2:] if isinstance(o, int)]
    if len(out) < len(kernel) or math.prod(kernel) > MANY_TAPS:
        return _weight_by_convolution(op, x, dy, form)
    n = len(kernel)
    if any(pads):
        x = pad_axes(op, x, {k + 2: (pads[k], pads[k + n]) for k in range(n)})
    taps = [_tap(op, x, form, out, at) for at in np.ndindex(*kernel)]
    if c == 1 and m == group:
        axes = [0, *range(2, n + 2)]
        sums = [op.ReduceSum(op.Mul(dy, t), axes, keepdims=0) for t in taps]
        return op.Reshape(op.Concat(*(op.Unsqueeze(s, [1]) for s in sums), axis=1), [m, 1, *kernel])
    size = math.prod(out)
    patches = [op.Reshape(t, [-1, group, c, size]) for t in taps]
    merged = op.Concat(*patches, axis=2) if len(patches) > 1 else patches[0]
    columns = op.Transpose(merged, perm=[0, 1, 3, 2])
    rows = op.Reshape(dy, [-1, group, m // group, size])
    product = op.ReduceSum(op.MatMul(rows, columns), [0], keepdims=0)
    split = op.Reshape(product, [m, len(taps), c])
    return op.Reshape(op.Transpose(split, perm=[0, 2, 1]), [m, c, *kernel])


def _tap(
    op: Operators, x: ir.Value, form: Window, out: Sequence[int], at: Sequence[int]
) -> ir.Value:
    """What the kernel's tap ``at`` meets in the padded x, as it slides: shape (N, C, *out)."""
    starts = [i * d for i, d in zip(at, form.dilations)]
    ends = [b + s * (o - 1) + 1 for b, s, o in zip(starts, form.strides, out)]
    axes = [k + 2 for k in range(len(out))]
    if ends == dims(x)[2:] and max(form.strides) == 1 and not any(starts):
        return x
    return op.Slice(x, starts, ends, axes, list(form.strides))


def _weight_by_convolution(op: Operators, x: ir.Value, dy: ir.Value, form: Window) -> ir.Value:
    """``weight_adjoint`` for open positions: the batch becomes the channels, dy the kernel."""
    n = len(form.kernel)
    swap = [1, 0, *range(2, n + 2)]
    correlated = op.Conv(
        _batch_as_channels(op, x, form.group),
        op.Transpose(dy, perm=swap),
        strides=list(form.dilations),
        dilations=list(form.strides),
        pads=list(form.pads),
        group=form.group,
    )
    cropped = op.Slice(correlated, [0] * n, list(form.kernel), [k + 2 for k in range(n)])
    return op.Transpose(cropped, perm=swap)


def _batch_as_channels(op: Operators, x: ir.Value, group: int) -> ir.Value:
    """(N, C, ...) -> (C/group, group N, ...)."""
    n = rank(x) - 2
    moved = op.Transpose(x, perm=[1, 0, *range(2, n + 2)])
    channels = dims(x)[1]
    if group == 1 or not isinstance(channels, int):
        return moved
    tail = op.Shape(x, start=2)
    moved = op.Reshape(moved, op.Concat([group, channels // group, -1], tail, axis=0))
    moved = op.Transpose(moved, perm=[1, 0, *range(2, n + 3)])
    return op.Reshape(moved, op.Concat([channels // group, -1], tail, axis=0))


def flipped(op: Operators, weight: ir.Value, group: int) -> ir.Value:
    """The kernel of the adjoint: (M, C/g, ...) -> (C, M/g, ...), reversed along all positions."""
    m, c, *kernel = (d if isinstance(d, int) else 0 for d in dims(weight))
    n = len(kernel)
    if group == 1:
        turned = op.Transpose(weight, perm=[1, 0, *range(2, n + 2)])
    elif c == 1 and m == group:
        turned = weight
    else:
        turned = op.Reshape(weight, [group, m // group, c, *kernel])
        turned = op.Transpose(turned, perm=[0, 2, 1, *range(3, n + 3)])
        turned = op.Reshape(turned, [group * c, m // group, *kernel])
    axes = [k + 2 for k in range(n) if kernel[k] > 1]
    if axes:
        back = [-1] * len(axes)
        turned = op.Slice(turned, back, [LOWEST] * len(axes), axes, back)
    return turned


def input_adjoint(
    op: Operators, node: Record, dy: ir.Value, weight: ir.Value, form: Window
) -> ir.Value:
    """dL/dx of y = conv(x, w): dL/dy, spread by the stride, convolved with the flipped kernel."""
    n = len(form.kernel)
    reach = form.reach
    pads = [r - p for r, p in zip(reach * 2, form.pads)]
    if max(form.strides) == 1 and min(pads) >= 0:
        return op.Conv(
            dy,
            flipped(op, weight, form.group),
            pads=pads,
            dilations=list(form.dilations),
            group=form.group,
        )
    extra = [0] * n
    if max(form.strides) > 1:
        lengths, out = spatial(node, node.x()), spatial(node, node.outputs[0])
        extra = [
            i + form.pads[k] + form.pads[k + n] - form.strides[k] * (o - 1) - reach[k] - 1
            for k, (i, o) in enumerate(zip(lengths, out))
        ]
    return op.ConvTranspose(
        dy,
        weight,
        strides=list(form.strides),
        pads=list(form.pads),
        dilations=list(form.dilations),
        group=form.group,
        output_padding=extra,
    )


def conv(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x * w + b: dL/dx = dL/dy ⋆ w, dL/dw = x ⋆ dL/dy, dL/db = Σ_{n,i} dL/dy."""
    dy, w = first(dys), node.x(1)
    form = window(node, dims(w)[2:])
    dx = input_adjoint(op, node, dy, w, form) if node.active[0] else None
    dw = db = None
    if node.active[1]:
        dw = weight_adjoint(
            op,
            node.x(),
            dy,
            w,
            strides=form.strides,
            pads=form.pads,
            dilations=form.dilations,
            group=form.group,
        )
    if node.has(2) and node.active[2]:
        db = _bias(op, dy)
    return [dx, dw, db]


def conv_transpose(op: Operators, node: Record, dys: Cotangents) -> Cotangents:
    """For y = x ⋆ w + b: dL/dx = dL/dy * w, dL/dw = dL/dy ⋆ x, dL/db = Σ_{n,i} dL/dy."""
    dy, w = first(dys), node.x(1)
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or node.get("output_shape", None):
        raise refuse(node, "auto_pad and output_shape; write pads and output_padding instead")
    form = window(node, dims(w)[2:])
    dx = dw = db = None
    if node.active[0]:
        dx = op.Conv(
            dy,
            w,
            strides=list(form.strides),
            pads=list(form.pads),
            dilations=list(form.dilations),
            group=form.group,
        )
    if node.active[1]:
        dw = weight_adjoint(
            op,
            dy,
            node.x(),
            w,
            strides=form.strides,
            pads=form.pads,
            dilations=form.dilations,
            group=form.group,
        )
    if node.has(2) and node.active[2]:
        db = _bias(op, dy)
    return [dx, dw, db]


def _bias(op: Operators, dy: ir.Value) -> ir.Value:
    return op.ReduceSum(dy, [0, *range(2, rank(dy))], keepdims=0)


RULES: dict[str, Rule] = {"Conv": conv, "ConvTranspose": conv_transpose}

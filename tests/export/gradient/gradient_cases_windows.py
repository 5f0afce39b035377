"""The part of the table that slides over positions: convolution, pooling, padding, resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gradient_oracle import Case

X = ("N", 3, 4)
IMAGE = ("N", 4, 6, 5)
W = (6, 4, 3, 3)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def resized(mode: str, **options: Any) -> Any:
    return lambda a: F.interpolate(a, mode=mode, **options)


CONVOLUTION = [
    Case("Conv", [IMAGE, W], torch=F.conv2d),
    Case(
        "Conv", [IMAGE, W, (6,)], {"pads": (1, 1, 1, 1)}, torch=lambda *a: F.conv2d(*a, padding=1)
    ),
    Case(
        "Conv",
        [IMAGE, (4, 1, 3, 3)],
        {"pads": (1, 1, 1, 1), "strides": (2, 2), "group": 4},
        torch=lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=4),
    ),
    Case(
        "Conv",
        [IMAGE, (6, 2, 3, 2)],
        {"pads": (2, 0, 1, 1), "dilations": (1, 2), "group": 2},
        torch=lambda x, w: F.conv2d(F.pad(x, (0, 1, 2, 1)), w, dilation=(1, 2), groups=2),
    ),
    Case(
        "Conv",
        [IMAGE, (6, 4, 1, 1)],
        {"strides": (2, 2)},
        torch=lambda x, w: F.conv2d(x, w, None, 2),
    ),
    Case(
        "Conv",
        [IMAGE, (6, 4, 1, 1)],
        {"pads": (1, 1, 1, 1)},
        torch=lambda x, w: F.conv2d(x, w, None, 1, 1),
    ),
    Case(
        "Conv",
        [("N", 4, 9), (6, 2, 3), (6,)],
        {"group": 2},
        torch=lambda *a: F.conv1d(*a, groups=2),
    ),
    Case(
        "Conv",
        [("N", 2, 4, 5, 3), (4, 2, 2, 3, 1), (4,)],
        {"pads": (1, 1, 0, 1, 1, 0)},
        torch=lambda *a: F.conv3d(*a, padding=(1, 1, 0)),
    ),
    Case(
        "Conv",
        [IMAGE, W],
        {"auto_pad": "SAME_UPPER", "strides": (2, 2)},
        torch=lambda x, w: F.conv2d(F.pad(x, (1, 1, 0, 1)), w, stride=2),
    ),
    Case(
        "Conv",
        [IMAGE, (6, 4, 2, 2)],
        {"auto_pad": "SAME_LOWER"},
        torch=lambda x, w: F.conv2d(F.pad(x, (1, 0, 1, 0)), w),
    ),
    Case("Conv", [IMAGE, W], {"auto_pad": "VALID"}, torch=F.conv2d),
    Case(
        "Conv",
        [("N", 4, 24, 24), (6, 2, 9, 9)],
        {"strides": (5, 5), "group": 2},
        torch=lambda x, w: F.conv2d(x, w, stride=5, groups=2),
    ),
    Case("ConvTranspose", [IMAGE, (4, 3, 3, 3), (3,)], torch=F.conv_transpose2d),
    Case(
        "ConvTranspose",
        [IMAGE, (4, 3, 3, 3), (6,)],
        {"strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 1), "group": 2},
        torch=lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2),
    ),
    Case(
        "ConvTranspose",
        [IMAGE, (4, 3, 3, 3)],
        {"dilations": (2, 1)},
        torch=lambda x, w: F.conv_transpose2d(x, w, dilation=(2, 1)),
    ),
]

POOLING = [
    Case("AveragePool", [IMAGE], {"kernel_shape": (2, 2)}, torch=lambda a: F.avg_pool2d(a, 2, 1)),
    Case(
        "AveragePool",
        [IMAGE],
        {"kernel_shape": (2, 2), "strides": (2, 2)},
        torch=lambda a: F.avg_pool2d(a, 2),
    ),
    Case(
        "AveragePool",
        [IMAGE],
        {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 1, 1, 1)},
        torch=lambda a: F.avg_pool2d(a, (3, 2), (2, 1), 1, count_include_pad=False),
    ),
    Case(
        "AveragePool",
        [IMAGE],
        {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 1},
        torch=lambda a: F.avg_pool2d(a, 3, 1, 1),
    ),
    Case(
        "AveragePool",
        [("N", 3, 7)],
        {"kernel_shape": (3,), "strides": (1,), "auto_pad": "SAME_UPPER"},
        torch=lambda a: F.avg_pool1d(F.pad(a, (1, 1)), 3, 1) / F.avg_pool1d(MASK7, 3, 1),
    ),
    Case(
        "MaxPool",
        [IMAGE],
        {"kernel_shape": (2, 2), "strides": (2, 2)},
        torch=lambda a: F.max_pool2d(a, 2),
    ),
    Case(
        "MaxPool",
        [IMAGE],
        {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
        torch=lambda a: F.max_pool2d(a, 3, 2, 1),
    ),
    Case(
        "MaxPool",
        [("N", 3, 9)],
        {"kernel_shape": (3,), "dilations": (2,)},
        torch=lambda a: F.max_pool1d(a, 3, 1, 0, 2, return_indices=True),
        n_outputs=2,
    ),
    Case(
        "MaxPool",
        [IMAGE],
        {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1},
        torch=lambda a: F.max_pool2d(a, 2, ceil_mode=True),
    ),
]
MASK7 = F.pad(torch.ones(1, 3, 7), (1, 1))
FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
SAMPLING = [
    Case("Pad", [X, i64(0, 1, 2, 0, 0, 1)], torch=lambda a: F.pad(a, (2, 1, 1, 0))),
    Case(
        "Pad",
        [X, i64(1, -1), np.array(3.0, np.float32), i64(2)],
        torch=lambda a: F.pad(a, (1, -1), value=3.0),
    ),
    Case("Pad", [X, i64(-1, 0), None, i64(-1)], torch=lambda a: F.pad(a, (-1, 0))),
    Case(
        "Pad",
        [IMAGE, i64(0, 0, 2, 1, 0, 0, 1, 3)],
        {"mode": "reflect"},
        torch=lambda a: F.pad(a, (1, 3, 2, 1), "reflect"),
    ),
    Case(
        "Pad",
        [IMAGE, i64(2, 1), None, i64(1)],
        {"mode": "edge"},
        torch=lambda a: torch.cat([a[:, :1]] * 2 + [a, a[:, -1:]], 1),
    ),
    Case(
        "Resize",
        [IMAGE, None, f32(1, 1, 2, 3)],
        {"mode": "nearest", **FLOOR},
        torch=resized("nearest", scale_factor=(2, 3)),
    ),
    Case(
        "Resize",
        [IMAGE, None, f32(1, 1, 1.5, 0.6)],
        {"mode": "nearest", **FLOOR},
        torch=resized("nearest", scale_factor=(1.5, 0.6)),
    ),
    Case(
        "Resize",
        [IMAGE, None, f32(1, 1, 2, 2)],
        {"mode": "linear"},
        torch=resized("bilinear", scale_factor=2),
    ),
    Case(
        "Resize",
        [IMAGE, None, None, i64(9, 4)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners", "axes": (2, 3)},
        torch=resized("bilinear", size=(9, 4), align_corners=True),
    ),
    Case(
        "Resize",
        [IMAGE, None, f32(1, 1, 2, 2)],
        {"mode": "cubic", "cubic_coeff_a": -0.75},
        torch=resized("bicubic", scale_factor=2),
    ),
]

WINDOWS = [*CONVOLUTION, *POOLING, *SAMPLING]

"""From a torch module to an ONNX graph; with the reference module the only import of torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx_ir as ir
import torch

from tta.errors import ExportError

TRACE_OPSET = 23  # the first where every norm layer is one operator; canonical() brings it to 18


def trace(model: torch.nn.Module, example: object, input_name: str = "input") -> ir.Model:
    """The module in evaluation mode as an ONNX graph with a symbolic batch axis.

    Args:
        model: the trained module; it takes one tensor and returns one tensor or a tuple of them.
        example: an input ``(N, ...)`` of the right shape and dtype; its values do not matter.
        input_name: name of the graph's input.

    Raises:
        ExportError: torch cannot trace the module; its own message follows.
    """
    model = model.eval()
    if not isinstance(example, torch.Tensor) or example.ndim < 2 or not len(example):
        raise ExportError(
            f"the example must be a tensor (N, ...), but is {type(example).__name__}"
            + (f" of shape {tuple(example.shape)}" if isinstance(example, torch.Tensor) else "")
        )
    if not example.is_floating_point():
        raise ExportError(f"the example must hold floats, but holds {example.dtype}")
    if len(example) == 1:  # torch specializes a batch of one to the constant 1
        example = torch.cat([example, example])
    batch = torch.export.Dim("N", min=1, max=1 << 20)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                optimize=False,
                opset_version=TRACE_OPSET,
                input_names=[input_name],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except Exception as error:
        raise ExportError(
            f"torch could not trace {type(model).__name__}: {_last(error)}"
        ) from error
    if program is None:
        raise ExportError(f"torch returned no graph for {type(model).__name__}")
    n = program.model.graph.inputs[0].shape
    if n is not None and isinstance(n[0], int):
        raise ExportError(
            f"{type(model).__name__} works for batches of {n[0]} only: write -1 or x.shape[0] where "
            "it reshapes or expands the batch axis"
        )
    return program.model


def outputs(model: torch.nn.Module, x: Sequence[object]) -> list[object]:
    """Outputs of the module in evaluation mode as numpy arrays, in the graph's order."""
    with torch.no_grad():
        out = model.eval()(torch.as_tensor(x))
    return [o.numpy() for o in (out if isinstance(out, tuple | list) else (out,))]


def _last(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter about packages that nobody asked for off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

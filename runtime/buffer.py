"""Buffers as a stream takes them: made from a text, checked against a bundle, their weights in each step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tta import registry, tasks
from tta.errors import TtaError
from tta.manifest import Manifest
from tta.protocols import Buffer, Run
from tta.records import Array, Step
from tta.runtime.options import fit

STEP = "step/"  # the graphs that have an objective, and so weights of frames


def make_buffer(
    given: Buffer | str, batch: int, manifest: Manifest, sampled: bool = False
) -> Buffer:
    """The buffer that ``name?option=value`` names; one whose ``size`` has no default takes ``batch``.

    Args:
        given: the text, or a buffer.
        batch: frames a step.
        manifest: of the model whose answers it will be given.
        sampled: whether rounds are on the statistics of single frames, which no buffer chooses.

    Raises:
        NotFoundError: unknown name or option.
        TtaError: a value of the wrong type or size, or a buffer that does not suit the model.
    """
    if isinstance(given, str):
        name, _, query = given.partition("?")
        made = registry.load("tta.buffers", name)
        size = inspect.signature(made).parameters.get("size")
        asks = size is not None and size.default is size.empty and "size" not in _keys(query)
        options = fit(
            made, f"buffer {name!r}", [], query, {"size": batch} if asks else {}, TtaError
        )
        buffer: Buffer = made(**options)
    else:
        buffer, name = given, type(given).__name__.lower()
    if buffer.selects and "class" not in tasks.load(manifest.task).gives:
        raise TtaError(
            f"buffer {name!r} chooses frames by their class probabilities, but the task of {manifest.name} "
            f"is {manifest.task}: take --buffer batch or window"
        )
    if sampled and not buffer.partition:
        raise TtaError(
            f"--every learns from the statistics of single frames, so buffer {name!r} would choose none: "
            "leave one of them out"
        )
    return buffer


def partitions(given: Buffer | str) -> bool:
    """Whether a buffer hands out each frame once and in order."""
    found = (
        registry.load("tta.buffers", given.partition("?")[0]) if isinstance(given, str) else given
    )
    return bool(found.partition)


def _keys(query: str) -> list[str]:
    return [item.partition("=")[0] for item in query.split("&")]


@dataclass(frozen=True)
class Weighted:
    """``Run`` for a round whose frames weigh differently: multiplies each step's ``sample_weight`` by theirs.

    So a method need not know of the buffer. Runs on another number of frames than the round's stay as
    they are.
    """

    run: Run
    weight: Array

    def __call__(self, graph: str, batch: Array, slots: Mapping[str, Array], **inputs: Any) -> Step:
        """See ``Run``."""
        if graph.startswith(STEP) and len(batch) == len(self.weight):
            given = inputs.get("sample_weight")
            inputs["sample_weight"] = self.weight * np.float32(1 if given is None else given)
        return self.run(graph, batch, slots, **inputs)


def weighted(run: Run, weight: Array | None) -> Run:
    """``run`` itself where all frames count alike."""
    return run if weight is None else Weighted(run, weight)

"""What a step of each method costs on a bundle, in turn with plain inference on the same frames.

Time is that of the CPU, one thread: what else the machine does then counts less.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.evaluation.material import Material
from tta.records import Array, State
from tta.runtime.method import check_coupling, check_needs, make_adapter, source_state
from tta.runtime.session import AdaptSession, InferSession


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a method.

    Attributes:
        ms: of CPU time a frame, step and answer together.
        ratio: to plain inference on the same frames.
        state_kib: the most that a state held.
    """

    ms: float
    ratio: float
    state_kib: float


def measured(
    bundle: str, data: str, batch: int, rounds: int, names: Sequence[str]
) -> tuple[str, dict[str, Cost | str]]:
    """The model's name, and each method's cost, or why it has none."""
    opened = Bundle(bundle)
    material = Material(opened, data, batch * (rounds + 1))
    items = np.random.default_rng(0).permutation(len(material.labels))
    batches = [
        material.inputs(items[np.arange(k * batch, (k + 1) * batch) % len(items)], "none", 0)
        for k in range(rounds + 1)
    ]
    infer, adapting = InferSession(opened), AdaptSession(opened)
    found: dict[str, Cost | str] = {}
    for name in names:
        try:
            method = make_adapter(name)
            check_needs(method, opened)
            check_coupling(method, opened, batch)
            found[name] = _cost(method, opened, infer, adapting.run, batches)
        except TtaError as error:
            found[name] = f"does not run: {str(error).partition(':')[0]}"
    return opened.manifest.name, found


def _cost(method: Any, bundle: Bundle, infer: InferSession, run: Any, batches: list[Array]) -> Cost:
    state = source_state(method, bundle)
    times: list[float] = []
    ratios: list[float] = []
    most = size(state)
    for number, x in enumerate(batches):
        plain = step = 0.0
        for turn in (0, 1) if number % 2 else (1, 0):
            began = time.process_time()
            if turn:
                infer.run(x)
                plain = time.process_time() - began
            else:
                state, _ = method.adapt(state, x, run)
                step = time.process_time() - began
        most = max(most, size(state))
        if number:  # the first one loads graphs and warms up
            times.append(1e3 * step / len(x))
            ratios.append(step / plain)
    return Cost(median(times), median(ratios), most / 1024)


def size(state: State) -> int:
    """Bytes of slots and memory, arrays that are the same counted once."""
    held: dict[int, int] = {}
    parts: tuple[Mapping[str, Array], ...] = (state.slots, state.memory)
    for part in parts:
        for array in part.values():
            held[array.__array_interface__["data"][0]] = array.nbytes
    return sum(held.values())

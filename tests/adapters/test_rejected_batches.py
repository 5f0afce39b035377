"""A batch of which no frame is learned from takes no optimizer step, as in torch without a gradient."""

import numpy as np
import pytest

from tests.adapters.test_against_torch import Optimizer, start, stream
from tta.adapters.eta import Eta
from tta.adapters.sar import Sar

NAME = "fashion:factory"
BLANK = (1, 2, 4)  # batches of which every frame's entropy is above the margin


def fed():
    batches = stream(NAME)[:7]
    return [0 * batch if k in BLANK else batch for k, batch in enumerate(batches)]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("make", "runs"),
    [(lambda **o: Eta(d=1.0, **o), 2), (lambda **o: Sar(least=0.0, **o), 4)],
    ids=["eta", "sar"],
)
def test_no_step_is_counted(make, runs, optimizer):
    adapter = make(optimizer=optimizer, lr=1e-3)
    state, run = start(NAME, adapter)
    theirs = Optimizer(optimizer, 1e-3)
    for k, batch in enumerate(fed()):
        before, run.steps = state, []
        state, _ = adapter.adapt(before, batch, run)
        assert state.step == before.step + 1
        if k in BLANK:
            assert len(run.steps) == 1  # the look alone
            kept = [n for n in before.memory if n.startswith(("adam.", "sgd."))]
            assert kept and all(np.array_equal(state.memory[n], before.memory[n]) for n in kept)
            trained = [n for n in state.slots if n.endswith((".scale", ".bias"))]
            assert all(np.array_equal(state.slots[n], before.slots[n]) for n in trained)
            continue
        assert len(run.steps) == runs
        last = run.steps[-1].gradients
        gradients = {n: g for n, g in last.items() if n.endswith((".scale", ".bias"))}
        for slot, value in theirs.step(before.slots, gradients).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot

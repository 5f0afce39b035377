"""RoTTA against the published rule in torch, float64, step by step from the same state."""

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, close, start, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import bundle, model, session
from tta.adapters._augment import strong_view
from tta.adapters.rotta import Rotta
from tta.errors import TtaError
from tta.runtime.buffer import weighted

ALPHA, NU, LR = 0.05, 1e-3, 1e-3


def robust(slots, twin):
    """Mean and var of each batch norm after its batch: (1-α)·old + α·batch."""
    found = {}
    for layer, (mean, var) in twin.moments.items():
        for name, value in ((f"{layer}.mean", mean), (f"{layer}.var", var)):
            if name in slots:
                found[name] = (1 - ALPHA) * slots[name].astype(np.float64) + ALPHA * value
    return found


@pytest.mark.parametrize("name", ["fashion:factory", "sensor_cnn:factory"])
def test_rotta(name):
    adapter = Rotta()
    state, run = start(name, adapter)
    teacher, student = (Twin(model(name)[0], HEBBIAN[name]) for _ in range(2))
    teacher.alpha = student.alpha = ALPHA
    theirs, own = Optimizer("adam", LR), dict(state.slots)
    leaves = {k: v for k, v in student.leaves().items() if k.endswith((".scale", ".bias"))}
    rng, misses = np.random.default_rng(0), 0
    for batch in stream(name)[:12]:
        weight = rng.uniform(0, 1, len(batch)).astype(np.float32)
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, weighted(run, weight))

        teacher.load(before.slots)
        with torch.no_grad():
            logits = teacher.net(torch.tensor(batch, dtype=torch.float64))
        assert close(outputs["logits"], logits.numpy())
        target = torch.softmax(logits, 1)
        student.load(own)
        view = torch.tensor(strong_view(batch, before.step), dtype=torch.float64)
        entropy = torch.nn.functional.cross_entropy(student.net(view), target, reduction="none")
        loss = (torch.tensor(weight, dtype=torch.float64) * entropy).mean()
        want = torch.autograd.grad(loss, list(leaves.values()))
        got = {k: run.steps[1].gradients[k] for k in leaves}
        misses += misfit(got, {k: g.numpy() for k, g in zip(leaves, want)})[0] > 3

        learned = theirs.step(own, got)
        for slot, value in learned.items():
            assert np.abs(state.memory[f"student.{slot}"] - value).max() <= 1e-6, slot
            slow = (1 - NU) * before.slots[slot].astype(np.float64) + NU * np.asarray(value)
            assert np.abs(state.slots[slot] - slow).max() <= 1e-6, slot
        for slots, twin, head in (
            (before.slots, teacher, state.slots),
            (own, student, {k.removeprefix("student."): v for k, v in state.memory.items()}),
        ):
            for slot, value in robust(slots, twin).items():
                assert np.allclose(head[slot], value, rtol=1e-4, atol=1e-5), slot
        mine = {k: v for k, v in state.memory.items() if k.startswith("student.")}
        own = {**state.slots, **{k.removeprefix("student."): v for k, v in mine.items()}}
    assert misses <= 2  # a zero of a ReLU may be crossed


def test_the_target_is_an_input_that_must_be_given():
    name = "fashion:factory"
    batch, slots = stream(name)[0], bundle(name).source_slots
    with pytest.raises(TtaError, match="has the input 'target', which its method must give"):
        session(name).run("step/cross_entropy", batch, slots)


def test_a_strong_view_is_another_one_for_another_seed():
    batch = stream("fashion:factory")[0]
    one, again, other = (strong_view(batch, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert one.dtype == batch.dtype and one.shape == batch.shape and not np.array_equal(one, batch)


@pytest.mark.parametrize("option", ["alpha", "nu"])
def test_bad_options(option):
    with pytest.raises(TtaError, match=f"{option} is a share"):
        Rotta(**{option: 0})

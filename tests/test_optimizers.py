"""Optimizers as functions, against torch.optim over fifty steps."""

import numpy as np
import pytest
import torch

from tta.errors import TtaError
from tta.optimizers import descend

SHAPES = {"a.scale": (7,), "a.bias": (1,), "b.weight": (3, 2, 2)}


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in SHAPES.items()}


def gradients(step):
    """Of several sizes, and once exactly zero."""
    scale = np.float32(10.0 ** (step % 7 - 6)) if step % 11 else np.float32(0)
    return {k: scale * v for k, v in drawn(step + 1).items()}


CASES = {
    "sgd": (lambda p: torch.optim.SGD(p, 0.03), {"kind": "sgd", "lr": 0.03, "momentum": 0.0}),
    "momentum": (
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
        {"kind": "sgd", "lr": 0.01, "momentum": 0.9},
    ),
    "adam": (lambda p: torch.optim.Adam(p, 1e-3), {"kind": "adam", "lr": 1e-3}),
    "other betas": (
        lambda p: torch.optim.Adam(p, 0.05, betas=(0.5, 0.9), eps=1e-4),
        {"kind": "adam", "lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-4},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_as_torch(case):
    make, options = CASES[case]
    slots, memory = drawn(), {}
    theirs = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in slots.items()}
    optimizer = make(list(theirs.values()))
    for step in range(50):
        found = gradients(step)
        for k, parameter in theirs.items():
            parameter.grad = torch.tensor(found[k])
        optimizer.step()
        values, memory = descend(slots=slots, gradients=found, memory=memory, **options)
        slots = {**slots, **values}
        for k, parameter in theirs.items():
            assert slots[k].dtype == np.float32
            want = parameter.detach().numpy()
            assert np.abs(slots[k] - want).max() <= 1e-6


@pytest.mark.parametrize("case", CASES)
def test_arguments_stay_as_they_are(case):
    _, options = CASES[case]
    slots, found = drawn(), gradients(1)
    _, memory = descend(slots=slots, gradients=found, memory={}, **options)
    given = [slots, found, memory]
    before = [{k: v.copy() for k, v in each.items()} for each in given]
    for each in given:
        for value in each.values():
            value.flags.writeable = False
    values, _ = descend(slots=slots, gradients=found, memory=memory, **options)
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(given, before) for k in b)
    assert values.keys() == found.keys()


def test_slots_without_a_gradient_do_not_move():
    slots = drawn()
    values, memory = descend("adam", slots, {"a.bias": np.ones(1, np.float32)}, {}, 1e-3)
    assert list(values) == ["a.bias"]
    assert set(memory) == {"adam.step", "adam.m.a.bias", "adam.v.a.bias"}


@pytest.mark.parametrize("case", CASES)
def test_no_gradient_is_no_step(case):
    """As in torch, where parameters without a gradient are skipped: the next step is as if nothing was."""
    make, options = CASES[case]
    slots, memory = drawn(), {}
    theirs = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in slots.items()}
    optimizer = make(list(theirs.values()))
    for step in range(1, 9):
        found = {} if step in (3, 4, 6) else gradients(step)
        for k, parameter in theirs.items():
            parameter.grad = torch.tensor(found[k]) if found else None
        optimizer.step()
        values, more = descend(slots=slots, gradients=found, memory=memory, **options)
        slots, memory = {**slots, **values}, {**memory, **more}
        for k, parameter in theirs.items():
            assert np.abs(slots[k] - parameter.detach().numpy()).max() <= 1e-6


def test_memories_of_others_are_ignored():
    slots, found = drawn(), gradients(2)
    foreign = {"ema.count": np.array(3), "sgd.a.bias": np.full(1, 9, np.float32)}
    a, _ = descend("adam", slots, found, {}, 1e-3)
    b, kept = descend("adam", slots, found, foreign, 1e-3)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not set(kept) & set(foreign)


def test_an_unknown_optimizer():
    with pytest.raises(TtaError, match="no optimizer named 'adagrad'; known: adam, sgd"):
        descend("adagrad", {}, {}, {}, 1e-3)

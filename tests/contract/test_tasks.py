"""Every file in tta/tasks/ keeps the contract of a task."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.test_governor import manifest
from tta import tasks
from tta.errors import TtaError
from tta.export.reference import TorchOperators

N = 6


def boxes(rng):
    """Two candidates of which the first is an object of class 1, and its truth."""
    out = np.full((N, 3, 4 + 2), -6.0)
    out[:, :, :4] = rng.uniform(10, 20, (N, 3, 4))
    out[:, 0, 5] = 4.0
    x, y, w, h = out[:, 0, :4].T
    truth = np.full((N, 2, 5), -1.0)
    truth[:, 0] = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2, np.ones(N)], 1)
    return out, truth


def unit(rng):
    x = rng.normal(size=(N, 5))
    return x, np.arange(N) % 3


def classes(rng, *shape):
    truth = rng.integers(0, 3, (N, *shape))
    return np.moveaxis(8.0 * np.eye(3)[truth], -1, 1), truth


EXAMPLES = {  # outputs that are right, and their truth
    "classify": lambda rng: classes(rng),
    "segment": lambda rng: classes(rng, 4, 5),
    "multilabel": lambda rng: (lambda t: (6.0 * (2 * t - 1), t))(rng.integers(0, 2, (N, 4))),
    "regress": lambda rng: (lambda y: (y, y.copy()))(rng.normal(size=(N, 2))),
    "embed": unit,
    "detect": boxes,
}


@pytest.fixture(params=tasks.names())
def name(request):
    return request.param


def made(name, outputs, truth):
    """The task of a bundle with such outputs, told of the source."""
    kind = tasks.load(name)
    known = {f"task.{k}": v for k, v in kind.reference(outputs, truth).items()}
    shape = tuple(outputs.shape[1:])
    contract = dataclasses.replace(
        manifest(), task=name, outputs={kind.primary: shape, "features": (2,)}, primary=kind.primary
    )
    return tasks.of(contract, known)


@pytest.fixture
def example(name, rng):
    assert name in EXAMPLES, "a new task needs an example here"
    outputs, truth = EXAMPLES[name](rng)
    outputs = outputs.astype(np.float32)
    return made(name, outputs, truth), outputs, truth


def test_it_says_what_it_is_and_gives(name):
    kind = tasks.load(name)
    assert kind.gives and kind.gives <= set(tasks.GIVES)
    assert kind.__doc__ and kind.primary and kind.measure and kind.outputs and kind.arrays


def test_what_is_right_has_no_error_and_other_answers_have_some(example, rng):
    task, outputs, truth = example
    checked = task.checked(truth, N)
    assert np.allclose(task.error(outputs, checked), 0, atol=1e-6)
    wrong = outputs[rng.permutation(N)] if "embedding" in task.gives else -outputs
    assert task.error(wrong, checked).mean() > 0.3


def test_answers_agree_with_themselves_and_less_with_others(example):
    task, outputs, _ = example
    same, other = task.agreement(outputs, outputs), task.agreement(outputs, -outputs)
    assert same.shape == (N,) and np.allclose(same, 1, atol=1e-6)
    assert (other >= 0).all() and (other <= 1).all() and other.mean() < 0.8


def test_confidence_is_a_share_or_nan_and_answers_are_json(example):
    task, outputs, truth = example
    sure = task.confidence(outputs)
    assert sure.shape == (N,)
    assert np.isnan(sure).all() or ((sure >= 0) & (sure <= 1 + 1e-9)).all()
    for one in outputs:
        json.dumps(task.decode(one), allow_nan=False)
    json.dumps(task.details(outputs, task.checked(truth, N)))


def test_scores_are_probabilities_and_the_graph_has_their_entropy(example, name):
    task, outputs, _ = example
    log_p = task.log_p(outputs)
    if "scores" not in task.gives:
        assert log_p.shape[1] == 0 and np.isnan(task.entropies(outputs)).all()
        with pytest.raises(TtaError, match="no entropy"):
            tasks.load(name).entropy(None, {})
        return
    assert np.allclose(np.exp(log_p).sum(1), 1)
    assert np.isclose(task.used(outputs).sum(), 1)
    some = {task.primary: torch.from_numpy(outputs / 3)}
    written = tasks.load(name).entropy(TorchOperators(), some).numpy()
    assert np.allclose(written, task.entropies(outputs / 3), rtol=1e-4, atol=1e-6)


def test_outputs_that_are_not_finite_are_wrong(example):
    task, outputs, truth = example
    if not task.share:
        return
    broken = outputs.copy()
    broken[0] = np.nan
    with np.errstate(invalid="ignore"):
        assert task.error(broken, task.checked(truth, N))[0] == 1


def test_shapes_and_truths_that_do_not_fit_are_refused_in_a_sentence(example):
    task, outputs, truth = example
    assert task.unfit(tuple(outputs.shape[1:]), 0) == ""
    if "values" not in task.gives:
        assert "this one is (N, 2, 3, 4, 5)" in task.unfit((2, 3, 4, 5), 0)
    with pytest.raises(TtaError, match=r"targets of model|a target is"):
        task.checked(np.asarray(truth)[:-1], N)

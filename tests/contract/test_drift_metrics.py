"""Every file in tta/drift/ keeps the contract of a drift metric."""

import dataclasses
import math

import numpy as np
import pytest

from tests.test_governor import SOURCE, manifest
from tests.test_governor import view as moments
from tta import registry
from tta.records import Slot, Step, View

NAMES = registry.names("tta.drift")
D, K = 8, 4


def view(rng, n=32, shift=0.0, spread=1.0):
    logits = 3 * rng.standard_normal((n, K)) * spread + shift * np.eye(K)[0]
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = (e / e.sum(1, keepdims=True)).astype(np.float32)
    features = (rng.standard_normal((n, D)) + shift).astype(np.float32)
    inputs = (rng.standard_normal((4, 1, 8, 8)) * spread + shift).astype(np.float32)
    return View(features, p, np.zeros((n, 0)), -(p * np.log(p + 1e-12)).sum(1), p.max(1), inputs)


def regression(v):
    """The same frames of a model that answers a number."""
    n = len(v)
    nothing = np.full(n, np.nan)
    answer = np.maximum(v.features[:, :1], 0) * 2
    return View(v.features, np.zeros((n, 0)), answer, nothing, nothing, v.inputs)


def known(task):
    rng = np.random.default_rng(5)
    source = view(rng, 600)
    source = regression(source) if task == "regress" else source
    found = dict(SOURCE)
    for name in NAMES:
        make = getattr(registry.load("tta.drift", name), "reference", None)
        targets = rng.integers(0, K, 600) if task == "classify" else None
        for key, value in (make(source, targets) if make else {}).items():
            found[f"drift.{name}.{key}"] = value
    return found


TASKS = {task: known(task) for task in ("classify", "regress")}
SLOT = Slot("first.scale", "scale", "first", (3,))


def made(name, task="classify"):
    contract = dataclasses.replace(manifest(), task=task, slots=(SLOT,))
    return registry.load("tta.drift", name)(contract, TASKS[task])


def fed(metric, task="classify", shift=0.0, blocks=6, seed=0):
    rng = np.random.default_rng(seed)
    for k in range(blocks):
        v = view(rng, shift=shift)
        metric.observe(regression(v) if task == "regress" else v)
        metric.observe_step(moments(shift, seed=seed + k))
        if hasattr(metric, "observe_state"):
            source = {"first.scale": np.ones(3)}
            metric.observe_state({"first.scale": np.ones(3) * (1 + shift)}, source)
    return metric


def task_of(name):
    return "regress" if name == "surprise" else "classify"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_seen_is_no_score(name):
    metric = made(name)
    assert math.isnan(metric.score()) and dict(metric.layers()) == {}


@pytest.mark.parametrize("name", NAMES)
def test_it_scores_and_tells_a_shift(name):
    task = task_of(name)
    calm, moved = fed(made(name, task), task), fed(made(name, task), task, shift=2.0)
    assert math.isfinite(calm.score()) and math.isfinite(moved.score())
    assert abs(moved.score() - calm.score()) > 0.01 * abs(calm.score()) or name == "coverage"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_finite_on_constant_frames_or_says_nothing(name, task):
    metric = made(name, task)
    v = view(np.random.default_rng(0))
    same = View(*(np.repeat(getattr(v, f.name)[:1], 4, 0) for f in dataclasses.fields(v)))
    same = dataclasses.replace(same, inputs=np.zeros((2, 1, 8, 8), np.float32))
    for _ in range(50):
        metric.observe(regression(same) if task == "regress" else same)
        metric.observe_step(Step({}, moments(0.0).moments))
    assert not math.isinf(metric.score())


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets(name):
    task = task_of(name)
    metric = fed(made(name, task), task, shift=2.0, seed=9)
    metric.reset()
    assert math.isnan(metric.score()) and dict(metric.layers()) == {}
    assert fed(metric, task).score() == fed(made(name, task), task).score()


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_nothing_that_it_sees(name):
    metric = made(name)
    v = view(np.random.default_rng(0))
    for f in dataclasses.fields(v):
        getattr(v, f.name).flags.writeable = False
    before = {k: a.copy() for k, a in TASKS["classify"].items()}
    metric.observe(v)
    metric.observe_step(moments(0.3))
    metric.score()
    for key, value in TASKS["classify"].items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_no_view_of_what_it_saw(name):
    """The monitor writes the next block into the same rows."""
    task = task_of(name)
    metric, rng = made(name, task), np.random.default_rng(0)
    v = view(rng)
    metric.observe(regression(v) if task == "regress" else v)
    score = metric.score()
    for f in dataclasses.fields(v):
        getattr(v, f.name)[...] = 0
    assert metric.score() == score or (math.isnan(score) and math.isnan(metric.score()))


@pytest.mark.parametrize("name", NAMES)
def test_an_uncalibrated_bundle_or_another_shape_raises_nothing(name):
    bare = registry.load("tta.drift", name)(manifest(), {})
    fed(bare)
    metric, v = made(name), view(np.random.default_rng(0))
    metric.observe(dataclasses.replace(v, features=v.features[:, :3], inputs=np.zeros((0,))))
    metric.observe(dataclasses.replace(v, probabilities=np.zeros((len(v), 0))))
    metric.observe_step(Step({}))

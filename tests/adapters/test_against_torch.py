"""Adapters over twenty steps against plain torch: its autograd, its optimizers, its batch norms.

Teacher-forced: every step starts both sides from the same state, since float32 and float64 drift
apart by 1e-3 over twenty steps of Adam all by themselves.
"""

import functools

import numpy as np
import pytest
import torch

from tests.autograd import HEBBIAN, Plastic, Twin, misfit
from tests.bundles import batches, bundle, model, session
from tta.adapters.bn_stats import BnStats
from tta.adapters.nhl import Nhl
from tta.adapters.none import NoAdaptation
from tta.adapters.tent import Tent

MODELS = ("fashion:factory", "sensor_cnn:factory")
STEPS, N = 20, 12


@functools.cache
def stream(name, steps=STEPS, n=N):
    """Batches of a stream whose contrast fades, whose level rises and that gets noisier."""
    rng = np.random.default_rng(1)
    found = []
    for k in range(steps):
        x = batches(name, n, seed=k)
        share = (k + 1) / steps
        x = (1 - 0.4 * share) * x + 0.5 * share + 0.2 * share * rng.normal(size=x.shape)
        found.append(x.astype(np.float32))
    return found


class Recorded:
    """``AdaptSession.run`` that keeps what each run said."""

    def __init__(self, name):
        self.session, self.steps = session(name), []

    def __call__(self, graph, batch, slots, **inputs):
        self.steps.append(self.session.run(graph, batch, slots, **inputs))
        return self.steps[-1]


def start(name, adapter):
    opened = bundle(name)
    return adapter.init(opened.manifest, opened.source_slots), Recorded(name)


def close(got, want, limit=1e-4):
    return np.abs(got - want).max() <= limit * max(1.0, np.abs(want).max())


def gradients_agree(name, slots, batch, step, **twin_options):
    """By the tolerance of the step contract, or nearer to float64 than three times torch's float32."""
    truth = Twin(model(name)[0], HEBBIAN[name])
    truth.load(slots)
    want = truth(batch, **twin_options)
    error, where = misfit(step.gradients, want.gradients)
    if error > 1:  # a ReLU's zero was crossed
        single = Twin(model(name)[0], HEBBIAN[name], torch.float32)
        single.load(slots)
        theirs = misfit(single(batch, **twin_options).gradients, want.gradients)[0]
        return want, error, theirs, where
    return want, error, 0.0, where


class Optimizer:
    """torch.optim on copies of the slots, fed with our gradients."""

    def __init__(self, kind, lr, momentum=0.9):
        self.kind, self.options = kind, {"lr": lr}
        if kind == "sgd":
            self.options["momentum"] = momentum
        self.parameters = {}

    def step(self, slots, gradients):
        if not self.parameters:
            self.parameters = {k: torch.nn.Parameter(torch.tensor(slots[k])) for k in gradients}
            made = torch.optim.SGD if self.kind == "sgd" else torch.optim.Adam
            self.made = made(list(self.parameters.values()), **self.options)
        for k, parameter in self.parameters.items():
            parameter.data = torch.tensor(slots[k])
            parameter.grad = torch.tensor(gradients[k])
        self.made.step()
        return {k: p.detach().numpy() for k, p in self.parameters.items()}


def moving(history, momentum, key):
    """The moving mixture of all batches so far, by first and second moments."""
    mean = second = None
    for k, moments in enumerate(history, 1):
        m, v = (np.asarray(a, np.float64) for a in moments[key])
        share = max(momentum, 1 / k)
        mean = m if mean is None else (1 - share) * mean + share * m
        new = v + m**2
        second = new if second is None else (1 - share) * second + share * new
    return mean, second - mean**2


def statistics_agree(state, history, momentum):
    for layer in history[0]:
        if f"{layer}.mean" not in state.slots:
            continue
        mean, var = moving(history, momentum, layer)
        assert np.allclose(state.slots[f"{layer}.mean"], mean, rtol=1e-3, atol=1e-4)
        assert np.allclose(state.slots[f"{layer}.var"], var, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [*MODELS, "resnet20:factory"])
def test_tent(name, optimizer):
    adapter = Tent(lr=1e-3, optimizer=optimizer)
    state, run = start(name, adapter)
    theirs, history, misses = Optimizer(optimizer, 1e-3), [], 0
    for batch in stream(name)[: 8 if name.startswith("resnet") else STEPS]:
        before = state
        state, outputs = adapter.adapt(before, batch, run)
        step = run.steps[-1]
        want, error, noise, where = gradients_agree(name, before.slots, batch, step)
        assert close(outputs["logits"], want.outputs["logits"])
        misses += error > max(1.0, 3 * noise)
        trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
        history.append(want.moments)
        statistics_agree(state, history, 0.1)
        frozen = [k for k in state.slots if k.endswith((".gain", ".shift", ".weight"))]
        assert all(np.array_equal(state.slots[k], before.slots[k]) for k in frozen)
    assert misses <= 2, where  # crossings of a zero; a wrong gradient misses on every batch


@pytest.mark.parametrize(
    "options",
    [
        {"eta": 1e-2, "mode": "all", "predict": "pre"},
        {"eta": 1e-2, "mode": "first", "predict": "post", "anti": True},
        {"eta": 5e-2, "mode": "all", "predict": "post", "normalize": "mean", "optimizer": "sgd"},
        {"eta": 1e-3, "mode": "first", "predict": "pre", "t_invert": 3.0},
    ],
    ids=["all, pre", "first, post, anti", "all, post, mean, sgd", "first, pre, own temperature"],
)
@pytest.mark.parametrize("name", MODELS)
def test_nhl(name, options):
    adapter = Nhl(**options)
    state, run = start(name, adapter)
    layer = HEBBIAN[name][0]
    found = bundle(name).manifest.defaults["nhl"]["t_invert"][layer]
    plastic = Plastic(
        options["eta"],
        options.get("anti", False),
        options.get("normalize", "max") == "max",
        options.get("t_invert", found),
    )
    kind = options.get("optimizer", "adam")
    theirs, history, misses = Optimizer(kind, 1e-3), [], 0
    for batch in stream(name):
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        step = run.steps[0]
        want, error, noise, where = gradients_agree(
            name, before.slots, batch, step, plastic=plastic
        )
        misses += error > max(1.0, 3 * noise)
        assert close(step.outputs["logits"], want.outputs["logits"])
        weight = state.slots[f"{layer}.weight"]
        assert np.abs(weight - want.new[f"{layer}.weight"]).max() <= 1e-5 * np.abs(weight).max()
        ends = (".gain", ".shift") if options["mode"] == "first" else (".scale", ".bias")
        trained = {k: g for k, g in step.gradients.items() if k.endswith(ends)}
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
        others = (".scale", ".bias") if options["mode"] == "first" else (".gain", ".shift")
        assert all(
            np.array_equal(state.slots[k], before.slots[k])
            for k in state.slots
            if k.endswith(others)
        )
        history.append(want.moments)
        statistics_agree(state, history, 0.1)
        if options["predict"] == "pre":
            assert outputs is step.outputs and len(run.steps) == 1
        else:
            after = Twin(model(name)[0], HEBBIAN[name])
            after.load(state.slots)
            assert close(outputs["logits"], after(batch).outputs["logits"])
    source = bundle(name).source_slots[f"{layer}.weight"]
    norms = [np.linalg.norm(w.reshape(len(w), -1), axis=1) for w in (source, weight)]
    assert np.allclose(*norms, rtol=1e-6) and not np.array_equal(source, weight)
    assert misses <= 2, where


@pytest.mark.parametrize(
    ("options", "alpha"),
    [({}, 1.0), ({"alpha": 0.3}, 0.3), ({"alpha": 0.0}, 0.0), ({"prior": 16}, N / (N + 16))],
    ids=["batch", "alpha", "source", "prior"],
)
@pytest.mark.parametrize("name", MODELS)
def test_bn_stats(name, options, alpha):
    adapter = BnStats(momentum=0.25, **options)
    state, run = start(name, adapter)
    twin, history = Twin(model(name)[0], HEBBIAN[name]), []
    source = bundle(name).source_slots
    for batch in stream(name)[:10]:
        state, outputs = adapter.adapt(state, batch, run)
        want = twin(batch, alpha)
        assert close(outputs["logits"], want.outputs["logits"])
        history.append(want.moments)
        for layer in want.moments:
            mean, var = moving(history, 0.25, layer)
            mean = (1 - alpha) * source[f"{layer}.mean"] + alpha * mean
            var = (1 - alpha) * source[f"{layer}.var"] + alpha * var
            assert np.allclose(state.slots[f"{layer}.mean"], mean, rtol=1e-3, atol=1e-4)
            assert np.allclose(state.slots[f"{layer}.var"], var, rtol=1e-3, atol=1e-5)
    kept = [k for k in source if not k.endswith((".mean", ".var"))]
    assert all(np.array_equal(state.slots[k], source[k]) for k in kept)


@pytest.mark.parametrize("name", MODELS)
def test_first_batches_count_as_one_large_batch(name):
    """Until 1/momentum batches the moving moments of the first norm are those of all frames."""
    adapter = BnStats(momentum=0.1)
    state, run = start(name, adapter)
    for batch in stream(name)[:6]:
        state, _ = adapter.adapt(state, batch, run)
    twin = Twin(model(name)[0], HEBBIAN[name])
    first = next(iter(twin.norms))
    mean, var = twin(np.concatenate(stream(name)[:6])).moments[first]
    assert np.allclose(state.slots[f"{first}.mean"], mean, atol=1e-5)
    assert np.allclose(state.slots[f"{first}.var"], var, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_none_is_the_source_model(name):
    adapter = NoAdaptation()
    state, run = start(name, adapter)
    for batch in stream(name)[:3]:
        after, outputs = adapter.adapt(state, batch, run)
        assert after is state
        assert close(outputs["logits"], model(name)[0](torch.tensor(batch)).numpy())


@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps_of_sgd_on_their_own(name):
    """Both sides go their own way: float32 here, float64 there."""
    adapter = Tent(lr=1e-3, optimizer="sgd")
    state, run = start(name, adapter)
    twin = Twin(model(name)[0], HEBBIAN[name])
    trained = {k: v for k, v in twin.leaves().items() if k.endswith((".scale", ".bias"))}
    theirs = torch.optim.SGD(list(trained.values()), 1e-3, momentum=0.9)
    for batch in stream(name):
        state, outputs = adapter.adapt(state, batch, run)
        want = twin(batch)
        for k, v in trained.items():
            v.grad = torch.tensor(want.gradients[k])
        theirs.step()
        assert close(outputs["logits"], want.outputs["logits"], 2e-3)
    moved = max(np.abs(state.slots[k] - bundle(name).source_slots[k]).max() for k in trained)
    apart = max(np.abs(state.slots[k] - v.detach().numpy()).max() for k, v in trained.items())
    assert apart <= 0.02 * moved


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", MODELS)
def test_nhl_without_its_hebbian_part_is_tent(name, optimizer):
    nhl = Nhl(eta=0, mode="all", predict="pre", optimizer=optimizer)
    same = Tent(graph="nhl", optimizer=optimizer)
    own = Tent(optimizer=optimizer)
    (a, run), (b, _) = start(name, nhl), start(name, same)
    for batch in stream(name)[:10]:
        c, plain = own.adapt(b, batch, run)
        a, ours = nhl.adapt(a, batch, run)
        b, theirs = same.adapt(b, batch, run)
        assert a.hash == b.hash
        assert all(np.array_equal(ours[k], theirs[k]) for k in ours)
        assert close(plain["logits"], theirs["logits"], 1e-5)
        assert max(np.abs(c.slots[k] - b.slots[k]).max() for k in b.slots) <= 1e-5


@pytest.mark.parametrize("make", [Tent, Nhl, BnStats], ids=lambda c: c.__name__)
def test_reset_is_exact(make):
    adapter = make()
    state, run = start(MODELS[0], adapter)
    first, _ = adapter.adapt(state, stream(MODELS[0])[0], run)
    for batch in stream(MODELS[0])[1:3]:
        adapter.adapt(first, batch, run)
    again, _ = start(MODELS[0], adapter)
    assert again.hash == state.hash
    assert adapter.adapt(again, stream(MODELS[0])[0], run)[0].hash == first.hash

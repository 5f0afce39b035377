"""Every file in tta/adapters/ keeps the contract of an adapter."""

import importlib
import re

import numpy as np
import pytest

from tests.bundles import batches, bundle, session
from tta import registry, tasks
from tta.errors import FrameError
from tta.records import State, content_hash
from tta.runtime.method import source_state

NAMES = registry.names("tta.adapters")
MODELS = ("fashion:factory", "sensor_cnn:factory")  # BatchNorm2d on images, BatchNorm1d on windows
OTHERS = ("tasks:segment",)  # for methods that do not suit a classifier


def own(name):
    """The adapter, made anew with its defaults."""
    return registry.build("tta.adapters", name)


def sourced(adapter, model):
    return source_state(adapter, bundle(model))


def feed(model, n=8, seed=0):
    batch = batches(model, n, seed).copy()
    batch.flags.writeable = False
    return batch


def walked(adapter, model, steps=3):
    """A state some steps away from the source."""
    state = sourced(adapter, model)
    for k in range(steps):
        state, _ = adapter.adapt(state, feed(model, seed=k), session(model).run)
    return state


def models(name):
    """The models that a method is tried on."""
    unfit = tasks.refusal(name, registry.load("tta.adapters", name), "classify")
    return OTHERS if unfit else MODELS


def pytest_generate_tests(metafunc):
    if "model" in metafunc.fixturenames:
        metafunc.parametrize(("name", "model"), [(n, m) for n in NAMES for m in models(n)])
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES)


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def test_it_says_what_it_is(name):
    doc = registry.load("tta.adapters", name).__doc__
    sentence = " ".join(doc.split("\n\n")[0].split())
    assert sentence.endswith((".", ":"))
    assert "Cost:" in doc, "the docstring says what a step costs"
    if name != "none":
        assert re.search(r"\b(19|20)\d\d\b", doc), "the docstring cites no paper"
        assert importlib.import_module(registry.load("tta.adapters", name).__module__).__doc__


def test_needs_are_graphs_of_a_full_bundle(name, model):
    adapter = own(name)
    assert isinstance(adapter.needs, frozenset)
    assert adapter.needs <= set(bundle(model).manifest.provides)
    assert registry.load("tta.adapters", name).needs == adapter.needs  # export reads the class's


def test_init_is_the_source(name, model):
    one, two = own(name), own(name)
    state, again, third = sourced(one, model), sourced(one, model), sourced(two, model)
    assert isinstance(state, State)
    assert state.hash == again.hash == third.hash
    assert state.bundle == bundle(model).hash and state.step == 0 and state.parent == ""
    assert state.adapter == name
    assert same(state.slots, bundle(model).source_slots)


def test_adapt_changes_no_argument(name, model):
    adapter = own(name)
    for state in (sourced(adapter, model), walked(adapter, model)):
        batch, before = feed(model), state.hash
        pixels, values = batch.copy(), {k: v.copy() for k, v in state.slots.items()}
        memory = {k: v.copy() for k, v in state.memory.items()}
        adapter.adapt(state, batch, session(model).run)
        assert state.hash == before
        assert same(state.slots, values) and same(state.memory, memory)
        assert np.array_equal(batch, pixels)
        assert not any(v.flags.writeable for v in [*state.slots.values(), *state.memory.values()])


def test_what_comes_back_is_a_child(name, model):
    adapter = own(name)
    state = sourced(adapter, model)
    after, outputs = adapter.adapt(state, feed(model), session(model).run)
    for key, value in state.slots.items():
        assert after.slots[key].shape == value.shape and after.slots[key].dtype == value.dtype
    assert set(after.slots) == set(state.slots)
    assert not any(v.flags.writeable for v in [*after.slots.values(), *after.memory.values()])
    assert set(outputs) == set(bundle(model).manifest.outputs)
    assert all(len(v) == 8 and np.isfinite(v).all() for v in outputs.values())
    assert (after.bundle, after.adapter) == (state.bundle, state.adapter)
    if after is not state:
        assert after.step == 1 and after.parent == state.hash


def test_it_repeats(name, model):
    one = walked(own(name), model)
    two = walked(own(name), model)
    assert one.hash == two.hash and one.step == two.step


def test_it_keeps_nothing_but_its_state(name, model):
    """The same object in other streams in between gives the same step."""
    used, fresh = own(name), own(name)
    walked(used, next((m for m in models(name) if m != model), model))
    state = walked(used, model, 1)
    walked(used, model, 2)
    (a, x), (b, y) = (
        each.adapt(state, feed(model, seed=5), session(model).run) for each in (used, fresh)
    )
    assert a.hash == b.hash and same(x, y)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_small_batches(name, model, n):
    adapter = own(name)
    state = walked(adapter, model, 1)
    after, outputs = adapter.adapt(state, feed(model, n), session(model).run)
    assert all(len(v) == n and np.isfinite(v).all() for v in outputs.values())
    assert all(np.isfinite(v).all() for v in after.slots.values())


FRAMES = {
    "all zero": lambda x: 0 * x,
    "all one value": lambda x: 0 * x + 3,
    "all the same": lambda x: np.repeat(x[:1], len(x), 0),
    "very bright": lambda x: 1e4 + x,
    "tiny": lambda x: 1e-20 * x,
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("n", [1, 6])
def test_degenerate_frames_stay_finite(name, model, kind, n):
    adapter = own(name)
    state, batch = sourced(adapter, model), FRAMES[kind](feed(model, n)).astype(np.float32)
    for _ in range(4):
        state, outputs = adapter.adapt(state, batch, session(model).run)
        assert all(np.isfinite(v).all() for v in outputs.values())
    values = [*state.slots.values(), *state.memory.values()]
    assert all(np.isfinite(v).all() for v in values)
    assert all((v >= 0).all() for k, v in state.slots.items() if k.endswith(".var"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_batch_is_refused(name, model, value):
    adapter = own(name)
    state = walked(adapter, model, 1)
    before, batch = state.hash, feed(model).copy()
    batch[3, 0, 5] = value
    with pytest.raises(FrameError, match="NaN or infinity"):
        adapter.adapt(state, batch, session(model).run)
    assert state.hash == before


@pytest.mark.parametrize(
    "spoil",
    [lambda x: x[:0], lambda x: x.astype(np.float64), lambda x: x[:, :, :-1], lambda x: x[0]],
    ids=["no frames", "float64", "another shape", "no batch axis"],
)
def test_a_batch_of_another_kind_is_refused(name, model, spoil):
    adapter = own(name)
    with pytest.raises(FrameError):
        adapter.adapt(sourced(adapter, model), spoil(feed(model)), session(model).run)


def test_hashes_of_states_are_hashes_of_values(name, model):
    state = walked(own(name), model)
    assert content_hash(state.slots) == content_hash({k: v.copy() for k, v in state.slots.items()})


def test_predict_changes_only_the_answer(name, model):
    from tta.runtime.session import InferSession
    from tta.runtime.stream import prediction

    adapter = own(name)
    change = getattr(adapter, "predict", None)
    if change is None:
        return  # most methods answer with the model's own
    state = walked(adapter, model)
    outputs = InferSession(bundle(model), state.slots).run(feed(model, 1))
    given = prediction(bundle(model), {k: v[0] for k, v in outputs.items()}, 0.0)
    before = state.hash
    answer = change(given, state)
    assert state.hash == before
    assert answer.probabilities.shape == given.probabilities.shape
    assert np.isfinite(answer.probabilities).all()

"""States are values: read-only, checked, and known by a hash of what they hold."""

import dataclasses
import hashlib

import numpy as np
import pytest

from tta.records import Prediction, State, content_hash, frozen

SLOTS = {
    "a.scale": np.array([1, 2, 3], np.float32),
    "a.bias": np.array([0.5], np.float32),
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
}


def source():
    return State("bundle", "tent", frozen(SLOTS), frozen({"count": np.array(3, np.int64)}))


def test_the_hash_is_what_the_docstring_says():
    digest = hashlib.sha256()
    named = {f"slots/{k}": v for k, v in SLOTS.items()} | {"memory/count": np.array(3, np.int64)}
    for name in sorted(named):
        value = named[name]
        digest.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode() + value.tobytes())
    assert source().hash == digest.hexdigest()


def test_a_known_hash():
    """Saved states name it: it must not change from one version to the next."""
    assert content_hash(SLOTS) == "f3a32903512964e440c10c994a249df04266164099c4c5f0a9a0c26716ca9cb3"


def test_order_and_layout_do_not_matter():
    turned = {k: SLOTS[k] for k in reversed(SLOTS)}
    turned["b.weight"] = np.asfortranarray(turned["b.weight"])
    assert content_hash(turned) == content_hash(SLOTS)
    strided = np.repeat(SLOTS["a.scale"], 2)[::2]
    assert content_hash({**SLOTS, "a.scale": strided}) == content_hash(SLOTS)


@pytest.mark.parametrize(
    "change",
    [
        {"a.bias": np.array([0.5000001], np.float32)},
        {"a.bias": np.array([0.5], np.float64)},
        {"a.bias": np.array(0.5, np.float32)},
        {"b.weight": SLOTS["b.weight"].reshape(3, 2)},
        {"c": np.zeros(0, np.float32)},
        {"a.bias": np.array([-0.0], np.float32), "a.scale": SLOTS["a.scale"]},
    ],
)
def test_every_difference_is_another_hash(change):
    assert content_hash({**SLOTS, **change}) != content_hash(SLOTS)
    assert dataclasses.replace(source(), slots={**SLOTS, **change}).hash != source().hash


def test_slots_and_memory_are_told_apart():
    a = State("", "", {"x": np.ones(1)}, {})
    b = State("", "", {}, {"x": np.ones(1)})
    assert a.hash != b.hash


def test_frozen_arrays_cannot_be_written():
    state = source()
    for value in [*state.slots.values(), *state.memory.values()]:
        with pytest.raises(ValueError, match="read-only"):
            value[...] = 0
    with pytest.raises(TypeError):
        state.slots["a.bias"] = np.zeros(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.step = 3


def test_what_it_was_made_from_may_change():
    array = np.zeros(3, np.float32)
    window = array.view()
    window.flags.writeable = False  # read-only itself, but not what it looks at
    column = np.zeros((3, 2), np.float32)[:, 0]
    state = State("", "", frozen({"array": array, "window": window, "column": column}))
    before = state.hash
    array[:] = 7
    column[:] = 7
    assert state.hash == before
    assert array.flags.writeable and column.flags.writeable


def test_freezing_again_copies_nothing():
    once = frozen(SLOTS)
    again = frozen(once)
    assert all(again[k] is once[k] for k in once)


def test_a_child():
    state = source()
    child = state.child({"a.bias": np.array([2.0])}, {"ema": np.ones(2)})
    assert (child.step, child.parent, child.bundle, child.adapter) == (
        1,
        state.hash,
        "bundle",
        "tent",
    )
    assert child.slots["a.bias"].dtype == np.float32 and child.slots["a.bias"][0] == 2
    assert child.slots["a.scale"] is state.slots["a.scale"]
    assert set(child.memory) == {"count", "ema"} and set(state.memory) == {"count"}
    assert child.child().parent == child.hash and child.child().step == 2
    assert not any(v.flags.writeable for v in [*child.slots.values(), *child.memory.values()])


@pytest.mark.parametrize(
    ("slots", "memory", "message"),
    [
        ({"c": np.zeros(1)}, None, "no slot 'c'"),
        ({"a.bias": np.zeros(2)}, None, r"shape \(1,\), but the new value has \(2,\)"),
        ({"a.bias": np.zeros(())}, None, "shape"),
        ({"a.bias": np.array([np.nan])}, None, "slot a.bias is not finite"),
        ({"a.scale": np.array([1, np.inf, 2])}, None, "slot a.scale is not finite"),
        (None, {"ema": np.array([np.nan])}, "memory ema is not finite"),
    ],
)
def test_a_child_that_must_not_be(slots, memory, message):
    state = source()
    before = state.hash
    with pytest.raises(ValueError, match=message):
        state.child(slots, memory)
    assert state.hash == before


def test_predictions():
    sure = Prediction({}, np.array([0.2, 0.7, 0.1]), 0.8, 0.001, "")
    assert (sure.label, sure.confidence) == (1, 0.7)
    plain = Prediction({}, np.zeros(0), float("nan"), 0.001, "")
    assert plain.label == -1 and np.isnan(plain.confidence)

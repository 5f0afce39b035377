"""Saved states: bit for bit, small, sealed, atomic."""

import dataclasses
import hashlib
import json
import os
import tempfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tta.errors import StateError
from tta.records import State, frozen
from tta.runtime import store
from tta.runtime.store import check_target, load_state, save_state
from tta.runtime.stream import Stream


@pytest.fixture(scope="module")
def state(model, inputs, drifted):
    stream = Stream(model, "nhl", governor="always")
    for k in range(2):
        stream.adapt(inputs(drifted[16 * k : 16 * k + 16]))
    assert stream.counts.commits == 2
    return stream.current


@pytest.fixture
def path(tmp_path, state, bundle):
    save_state(tmp_path / "s.safetensors", state, bundle)
    return tmp_path / "s.safetensors"


def small(bundle):
    """A state of two tensors: its file is short enough to be spoilt everywhere."""
    bias = np.arange(10, dtype=np.float32)
    slots = frozen({**bundle.source_slots, "head.bias": bias})
    memory = frozen({"adam.step": np.array(3, np.int64)})
    return State(bundle.hash, "nhl", slots, memory, 3, "a" * 64)


def parts(state):
    return (
        state.hash, state.bundle, state.adapter, state.step, state.parent,
        sorted(state.slots), sorted(state.memory),
    )  # fmt: skip


def forged(path, state, **entries):
    """Rewrite a state file with other metadata, and seal them as an honest writer would."""
    tensors = {f"slots/{k}": np.array(v) for k, v in state.slots.items()}
    tensors.update({f"memory/{k}": np.array(v) for k, v in state.memory.items()})
    metadata = {**store._metadata(state), **entries}
    metadata = {k: v for k, v in metadata.items() if v is not None}
    if "seal" not in entries:
        metadata["seal"] = store._seal(metadata)
    path.write_bytes(save(tensors, metadata))


def test_round_trip_bit_for_bit(path, state, bundle):
    loaded = load_state(path, bundle)
    assert parts(loaded) == parts(state)
    for name, value in {**state.slots, **state.memory}.items():
        got = {**loaded.slots, **loaded.memory}[name]
        assert got.dtype == value.dtype and got.shape == value.shape
        assert got.tobytes() == value.tobytes() and not got.flags.writeable


def test_scalars_in_memory_stay_scalars(path, state, bundle):
    assert any(v.ndim == 0 for v in state.memory.values())
    loaded = load_state(path, bundle)
    assert all(v.shape == state.memory[k].shape for k, v in loaded.memory.items())


def test_only_what_changed_is_stored(path, state, bundle):
    source = bundle.source_slots
    changed = {k for k, v in state.slots.items() if not np.array_equal(v, source[k])}
    stored = load_file(path)
    assert {k for k in stored if k.startswith("slots/")} == {f"slots/{k}" for k in changed}
    assert len(changed) < len(source)
    assert path.stat().st_size < (bundle.path / "weights.safetensors").stat().st_size / 10


def test_the_source_state_is_nearly_empty(tmp_path, model, bundle):
    origin = Stream(model, "nhl").origin
    save_state(tmp_path / "s", origin, bundle)
    assert (tmp_path / "s").stat().st_size < 1000
    assert parts(load_state(tmp_path / "s", bundle)) == parts(origin)


def test_a_loaded_state_serves_as_the_saved_one(path, state, model, inputs, clean):
    saved, loaded = (
        Stream(model, governor="always", state=each)
        for each in (state, load_state(path, model.bundle))
    )
    assert saved.serving == loaded.serving
    x = inputs(clean[:8])
    assert np.array_equal(saved.session.run(x)["logits"], loaded.session.run(x)["logits"])


def test_a_state_that_a_stream_made_goes_on(path, state, model, inputs, drifted):
    saved, loaded = (
        Stream(model, governor="always", state=each)
        for each in (state, load_state(path, model.bundle))
    )
    for stream in (saved, loaded):
        stream.adapt(inputs(drifted[32:48]))
    assert saved.current.hash == loaded.current.hash != state.hash


# Damage


def test_every_truncation_is_refused(tmp_path, bundle):
    save_state(tmp_path / "s", small(bundle), bundle)
    whole = (tmp_path / "s").read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(StateError):
            load_state(tmp_path / "cut", bundle)


@pytest.mark.parametrize("bit", [0, 3, 5, 7])
def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path, bundle, bit):
    state = small(bundle)
    save_state(tmp_path / "s", state, bundle)
    whole = (tmp_path / "s").read_bytes()
    for at in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << bit
        (tmp_path / "spoilt").write_bytes(spoilt)
        with pytest.raises(StateError):
            load_state(tmp_path / "spoilt", bundle)
            pytest.fail(f"a flip of bit {bit} at byte {at} of {len(whole)} went unnoticed")


def test_bytes_behind_the_end_are_refused(path, bundle):
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    with pytest.raises(StateError, match="no readable state file"):
        load_state(path, bundle)


def test_another_bundle(path, state, bundle):
    other = object.__new__(type(bundle))
    other.__dict__.update({**bundle.__dict__, "hash": "f" * 64})
    with pytest.raises(
        StateError, match=f"adapted from bundle {bundle.hash[:12]}, but this is ffff"
    ):
        load_state(path, other)
    with pytest.raises(StateError, match="adapted from another bundle"):
        save_state(path, state, other)
    assert parts(load_state(path, bundle)) == parts(state)


def test_a_newer_schema(path, state, bundle):
    forged(path, state, schema=str(store.SCHEMA + 1))
    with pytest.raises(StateError, match="newer schema than this tta reads: upgrade"):
        load_state(path, bundle)


@pytest.mark.parametrize("entry", ["bundle", "adapter", "step", "parent", "hash"])
def test_a_missing_entry(path, state, bundle, entry):
    forged(path, state, **{entry: None})
    with pytest.raises(StateError, match="damaged"):
        load_state(path, bundle)


@pytest.mark.parametrize("entry", ["adapter", "step", "parent"])
def test_edited_metadata(path, state, bundle, entry):
    """These are not covered by the state's hash."""
    forged(path, state, **{entry: "7", "seal": store._metadata(state)["seal"]})
    with pytest.raises(StateError, match="metadata were changed"):
        load_state(path, bundle)


def test_other_tensors_under_the_same_hash(path, state, bundle):
    forged(path, state, hash="0" * 64)
    with pytest.raises(StateError, match="damaged"):
        load_state(path, bundle)


def with_value(state, name, value):
    return dataclasses.replace(state, slots={**state.slots, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.bias", np.zeros(9, np.float32)),
        ("head.bias", np.zeros(10, np.float64)),
        ("head.bias", np.zeros(10, np.int32)),
        ("no.such.slot", np.zeros(10, np.float32)),
    ],
)
def test_a_slot_that_does_not_fit(path, bundle, name, value):
    forged(path, with_value(small(bundle), name, value))
    with pytest.raises(StateError, match=rf"'slots/{name}'.* fits no slot of the bundle"):
        load_state(path, bundle)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(path, bundle, value):
    bias = np.full(10, value, np.float32)
    forged(path, with_value(small(bundle), "head.bias", bias))
    with pytest.raises(StateError, match="NaN or infinity"):
        load_state(path, bundle)
    forged(path, dataclasses.replace(small(bundle), memory={"m": np.array(value)}))
    with pytest.raises(StateError, match="NaN or infinity"):
        load_state(path, bundle)


def test_files_that_are_no_states(tmp_path, bundle):
    with pytest.raises(StateError, match=r"no state file at .*gone"):
        load_state(tmp_path / "gone", bundle)
    with pytest.raises(StateError, match="no state file at"):
        load_state(tmp_path, bundle)
    with pytest.raises(StateError, match="but no state of tta"):
        load_state(bundle.path / "weights.safetensors", bundle)
    for junk in (b"", b"hello", b"\xff" * 100, b"PK\3\4" + b"\0" * 50):
        (tmp_path / "junk").write_bytes(junk)
        with pytest.raises(StateError, match="no readable state file"):
            load_state(tmp_path / "junk", bundle)


# Writing


def test_a_crash_before_the_rename_leaves_the_old_state(path, state, bundle, monkeypatch):
    before = path.read_bytes()

    def crash(source, target):
        assert os.path.getsize(source) > 0  # all is written by now
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, small(bundle), bundle)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    monkeypatch.undo()
    assert parts(load_state(path, bundle)) == parts(state)


def test_a_full_disk_leaves_the_old_state(path, bundle, monkeypatch):
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device"):
        save_state(path, small(bundle), bundle)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_the_file_is_flushed_before_its_rename_and_the_folder_after(path, bundle, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle):
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real_fsync(handle)

    def replace(source, target):
        order.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    save_state(path, small(bundle), bundle)
    assert order == ["file", "rename", "folder"]


def test_an_unwritable_folder(tmp_path, bundle, monkeypatch):
    def refuse(**more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(StateError, match=r"cannot be written to .*s: Permission denied"):
        save_state(tmp_path / "s", small(bundle), bundle)


def test_bad_targets_are_known_before_a_run(tmp_path, bundle):
    for check in (check_target, lambda path: save_state(path, small(bundle), bundle)):
        with pytest.raises(StateError, match="it is a folder"):
            check(tmp_path)
        with pytest.raises(StateError, match=r"there is no folder .*nowhere"):
            check(tmp_path / "nowhere" / "s")
    assert os.listdir(tmp_path) == []


def test_the_seal_is_what_the_docstring_says(path):
    size = int.from_bytes(path.read_bytes()[:8], "little")
    entries = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    seal = entries.pop("seal")
    text = json.dumps(sorted([k, v] for k, v in entries.items()))
    assert seal == hashlib.sha256(text.encode()).hexdigest()

"""What `tta inspect` and `tta state show` say of the demo's bundle."""

import dataclasses
import re
from importlib.resources import files

import numpy as np
import pytest

from tta.bundle import Bundle
from tta.inspection import describe, describe_state
from tta.records import State, content_hash


@pytest.fixture(scope="module")
def bundle():
    return Bundle(files("tta.demo") / "fashion.tta")


@pytest.fixture
def source(bundle):
    return State(bundle.hash, "nhl", bundle.source_slots)


def edited(bundle, **changes):
    """The same bundle with other entries in its manifest."""
    other = object.__new__(Bundle)
    manifest = dataclasses.replace(bundle.manifest, **changes)
    other.__dict__.update({**bundle.__dict__, "manifest": manifest})
    return other


def test_the_whole_contract_is_told(bundle):
    text, m = describe(bundle), bundle.manifest
    assert text.splitlines()[0] == (
        f"FashionNet   bundle {bundle.hash[:12]}, schema 1, task classify"
    )
    assert "input       input (N, 1, 28, 28) float32, preprocess image {'channels': 1" in text
    assert "outputs     logits (10), features (64)" in text
    assert "labels      T-shirt/top, Trouser, " in text
    assert "provides    infer, batch, step/entropy, step/nhl" in text
    assert all(f"\n  {layer} " in text for layer in m.layers)
    assert all(f"{name} {value:g}" in text for name, value in m.thresholds.items())
    assert all(f"\n  {name} " in text for name in m.files)
    assert f"torch {m.provenance['torch']}" in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_slots_are_counted_by_role(bundle):
    text = describe(bundle)
    counts = dict(re.findall(r"^  (\w+) +(\d+ +\d+)$", text, re.M))
    slots = bundle.manifest.slots
    for role in {s.role for s in slots}:
        tensors, numbers = counts[role].split()
        mine = [s for s in slots if s.role == role]
        assert int(tensors) == len(mine)
        assert int(numbers) == sum(bundle.source_slots[s.name].size for s in mine)


def test_slots_are_listed_by_layer(bundle):
    (line,) = [each for each in describe(bundle).splitlines() if each.startswith("  stem ")]
    assert line.split(maxsplit=2)[1:] == ["hebbian", "weight (16, 1, 3, 3), gain (16), shift (16)"]


def test_what_is_not_there_is_said(bundle):
    bare = edited(bundle, labels=(), thresholds={}, preprocess={"kind": "none"}, defaults={})
    text = describe(bare)
    assert "labels      none" in text and "thresholds  none: not calibrated" in text
    assert "preprocess none\n" in text and "defaults" not in text
    silent = edited(bundle, zero_gradient=("a.bias", "b.bias"))
    assert "no gradient under batch statistics: a.bias, b.bias" in describe(silent)


def test_the_source_state(bundle, source):
    first, served, second = describe_state(bundle, source).splitlines()
    assert served.startswith(f"served as {content_hash(source.slots)[:12]}")
    assert first == f"state {source.hash[:12]} of FashionNet: adapter nhl, step 0, parent none"
    assert second == "every slot is as in the source model"


def test_an_adapted_state(bundle, source):
    old = bundle.source_slots
    state = source.child({"norm.scale": old["norm.scale"] * 1.5, "norm.mean": old["norm.mean"] + 1})
    text = describe_state(bundle, state)
    assert f"step 1, parent {source.hash[:12]}" in text.splitlines()[0]
    rows = dict(re.findall(r"^  (\S+) +([\d.]+%?)$", text, re.M))
    assert rows["norm.scale"] == "50.00%"
    expected = 4 / np.linalg.norm(old["norm.mean"])  # sixteen channels, each moved by 1
    assert float(rows["norm.mean"].rstrip("%")) == pytest.approx(100 * expected, rel=1e-3)
    assert "norm.bias" not in rows and "stem.weight" not in rows
    assert float(rows["norm"]) > 0.1 and float(rows["stages.0.bn1"]) == 0


def test_a_slot_that_was_zero(bundle, source):
    assert not bundle.source_slots["features.shift"].any()
    state = source.child({"features.shift": np.ones(64, np.float32)})
    assert re.search(r"^  features.shift +was zero$", describe_state(bundle, state), re.M)


@pytest.mark.parametrize(
    ("coupled", "said"),
    [
        ({}, "1 frame or more: no layer's statistics mix samples"),
        ({"norm": 784}, "1 frame or more: statistics of 1 layers mix samples, norm with fewest"),
        (
            {"norm": 9, "stages.0.bn1": 1},
            "3 frames or more: statistics of 2 layers mix samples, stages",
        ),
        ({"norm": -1}, "1 frame or more: statistics of 1 layers mix samples\n"),
    ],
)
def test_how_many_frames_a_step_takes(bundle, coupled, said):
    assert f"\nbatch       a step takes {said}" in describe(edited(bundle, batch_coupled=coupled))

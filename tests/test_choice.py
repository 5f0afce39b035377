"""What auto stands for."""

import dataclasses
from importlib.resources import files

import numpy as np
import pytest

from tests.bundles import bundle
from tta.buffers.reservoir import Reservoir
from tta.bundle import Bundle
from tta.choice import CAPACITY, MOST_MIB, choose
from tta.records import State
from tta.runtime.buffer import make_buffer
from tta.runtime.dropin import Session
from tta.runtime.loop import run
from tta.runtime.method import check_coupling, check_needs, make_adapter
from tta.runtime.stream import Model, Stream


@pytest.fixture(scope="module")
def demo():
    return Bundle(files("tta.demo") / "fashion.tta")


@pytest.mark.parametrize(
    ("name", "adapter"), [("fashion:factory", "bn_stats"), ("vit:factory", "tent")]
)
def test_the_method_follows_the_kind_of_norms(name, adapter):
    assert choose(bundle(name).manifest).adapter == adapter


def test_without_norms_it_shifts_features_and_without_a_head_it_does_nothing(demo):
    head = tuple(s for s in demo.manifest.slots if s.layer == "head" or s.role == "feature_shift")
    names = {s.name for s in head}
    assert {"features.shift", "head.weight", "head.bias"} <= names
    assert choose(dataclasses.replace(demo.manifest, slots=head)).adapter == "neo"
    nothing = choose(dataclasses.replace(demo.manifest, slots=()))
    assert (nothing.adapter, nothing.buffer) == ("none", "batch")
    assert "no layer" in nothing.reason


def test_what_is_named_stays(demo):
    found = choose(demo.manifest, "tent?lr=0.01", "window?size=8")
    assert (found.adapter, found.buffer, found.reason) == ("tent?lr=0.01", "window?size=8", "")
    assert choose(demo.manifest, "tent").buffer == "batch"  # as its paper has it
    assert choose(demo.manifest, buffer="batch").buffer == "batch"


def test_a_state_goes_on_with_its_method(demo):
    state = State(demo.hash, "nhl", demo.source_slots)
    assert choose(demo.manifest, state=state).adapter == "nhl"


@pytest.mark.parametrize("batch", [1, 16, 100])
@pytest.mark.parametrize("name", ["fashion:factory", "mlp:factory", "sensor_cnn:factory"])
def test_it_always_fits_the_bundle(name, batch):
    made = bundle(name)
    found = choose(made.manifest, batch=batch)
    method = make_adapter(found.adapter)
    check_needs(method, made)
    buffer = make_buffer(found.buffer, batch, made.manifest)
    check_coupling(method, made, buffer.least)
    assert isinstance(buffer, Reservoir) and buffer.period == batch


def test_frames_in_order_and_tasks_without_classes_have_no_reservoir(demo):
    assert choose(demo.manifest, apart=True).buffer == "batch"
    regress = dataclasses.replace(demo.manifest, task="regress")
    assert choose(regress, batch=16).buffer == f"window?size={CAPACITY}&stride=16"


def test_large_inputs_keep_fewer_frames(demo):
    spec = dataclasses.replace(demo.manifest.input, shape=(None, 3, 1024, 1024))
    manifest = dataclasses.replace(demo.manifest, input=spec)
    buffer = make_buffer(choose(manifest, batch=4).buffer, 4, manifest)
    assert buffer.size == MOST_MIB // 12 < CAPACITY


def test_it_is_what_streams_and_runs_take(demo):
    stream = Stream(Model(demo))
    assert (stream.adapter, stream.origin.adapter) == ("bn_stats", "bn_stats")
    assert isinstance(stream.waiting, Reservoir) and "running statistics" in stream.chosen
    assert Stream(Model(demo), "tent", buffer="batch").chosen == ""
    source = "synthetic://?shape=28x28&frames=20&dtype=uint8"
    (served,) = run(demo, source, serve="batch")
    assert served.buffer == "batch" and served.counts.frames == 20
    (sampled,) = run(demo, source, every=2)
    assert sampled.buffer == "batch" and sampled.counts.sampled == 10


def test_a_session_learns_from_what_it_is_fed(demo):
    session = Session(demo)
    feed = np.random.default_rng(0).normal(size=(16, 1, 28, 28)).astype(np.float32)
    session.run(None, {demo.manifest.input.name: feed})
    assert session.last is not None

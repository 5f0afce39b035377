"""The demo's model and its images, clean and drifted: what a user's first stream looks like."""

import dataclasses
import functools
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.bundles import batches, objectives
from tests.bundles import model as source_model
from tta import registry, tasks
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.records import Frame, State
from tta.runtime.preprocess import build
from tta.runtime.stream import Model

collect_ignore = ["rtsp_server.py"]  # runs in the system's Python, which has GStreamer


@pytest.fixture(scope="session")
def bundle():
    return Bundle(files("tta.demo") / "fashion.tta")


@pytest.fixture(scope="session")
def model(bundle):
    return Model(bundle)


_FOLDER = tempfile.TemporaryDirectory(prefix="tta-tests-")


@functools.cache
def full_bundle():
    """The demo's model with the graphs and the calibration of every adapter."""
    from tta.export.assembly import to_bundle

    net, example = source_model("fashion:factory")
    spec = Bundle(files("tta.demo") / "fashion.tta").manifest.preprocess
    samples = batches("fashion:factory", 128, seed=99)
    out = Path(_FOLDER.name) / "full.tta"
    made = to_bundle(net, example, out, samples=samples, preprocess=spec, objectives=objectives())
    return made.bundle


@functools.cache
def full_model():
    """The sessions of that bundle."""
    return Model(full_bundle())


SUITING = [
    name
    for name in registry.names("tta.adapters")
    if not tasks.refusal(name, registry.load("tta.adapters", name), "classify")
]


def serves(bundle, adapter):
    """Whether a bundle has what an adapter of ours needs; one that is informed needs a full one."""
    name = adapter.partition("?")[0] if isinstance(adapter, str) else ""
    if name not in registry.names("tta.adapters"):
        return True
    found = registry.load("tta.adapters", name)
    return found.needs <= set(bundle.manifest.provides) and not hasattr(found, "inform")


@pytest.fixture(scope="session")
def clean():
    """400 images (N, 28, 28) as the model knows them."""
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        return data["images"][:400]


@pytest.fixture(scope="session")
def labels():
    """What those images show; for the tests' eyes only."""
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        return data["labels"][:400]


@pytest.fixture(scope="session")
def drifted(clean):
    """The same at half the contrast: far enough for the governor to adapt."""
    return corrupt(clean, "contrast", 2)


@pytest.fixture(scope="session")
def inputs(bundle):
    """Turns images into the model's input (N, 1, 28, 28)."""
    preprocess = build(bundle.manifest.preprocess, bundle.manifest.input)
    return lambda images: np.stack([preprocess(frame) for frame in frames(images)])


def frames(images):
    """A frame for each image."""
    return [Frame(image, k / 30, k, "test") for k, image in enumerate(images)]


class Images:
    """A source of these images."""

    def __init__(self, images, live=False):
        self.images, self.live, self.asked = images, live, 0
        self.opened = self.closed = False

    def __enter__(self):
        self.opened = True
        return self

    def __exit__(self, kind, error, trace):
        self.closed = True

    def __iter__(self):
        for frame in frames(self.images):
            self.asked += 1
            yield frame


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.results, self.closed = [], False

    def write(self, result):
        self.results.append(result)

    def close(self):
        self.closed = True


class Method:
    """An adapter whose state after a step is what ``change(state)`` makes of it."""

    needs = frozenset({"batch"})

    def __init__(self, change):
        self.change = change

    def init(self, manifest, slots):
        return State(manifest.hash, "method", slots)

    def adapt(self, state, batch, run):
        return self.change(state), run("batch", batch, state.slots, alpha=0.0).outputs


def with_slot(state, name, value):
    """A state with another slot value, made without the checks of ``State.child``."""
    return dataclasses.replace(state, slots={**state.slots, name: value}, step=state.step + 1)

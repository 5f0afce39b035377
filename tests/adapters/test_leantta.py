"""LeanTTA against the rule written again in torch, layer after layer and all layers at once."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tests.bundles import batches, bundle, model, session
from tta.adapters.leantta import Leantta
from tta.errors import TtaError

MODELS = ("fashion:factory", "sensor_cnn:factory")


def corrected(norm, x, tau, lam):
    """The paper's statistics of one frame for one layer, (mean, var)."""
    rows = x.movedim(1, -1).reshape(-1, x.shape[1])
    s, v = norm.running_mean, norm.running_var
    stable = tau * s + (1 - tau) * rows.mean(0)
    stable_var = tau * v + (1 - tau) * rows.var(0, correction=0)
    gap = stable - s
    d = 1 - torch.exp(-(gap @ torch.diag(1 / v) @ gap))
    return d**lam * s + (1 - d**lam) * stable, d**lam * v + (1 - d**lam) * stable_var


@torch.no_grad()
def in_turn(net, frame, tau, lam):
    """Each layer is measured behind corrected ones: a hook sets its statistics as its input comes."""
    net = copy.deepcopy(net).double().eval()

    def hook(norm, inputs):
        mean, var = corrected(norm, inputs[0], tau, lam)
        norm.running_mean, norm.running_var = mean, var

    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.register_forward_pre_hook(hook)
    return net(torch.tensor(frame, dtype=torch.float64)).numpy(), len(norms)


@torch.no_grad()
def at_once(net, frame, tau, lam):
    """All layers are measured behind the source."""
    net, found = copy.deepcopy(net).double().eval(), {}
    hooks = [
        norm.register_forward_pre_hook(
            lambda norm, inputs: found.__setitem__(norm, corrected(norm, inputs[0], tau, lam))
        )
        for norm in net.modules()
        if isinstance(norm, _BatchNorm)
    ]
    net(torch.tensor(frame, dtype=torch.float64))
    for hook in hooks:
        hook.remove()
    for norm, (mean, var) in found.items():
        norm.running_mean, norm.running_var = mean, var
    return net(torch.tensor(frame, dtype=torch.float64)).numpy()


def shifted(name, n):
    return (0.6 * batches(name, n) + 0.4).astype(np.float32)


def answered(name, adapter, batch):
    opened = bundle(name)
    state = adapter.init(opened.manifest, opened.source_slots)
    after, outputs = adapter.adapt(state, batch, session(name).run)
    assert after is state
    return outputs["logits"]


@pytest.mark.parametrize(("tau", "lam"), [(0.9, 1.0), (0.95, 2.0), (0.7, 0.1)])
@pytest.mark.parametrize("name", MODELS)
def test_one_pass(name, tau, lam):
    batch = shifted(name, 4)
    got = answered(name, Leantta(tau, lam), batch)
    want = np.concatenate([at_once(model(name)[0], x[None], tau, lam) for x in batch])
    assert np.abs(got - want).max() <= 1e-4 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize(("tau", "lam"), [(0.9, 1.0), (0.95, 2.0)])
@pytest.mark.parametrize("name", MODELS)
def test_as_many_passes_as_layers_are_the_papers(name, tau, lam):
    batch = shifted(name, 3)
    found = [in_turn(model(name)[0], x[None], tau, lam) for x in batch]
    got = answered(name, Leantta(tau, lam, passes=found[0][1]), batch)
    want = np.concatenate([f[0] for f in found])
    assert np.abs(got - want).max() <= 1e-4 * max(1.0, np.abs(want).max())
    source = answered(name, Leantta(tau=1.0), batch)
    assert np.abs(source - want).max() > 1e-2 * np.abs(want).max()


def test_tau_1_is_the_source():
    name, batch = MODELS[0], shifted(MODELS[0], 4)
    got = answered(name, Leantta(tau=1.0), batch)
    with torch.no_grad():
        want = model(name)[0](torch.tensor(batch)).numpy()
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_a_frame_does_not_see_its_batch():
    name, batch = MODELS[0], shifted(MODELS[0], 5)
    alone = np.concatenate([answered(name, Leantta(), x[None]) for x in batch])
    assert np.array_equal(answered(name, Leantta(), batch), alone)


@pytest.mark.parametrize(
    ("options", "word"), [({"tau": 0}, "tau"), ({"lam": 0}, "lam"), ({"passes": 0}, "passes")]
)
def test_bad_options(options, word):
    with pytest.raises(TtaError, match=word):
        Leantta(**options)

"""Graphs of every model family against torch.autograd, by a reference written for the tests alone."""

import numpy as np
import pytest
import torch

from tests.autograd import HEBBIAN, Plastic, Twin, misfit
from tests.bundles import batches, bundle, model, session

FLOAT32_LIMITED = ("mobilenet_v2:factory",)
TRIES = 6
ALLOWANCE = 100.0
# A ReLU whose input crosses zero is float32's fault and not the graph's, but a wrong rule is wrong on
# every batch: one batch of six must keep the tolerance. MobileNetV2 at alpha = 1 cannot with one
# sample, which leaves its last norms four values a channel: torch's own float32 misses by the hundred
# there. The graph takes variances in one pass and may be off by ALLOWANCE times what torch is (8
# measured; 1.3 where it centres first), so that this case says little; two and eight samples do.


def agree(name, graph, n, alpha, plastic=None):
    """The smallest misfit over the batches, in units of the tolerance; fails where it is above 1."""
    net, _ = model(name)
    truth = Twin(net, HEBBIAN[name])
    inputs = {}
    if plastic:
        inputs = {
            "eta": plastic.eta,
            "anti": float(plastic.anti),
            "max_norm": float(plastic.max_norm),
            "t_invert": plastic.t_invert,
            "centre": float(plastic.centre),
        }
    seen = []
    for seed in range(TRIES):
        batch = batches(name, n, seed)
        step = session(name).run(
            f"step/{graph}", batch, bundle(name).source_slots, alpha=alpha, **inputs
        )
        want = truth(batch, alpha, plastic)
        assert set(step.gradients) == set(want.gradients)
        spread = max(1.0, np.abs(want.outputs["logits"]).max())
        seen.append((*misfit(step.gradients, want.gradients), batch, want))
        error = seen[-1][0]
        off = np.abs(step.outputs["logits"] - want.outputs["logits"]).max() / spread
        if error <= 1 and off <= 1e-3:
            assert step.objective.shape == (n,)
            for layer, (mean, var) in want.moments.items():
                assert np.allclose(step.moments[layer].mean, mean, rtol=1e-3, atol=1e-4)
                assert np.allclose(step.moments[layer].var, var, rtol=1e-3, atol=1e-5)
            if plastic:
                for slot, value in want.new.items():
                    assert np.abs(step.new[slot] - value).max() <= 1e-5 * np.abs(value).max()
            return error
    single = Twin(net, HEBBIAN[name], torch.float32)
    ratios = []
    for error, _, batch, want in seen:
        theirs = single(batch, alpha, plastic)
        ratios.append(error / misfit(theirs.gradients, want.gradients)[0])
    allowed = ALLOWANCE if name in FLOAT32_LIMITED and alpha == n == 1 else 0.0
    assert np.median(ratios) <= allowed, [(round(e, 2), where) for e, where, *_ in seen]
    return min(e for e, *_ in seen)


@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("alpha", [1.0, 0.0])
@pytest.mark.parametrize("name", HEBBIAN)
def test_entropy_gradients(name, alpha, n):
    agree(name, "entropy", n, alpha)


@pytest.mark.parametrize("name", HEBBIAN)
def test_gradients_between_source_and_batch(name):
    agree(name, "entropy", 4, 0.3)


@pytest.mark.parametrize(
    "plastic",
    [
        Plastic(1e-2),
        Plastic(1e-2, anti=True, t_invert=3.0),
        Plastic(0.1, max_norm=False),
        Plastic(1e-2, centre=True),
    ],
    ids=["max", "anti", "mean", "centre"],
)
@pytest.mark.parametrize("name", HEBBIAN)
def test_hebbian_step(name, plastic):
    agree(name, "nhl", 4, 1.0, plastic)


@pytest.mark.parametrize("name", HEBBIAN)
@torch.no_grad()
def test_fused_inference(name):
    from tta.runtime.session import InferSession

    net, _ = model(name)
    served = InferSession(bundle(name))
    for n in (1, 2, 8):
        batch = batches(name, n)
        want = net(torch.tensor(batch)).numpy()
        got = served.run(batch)["logits"]
        assert np.abs(got - want).max() <= 1e-4 * max(1.0, np.abs(want).max())


def test_sample_weights():
    name, n = "norms:factory", 6
    weights = np.array([0, 1, 2, 0.5, 0, 3], np.float32)
    net, _ = model(name)
    batch = batches(name, n)
    step = session(name).run(
        "step/entropy", batch, bundle(name).source_slots, sample_weight=weights
    )
    want = Twin(net, HEBBIAN[name])(batch, 1.0, weights=weights)
    assert misfit(step.gradients, want.gradients)[0] <= 1


def test_gradients_at_an_adapted_state():
    """Gains, shifts and statistics that are not those of the source, all moved at once."""
    name, rng = "fashion:factory", np.random.default_rng(4)
    slots = {
        k: v * rng.uniform(0.7, 1.3, v.shape).astype(np.float32)
        + (
            0.1 * rng.normal(size=v.shape).astype(np.float32)
            if k.endswith((".bias", ".shift"))
            else 0
        )
        for k, v in bundle(name).source_slots.items()
        if not k.startswith(("head.", "features.shift"))
    }
    slots = {**bundle(name).source_slots, **slots}
    net, _ = model(name)
    twin = Twin(net, HEBBIAN[name])
    twin.load(slots)
    best = min(
        misfit(
            session(name).run("step/nhl", batch, slots, alpha=0.6).gradients,
            twin(batch, 0.6).gradients,
        )
        for batch in (batches(name, 8, seed) for seed in range(TRIES))
    )
    assert best[0] <= 1, best

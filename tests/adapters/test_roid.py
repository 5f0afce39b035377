"""ROID against the published rule in torch: weights, loss, pull to the source, and corrected answers."""

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, Recorded, close, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import bundle, model
from tta.adapters.roid import Roid
from tta.errors import TtaError
from tta.runtime.method import source_state

NAME = "fashion:factory"


def likelihood_ratio(logits):
    p = torch.clamp(torch.softmax(logits, 1), max=0.99)
    return -(p * torch.log(p / (1 - p) + 1e-5)).sum(1)


def weights_by_the_paper(p, mean):
    """Frame by frame: less alike the average and surer is heavier, the more usual half is left out."""
    diverse = torch.stack([1 - torch.cosine_similarity(row, mean, dim=0) for row in p])
    sure = torch.stack([-torch.distributions.Categorical(probs=row).entropy() for row in p])
    diverse = (diverse - diverse.min()) / (diverse.max() - diverse.min())
    sure = (sure - sure.min()) / (sure.max() - sure.min())
    weights = torch.exp(diverse * sure * 3)
    weights[diverse < diverse.mean()] = 0
    return weights


def corrected_by_the_paper(p):
    prior = p.mean(0)
    smooth = max(1 / len(p), 1 / p.shape[1]) / prior.max()
    prior = (prior + smooth) / (1 + smooth * p.shape[1])
    found = p * prior
    return found / found.sum(1, keepdim=True)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [NAME, "sensor_cnn:factory"])
def test_roid(name, optimizer):
    adapter = Roid(optimizer=optimizer, keep=0.9)
    state, run = source_state(adapter, bundle(name)), Recorded(name)
    twin, theirs, misses, rejected = (
        Twin(model(name)[0], HEBBIAN[name]),
        Optimizer(optimizer, 1e-3),
        0,
        0,
    )
    source, mean = bundle(name).source_slots, None
    for batch in stream(name)[:10]:
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        seen = torch.tensor(run.steps[0].outputs["logits"], dtype=torch.float64)
        assert close(seen.numpy(), twin(batch).outputs["logits"])
        p = torch.softmax(seen, 1)
        mean = torch.full((p.shape[1],), 1 / p.shape[1], dtype=p.dtype) if mean is None else mean
        weights = weights_by_the_paper(p, mean)
        rejected += int((weights == 0).sum())
        want = twin(batch, weights=weights.numpy(), loss=likelihood_ratio)
        step = run.steps[1]
        losses = likelihood_ratio(torch.tensor(want.outputs["logits"]))
        assert np.allclose(step.objective, losses, rtol=1e-3, atol=1e-3)
        misses += misfit(step.gradients, want.gradients)[0] > 1  # a zero of a ReLU is crossed
        trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - (0.9 * value + 0.1 * source[slot])).max() <= 1e-6, (
                slot
            )
        mean = 0.9 * mean + 0.1 * p.mean(0)
        assert np.allclose(state.memory["probabilities"], mean.numpy(), atol=1e-6)
        answers = torch.softmax(torch.tensor(outputs["logits"], dtype=torch.float64), 1)
        assert (answers - corrected_by_the_paper(p)).abs().max() <= 1e-5
        assert state.step == before.step + 1 and state.parent == before.hash
    assert misses <= 2
    assert rejected >= 20


def test_the_loss_keeps_its_slope_where_entropy_has_none():
    logits = torch.tensor([[5.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (ratio,) = torch.autograd.grad(likelihood_ratio(logits).sum(), logits)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    (flat,) = torch.autograd.grad(entropy.sum(), logits)
    assert ratio.abs().max() > 5 * flat.abs().max()


def test_keeping_nothing_is_the_source_and_all_is_no_pull():
    run, opened = Recorded(NAME), bundle(NAME)
    for keep, moved in ((0.0, False), (1.0, True)):
        adapter = Roid(keep=keep)
        state, _ = adapter.adapt(source_state(adapter, opened), stream(NAME)[0], run)
        trained = [s.name for s in opened.manifest.named("scale", "bias")]
        same = all(np.array_equal(state.slots[n], opened.source_slots[n]) for n in trained)
        assert same is not moved


def test_frames_of_one_class_are_answered_by_the_prior():
    """Where the batch shows one class, a frame that is torn between two is given that one."""
    adapter, logits = Roid(), np.float32([[9, 0, 0]] * 7 + [[2, 2.2, 0]])
    p = torch.softmax(torch.tensor(logits), 1).double().numpy()
    assert logits[-1].argmax() == 1
    assert adapter.corrected({"logits": logits}, p)["logits"][-1].argmax() == 0


def test_uncorrected_outputs_are_the_models_own():
    adapter, run = Roid(correct=False), Recorded(NAME)
    _, outputs = adapter.adapt(source_state(adapter, bundle(NAME)), stream(NAME)[0], run)
    assert outputs is run.steps[0].outputs


def test_bad_options():
    with pytest.raises(TtaError, match="keep"):
        Roid(keep=1.5)

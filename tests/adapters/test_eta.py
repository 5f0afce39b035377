"""ETA and RDumb against the published rule in torch, step by step from the same state."""

import math

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, close, start, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import bundle, model, session
from tta.adapters.eta import Eta
from tta.adapters.rdumb import Rdumb
from tta.errors import TtaError

NAME = "fashion:factory"


def chosen_by_the_paper(logits, mean, margin, d):
    """Weights S (N,) and the next moving average, frame by frame as eqs. 2 to 4 read."""
    p = torch.softmax(torch.tensor(logits, dtype=torch.float64), 1)
    border, weights, kept = margin * math.log(p.shape[1]), [], []
    for row in p:
        h = float(torch.distributions.Categorical(probs=row).entropy())
        like = 0.0 if mean is None else float(torch.cosine_similarity(row, mean, dim=0))
        good = h < border and (mean is None or abs(like) < d)
        weights.append(math.exp(border - h) if good else 0.0)
        if good:
            kept.append(row)
    if kept:
        now = torch.stack(kept).mean(0)
        mean = now if mean is None else 0.9 * mean + 0.1 * now
    return np.array(weights), mean


@pytest.mark.parametrize(("margin", "d"), [(0.4, 0.4), (0.9, 0.7)])
def test_eta(margin, d):
    adapter = Eta(margin=margin, d=d)
    state, run = start(NAME, adapter)
    twin, theirs, mean, learned = (
        Twin(model(NAME)[0], HEBBIAN[NAME]),
        Optimizer("adam", 1e-3),
        None,
        0,
    )
    for batch in stream(NAME):
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        seen = twin(batch)
        assert close(outputs["logits"], seen.outputs["logits"])
        weights, mean = chosen_by_the_paper(outputs["logits"], mean, margin, d)
        assert state.step == before.step + 1 and state.parent == before.hash
        if not weights.any():
            assert len(run.steps) == 1
            assert all(np.array_equal(state.slots[k], before.slots[k]) for k in twin.leaves())
            continue
        learned += 1
        share = len(batch) / np.count_nonzero(weights)
        want = twin(batch, weights=weights * share)
        assert (
            misfit(run.steps[1].gradients, want.gradients)[0] <= 3
        )  # a zero of a ReLU may be crossed
        trained = {
            k: g for k, g in run.steps[1].gradients.items() if k.endswith((".scale", ".bias"))
        }
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
        assert np.allclose(state.memory["probabilities"], mean.numpy(), atol=1e-6)
    assert learned >= 3


def test_a_frame_like_those_before_teaches_nothing():
    """Twice the same sure frames: the second time their cosine to the average is 1."""
    adapter = Eta(margin=1.0, d=0.9)
    weight, mean = adapter.choose(logits := np.tile([9.0, 0, 0], (4, 1)), None)
    assert (weight > 0).all()
    again, _ = adapter.choose(logits, mean)
    assert not again.any()
    other, _ = adapter.choose(np.tile([0, 9.0, 0], (4, 1)), mean)
    assert (other > 0).all()


def test_rdumb_returns_to_the_source():
    eta, rdumb = Eta(margin=0.9, d=1.0), Rdumb(margin=0.9, d=1.0, period=3)
    opened, run = bundle(NAME), session(NAME).run
    state = rdumb.init(opened.manifest, opened.source_slots)
    states = []
    for batch in stream(NAME)[:7]:
        state, _ = rdumb.adapt(state, batch, run)
        states.append(state)
    assert [s.step for s in states] == list(range(1, 8))
    fresh = eta.init(opened.manifest, opened.source_slots)
    for k, batch in enumerate(stream(NAME)[3:6]):  # steps 4 to 6 began at the source
        fresh, _ = eta.adapt(fresh, batch, run)
        for name, value in fresh.slots.items():
            assert np.array_equal(states[3 + k].slots[name], value)
    assert states[3].parent == states[2].hash


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Eta(margin=0), "margin"),
        (lambda: Eta(d=0), "cosine"),
        (lambda: Rdumb(period=0), "period"),
    ],
)
def test_bad_options(make, word):
    with pytest.raises(TtaError, match=word):
        make()

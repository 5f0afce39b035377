"""The pseudo-label adapter against torch's own cross-entropy, step by step from the same state."""

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, close, start, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import model
from tta.adapters.pseudo_label import PseudoLabel


def own_labels(logits):
    return torch.nn.functional.cross_entropy(logits, logits.detach().argmax(1), reduction="none")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["fashion:factory", "sensor_cnn:factory"])
def test_pseudo_label(name, optimizer):
    state, run = start(name, adapter := PseudoLabel(optimizer=optimizer))
    twin, theirs, misses = Twin(model(name)[0], HEBBIAN[name]), Optimizer(optimizer, 1e-3), 0
    for batch in stream(name)[:10]:
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        want = twin(batch, loss=own_labels)
        (step,) = run.steps
        losses = own_labels(torch.tensor(want.outputs["logits"]))
        assert np.allclose(step.objective, losses, rtol=1e-3, atol=1e-4)
        assert close(outputs["logits"], want.outputs["logits"])
        misses += misfit(step.gradients, want.gradients)[0] > 1  # a zero of a ReLU is crossed
        trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
    assert misses <= 2

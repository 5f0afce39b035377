"""Steps of methods that are Tent with another objective, against torch."""

import numpy as np
import torch

from tests.adapters.test_against_torch import Optimizer, close, start, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import model


def follows(adapter, name, optimizer, loss, rtol):
    """Ten steps of a Tent with another objective, each from the same state, against torch."""
    state, run = start(name, adapter)
    twin, theirs, misses = Twin(model(name)[0], HEBBIAN[name]), Optimizer(optimizer, 1e-3), 0
    for batch in stream(name)[:10]:
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        want = twin(batch, loss=loss)
        (step,) = run.steps
        losses = loss(torch.tensor(want.outputs["logits"]))
        assert np.allclose(step.objective, losses, rtol=rtol, atol=1e-4)
        assert close(outputs["logits"], want.outputs["logits"])
        misses += misfit(step.gradients, want.gradients)[0] > 1  # a zero of a ReLU is crossed
        trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
        for slot, value in theirs.step(before.slots, trained).items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
        assert state.step == before.step + 1 and state.parent == before.hash
    assert misses <= 2

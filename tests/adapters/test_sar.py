"""SAR against algorithm 1 of the paper in torch, step by step from the same state."""

import math

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, close, start, stream
from tests.autograd import HEBBIAN, Twin
from tests.bundles import bundle, model, session
from tta.adapters.sar import Sar
from tta.errors import TtaError

NAME = "fashion:factory"
MARGIN, RHO = 0.8, 0.05


def entropy(logits):
    return torch.distributions.Categorical(logits=torch.tensor(logits)).entropy().numpy()


def reference(twin, batch, slots):
    """Second gradients and second loss of one step; None where no frame is reliable."""
    twin.load(slots)
    first = entropy(twin(batch).outputs["logits"])
    border = MARGIN * math.log(10)
    reliable = first < border
    if not reliable.any():
        return None
    gradients = twin(batch, weights=reliable * len(batch) / reliable.sum()).gradients
    norms = {k: g for k, g in gradients.items() if k.endswith((".scale", ".bias"))}
    length = math.sqrt(sum((g**2).sum() for g in norms.values()))
    there = {**slots, **{k: slots[k] + RHO * g / length for k, g in norms.items()}}
    twin.load(there)
    second = entropy(twin(batch).outputs["logits"])
    both = reliable & (second < border)
    if not both.any():
        return None
    found = twin(batch, weights=both * len(batch) / both.sum()).gradients
    return {k: found[k] for k in norms}, float(second[both].mean())


def test_sar():
    adapter = Sar(margin=MARGIN, rho=RHO, lr=0.01, least=0.0)
    state, run = start(NAME, adapter)
    twin, theirs, loss, learned = (
        Twin(model(NAME)[0], HEBBIAN[NAME]),
        Optimizer("sgd", 0.01),
        None,
        0,
    )
    for batch in stream(NAME)[:12]:
        before = state
        state, outputs = adapter.adapt(before, batch, run)
        want = reference(twin, batch, before.slots)
        twin.load(before.slots)
        assert close(outputs["logits"], twin(batch).outputs["logits"])
        if want is None:
            assert all(np.array_equal(state.slots[k], before.slots[k]) for k in twin.leaves())
            continue
        learned += 1
        gradients = {k: g.astype(np.float32) for k, g in want[0].items()}
        moved = theirs.step(before.slots, gradients)
        size = max(np.abs(moved[k] - before.slots[k]).max() for k in moved)
        for slot, value in moved.items():  # one crossed zero of a ReLU is worth a percent
            assert np.abs(state.slots[slot] - value).max() <= 0.03 * size, slot
        for slot in gradients:  # both go on from ours
            theirs.made.state[theirs.parameters[slot]]["momentum_buffer"] = torch.tensor(
                state.memory[f"sgd.{slot}"]
            )
        loss = want[1] if loss is None else 0.9 * loss + 0.1 * want[1]
        assert abs(float(state.memory["loss"]) - loss) <= 1e-3
        loss = float(state.memory["loss"])
    assert learned >= 6


def test_a_collapsed_model_returns_to_the_source():
    adapter = Sar(
        margin=1.0, least=9.0
    )  # no entropy of ten classes is as high: each step looks collapsed
    opened, run = bundle(NAME), session(NAME).run
    state = adapter.init(opened.manifest, opened.source_slots)
    after, _ = adapter.adapt(state, stream(NAME)[0], run)
    assert all(np.array_equal(after.slots[k], v) for k, v in opened.source_slots.items())
    assert after.step == 1 and after.parent == state.hash and "loss" not in after.memory


def test_skipped_layers_stay():
    opened, run = bundle(NAME), session(NAME).run
    last = opened.manifest.named("scale")[-1].layer
    adapter = Sar(margin=1.0, skip=last, least=0.0)
    state = adapter.init(opened.manifest, opened.source_slots)
    after, _ = adapter.adapt(state, stream(NAME)[0], run)
    changed = {k for k, v in after.slots.items() if not np.array_equal(v, state.slots[k])}
    trained = {k for k in changed if k.endswith((".scale", ".bias"))}
    assert trained and not any(k.startswith(last) for k in trained)


@pytest.mark.parametrize(("options", "word"), [({"margin": 2.0}, "margin"), ({"rho": 0.0}, "rho")])
def test_bad_options(options, word):
    with pytest.raises(TtaError, match=word):
        Sar(**options)

"""Per-ghost statistics: the stream's frames decide, not the batches that a queue cut them into."""

import numpy as np
import pytest
import torch

from tests.bundles import batches, bundle, session
from tta.adapters.bn_stats import BnStats
from tta.adapters.eta import Eta
from tta.adapters.nhl import Nhl
from tta.adapters.sar import Sar
from tta.adapters.tent import Tent
from tta.records import Moments, Span, State, Step, frozen

CHOPS = ([256], [64] * 4, [1] * 256, [7] * 36 + [4], [100, 156], [64, 192])
SHARE, GHOST, C = 0.1, 64, 5


def measured(graph, batch, slots, alpha):
    """A run whose layer sees the batch itself, in float64."""
    assert alpha == 0
    found = Moments(batch.mean(0), batch.var(0), len(batch))
    return Step({"y": batch}, {"bn": found}, span=Span(len(batch)))


def walked(adapter, state, data, chop, run):
    assert sum(chop) == len(data)
    outputs, start = [], 0
    for n in chop:
        state, out = adapter.adapt(state, data[start : start + n], run)
        outputs.append(next(iter(out.values())))
        start += n
    return state, np.concatenate(outputs)


def begun():
    slots = {
        "bn.mean": np.linspace(-1, 1, C, dtype=np.float32),
        "bn.var": np.linspace(0.5, 2, C, dtype=np.float32),
    }
    return State(
        "", "bn_stats", frozen(slots), frozen({f"source.{k}": v for k, v in slots.items()})
    )


@pytest.mark.parametrize("chop", CHOPS, ids=lambda c: f"{len(c)} batches")
def test_any_chopping_in_float64(chop, rng):
    """Against the closed form: (1-η)^k of the source, η(1-η)^(k-1-i) of ghost i, by raw moments."""
    data = rng.normal(3, 2, (256, C)) * np.linspace(1, 3, 256)[:, None]
    state, outputs = walked(BnStats(momentum=SHARE, ghost=GHOST), begun(), data, chop, measured)
    first = begun()
    ghosts = data.reshape(-1, GHOST, C)
    k = len(ghosts)
    weights = [SHARE * (1 - SHARE) ** (k - 1 - i) for i in range(k)]
    m0, v0 = (first.slots[f"bn.{x}"].astype(np.float64) for x in ("mean", "var"))
    mean = (1 - SHARE) ** k * m0 + sum(w * g.mean(0) for w, g in zip(weights, ghosts))
    square = (1 - SHARE) ** k * (v0 + m0**2)
    square = square + sum(w * (g**2).mean(0) for w, g in zip(weights, ghosts))
    assert np.abs(state.memory["ema.bn.mean"] - mean).max() < 1e-12
    assert np.abs(state.memory["ema.bn.var"] / (square - mean**2) - 1).max() < 1e-12
    assert np.array_equal(outputs, data)
    assert state.step == len(chop)


def test_the_mean_is_that_of_torch_fed_ghost_by_ghost(rng):
    data = rng.normal(3, 2, (256, C))
    state, _ = walked(BnStats(momentum=SHARE, ghost=GHOST), begun(), data, [256], measured)
    norm = torch.nn.BatchNorm1d(C, momentum=SHARE, dtype=torch.float64)
    norm.running_mean.copy_(torch.tensor(begun().slots["bn.mean"]))
    for ghost in torch.tensor(data).split(GHOST):
        norm(ghost)
    assert np.abs(state.memory["ema.bn.mean"] - norm.running_mean.numpy()).max() < 1e-12


def test_a_batch_by_itself_would_be_another():
    """The rule per batch takes one step for 256 frames, and four for four times 64."""
    data = np.random.default_rng(0).normal(3, 2, (256, C))

    def plain(graph, batch, slots, alpha):
        return measured(graph, batch, slots, 0)

    one, _ = walked(BnStats(momentum=SHARE), begun(), data, [256], plain)
    four, _ = walked(BnStats(momentum=SHARE), begun(), data, [100, 100, 50, 6], plain)
    assert np.abs(one.memory["ema.bn.mean"] - four.memory["ema.bn.mean"]).max() > 1e-2


@pytest.mark.parametrize("name", ["fashion:factory", "sensor_cnn:factory"])
def test_any_chopping_through_onnxruntime(name):
    opened, run = bundle(name), session(name).run
    data = 0.5 * batches(name, 64) + 0.3
    states, outputs = [], []
    for chop in ([64], [16] * 4, [1] * 64, [7] * 9 + [1], [30, 34]):
        adapter = BnStats(momentum=0.3, ghost=16)
        start = adapter.init(opened.manifest, opened.source_slots)
        state, out = walked(adapter, start, data.astype(np.float32), chop, run)
        states.append(state)
        outputs.append(out)
    moved = 0.0
    for slot, want in states[0].slots.items():
        scale = max(1.0, np.abs(want).max())
        for other in states[1:]:
            assert np.abs(other.slots[slot] - want).max() <= 1e-5 * scale, slot
        moved = max(moved, float(np.abs(want - opened.source_slots[slot]).max()))
    assert moved > 0.1
    for out in outputs[1:]:
        assert np.abs(out - outputs[0]).max() <= 1e-4 * max(1.0, np.abs(outputs[0]).max())


def test_an_unfinished_ghost_changes_no_slot():
    opened, run = bundle("fashion:factory"), session("fashion:factory").run
    adapter = BnStats(ghost=16)
    state = adapter.init(opened.manifest, opened.source_slots)
    after, _ = adapter.adapt(state, batches("fashion:factory", 15), run)
    assert all(np.array_equal(after.slots[k], v) for k, v in state.slots.items())
    assert int(after.memory["ghost.frames"]) == 15
    after, _ = adapter.adapt(after, batches("fashion:factory", 2), run)
    assert int(after.memory["ghost.frames"]) == 1
    assert not np.array_equal(after.slots["norm.mean"], state.slots["norm.mean"])


@pytest.mark.parametrize("make", [Tent, Nhl, Eta, Sar], ids=lambda c: c.__name__)
def test_methods_with_gradients_forget_by_the_frame(make):
    """A batch of 32 leaves as much of what was known as two of 16: (1-η)^(32/16)."""
    opened, run = bundle("fashion:factory"), session("fashion:factory").run
    adapter = make(momentum=0.3, ghost=16)
    state = adapter.init(opened.manifest, opened.source_slots)
    known = {"ema.frames": np.array(10**9), "ema.norm.mean": np.full(16, 1e6)}
    state = state.child(memory={**known, "ema.norm.var": np.ones(16)})
    after, _ = adapter.adapt(state, batches("fashion:factory", 32), run)
    assert np.allclose(after.memory["ema.norm.mean"], 0.7**2 * 1e6, rtol=1e-4)
    assert int(after.memory["ema.frames"]) == 10**9 + 32

"""ActMAD against torch: statistics of layers' outputs, their distance from the source's, and the update."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.adapters.test_against_torch import Optimizer, Recorded, close, stream
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import batches, bundle, model
from tta.adapters.actmad import ActMad
from tta.errors import ExportError
from tta.export.assembly import to_bundle
from tta.runtime.method import source_state
from tta.runtime.session import AdaptSession

NAME = "fashion:factory"
KINDS = ("norms:layer", "norms:group", "norms:rms")


def statistics(y, norm):
    """Mean and biased variance of each channel over everything else."""
    last = isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    rows = y.movedim(-1 if last else 1, -1).flatten(0, -2)
    return rows.mean(0), rows.var(0, correction=0)


class Matching(Twin):
    """A twin that keeps what its norms put out, and whose loss is the distance from the source's."""

    def __init__(self, name, samples=None):
        super().__init__(model(name)[0], HEBBIAN[name])
        self.answers, self.source = {}, {}
        for layer, norm in self.norms.items():
            norm.forward = self._kept(layer, norm, norm.forward)
        if samples is None:  # what running statistics say of the outputs
            for layer, norm in self.norms.items():
                var = norm.weight**2 * norm.running_var / (norm.running_var + norm.eps)
                self.source[layer] = (norm.bias.detach().clone(), var.detach())
        else:
            with torch.no_grad():
                self.alpha = 0.0
                self.net(torch.tensor(samples, dtype=self.dtype))
            self.source = dict(self.answers)

    def _kept(self, layer, norm, forward):
        def kept(x):
            y = forward(x)
            self.answers[layer] = statistics(y, norm)
            return y.clone()  # for activations in place

        return kept

    def distance(self, logits=None):
        total = torch.zeros((), dtype=self.dtype)
        for layer, here in self.answers.items():
            for got, want in zip(here, self.source[layer]):
                total = total + torch.nn.functional.l1_loss(got, want)
        return total


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [NAME, "sensor_cnn:factory"])
def test_actmad(name, optimizer):
    adapter = ActMad(optimizer=optimizer)
    state, run = source_state(adapter, bundle(name)), Recorded(name)
    twin = Matching(name, batches(name, 64, seed=99))  # what the bundle was exported with
    theirs, misses = Optimizer(optimizer, 1e-3), 0
    for batch in stream(name)[:10]:
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        want = twin(batch, 0.0, loss=twin.distance)
        (step,) = run.steps
        loss = twin.distance().item()
        assert step.objective.shape == () and abs(float(step.objective) - loss) <= 1e-4 * loss
        assert close(outputs["logits"], want.outputs["logits"])
        misses += misfit(step.gradients, want.gradients)[0] > 1  # a zero of a ReLU is crossed
        trained = {k: g for k, g in step.gradients.items() if k.endswith((".scale", ".bias"))}
        moved = theirs.step(before.slots, trained)
        for slot, value in moved.items():
            assert np.abs(state.slots[slot] - value).max() <= 1e-6, slot
        kept = [k for k in state.slots if k not in moved]
        assert all(np.array_equal(state.slots[k], before.slots[k]) for k in kept)
        assert state.step == before.step + 1 and state.parent == before.hash
    assert misses <= 2


def exported(name, folder, **more):
    net, example = model(name)
    made = to_bundle(net, example, folder / "x.tta", objectives=("entropy", "actmad"), **more)
    return made.bundle


@pytest.mark.parametrize("name", KINDS)
def test_layers_that_keep_no_statistics(name, tmp_path):
    """They are measured on the samples; channels of LayerNorm and RMSNorm come last."""
    samples = batches(name, 64, seed=99)
    opened = exported(name, tmp_path, samples=samples)
    twin, run = Matching(name, samples), AdaptSession(opened).run
    assert len(twin.source) == len([k for k in opened.manifest.layers if k in twin.norms])
    best = np.inf
    for seed in range(3):
        batch = 1.5 * batches(name, 6, seed) + 0.3
        step = run("step/actmad", batch, opened.source_slots, alpha=0.0)
        want = twin(batch, 0.0, loss=twin.distance)
        loss = twin.distance().item()
        assert abs(float(step.objective) - loss) <= 1e-4 * loss
        best = min(best, misfit(step.gradients, want.gradients)[0])
    assert best <= 1


def test_a_model_of_instance_norms_is_refused(tmp_path):
    """Their outputs have the statistics that the slots say, whatever comes in."""
    with pytest.raises(ExportError, match="leave that objective out"):
        exported("norms:instance", tmp_path)


@pytest.mark.parametrize(("alpha", "n"), [(0.0, 1), (0.0, 6), (0.5, 6)])
def test_without_samples_running_statistics_stand_for_the_source(alpha, n, tmp_path):
    opened = exported("resnet20:factory", tmp_path)
    twin, run = Matching("resnet20:factory"), AdaptSession(opened).run
    assert all(isinstance(norm, _BatchNorm) for norm in twin.norms.values())
    best = np.inf
    for seed in range(4):
        batch = batches("resnet20:factory", n, seed)
        step = run("step/actmad", batch, opened.source_slots, alpha=alpha)
        want = twin(batch, alpha, loss=twin.distance)
        assert abs(float(step.objective) - twin.distance().item()) <= 1e-3 * float(step.objective)
        best = min(best, misfit(step.gradients, want.gradients)[0])
    assert best <= 1


def test_weights_of_a_scalar_loss_are_their_mean():
    batch, slots = stream(NAME)[0], bundle(NAME).source_slots
    run = Recorded(NAME)
    plain = run("step/actmad", batch, slots, alpha=0.0).gradients
    weight = np.linspace(0, 3, len(batch), dtype=np.float32)
    heavy = run("step/actmad", batch, slots, alpha=0.0, sample_weight=weight).gradients
    assert all(np.allclose(heavy[k], 1.5 * plain[k], rtol=1e-4, atol=1e-7) for k in plain)


def test_the_distance_falls_on_a_shifted_stream():
    """Down to half of what it exceeds that of source batches by; it never is zero for so few frames."""
    adapter, run, batch = (
        ActMad(lr=0.01, optimizer="sgd"),
        Recorded(NAME),
        lambda k: batches(NAME, 16, k),
    )
    state = source_state(adapter, bundle(NAME))
    for k in range(8):
        run("step/actmad", batch(k), state.slots, alpha=0.0)
    for k in range(30):
        state, _ = adapter.adapt(state, 0.6 * batch(k) + 0.4, run)
    losses = [s.objective.item() for s in run.steps]
    floor, first, last = (np.mean(part) for part in (losses[:8], losses[8:13], losses[-5:]))
    assert last - floor < 0.5 * (first - floor)


def test_any_task_has_it(tmp_path):
    """A regression bundle goes without entropy, and adapts all the same."""
    opened = to_bundle(*model("norms:factory"), tmp_path / "x.tta", task="regress").bundle
    assert opened.manifest.provides == ("batch", "step/actmad")
    adapter, run = ActMad(), AdaptSession(opened).run
    state = source_state(adapter, opened)
    after, outputs = adapter.adapt(state, batches("norms:factory", 4), run)
    assert set(outputs) == set(opened.manifest.outputs) and after.step == 1
    assert any(not np.array_equal(after.slots[k], v) for k, v in state.slots.items())

"""EATA against the published rule in torch: Fisher information, penalty, and what no frame is chosen for."""

import numpy as np
import pytest
import torch

from tests.adapters.test_against_torch import Optimizer, Recorded, close, stream
from tests.adapters.test_eta import chosen_by_the_paper
from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import batches, bundle, model
from tta.adapters.eata import Eata
from tta.adapters.eta import Eta
from tta.errors import BundleError, TtaError
from tta.runtime.method import source_state
from tta.runtime.model import Model
from tta.runtime.stream import Stream

NAME = "fashion:factory"
MODELS = (NAME, "sensor_cnn:factory")


def pseudo_label(logits):
    return torch.nn.functional.cross_entropy(logits, logits.detach().argmax(1), reduction="none")


@pytest.mark.parametrize("name", MODELS)
def test_fisher_information(name):
    """Squares of the gradients of single samples, for the labels that the source model gives."""
    calibration = bundle(name).calibration()
    twin, total = Twin(model(name)[0], HEBBIAN[name]), {}
    samples = batches(name, 64, seed=99)  # what the bundle was exported with
    for k in range(len(samples)):
        found = twin(samples[k : k + 1], 0.0, loss=pseudo_label).gradients
        total = {n: total.get(n, 0) + g**2 / len(samples) for n, g in found.items()}
    assert {n for n in calibration if n.startswith("fisher.")} == {f"fisher.{n}" for n in total}
    for slot, want in total.items():
        got = calibration[f"fisher.{slot}"]
        assert got.shape == want.shape and got.dtype == np.float32
        assert np.linalg.norm(got - want) <= 1e-2 * np.linalg.norm(want), slot


def penalty_gradients(twin, beta):
    """By autograd from β·Σ ω·(θ - θ⁰)², in the order in which it reads."""
    calibration, source = bundle(NAME).calibration(), bundle(NAME).source_slots
    leaves = {n: v for n, v in twin.leaves().items() if n.endswith((".scale", ".bias"))}
    terms = [
        (torch.tensor(calibration[f"fisher.{n}"]) * (v - torch.tensor(source[n])) ** 2).sum()
        for n, v in leaves.items()
    ]
    found = torch.autograd.grad(beta * torch.stack(terms).sum(), list(leaves.values()))
    return dict(zip(leaves, (g.numpy() for g in found)))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_eata(optimizer):
    margin, d, beta = 0.4, 0.9, 50.0
    adapter = Eata(margin=margin, d=d, penalty=beta, optimizer=optimizer, lr=3e-3)
    state, run = source_state(adapter, bundle(NAME)), Recorded(NAME)
    twin, theirs, mean = Twin(model(NAME)[0], HEBBIAN[NAME]), Optimizer(optimizer, 3e-3), None
    learned, share = 0, 0.0
    for k, batch in enumerate(stream(NAME)[:12]):
        batch = 0 * batch if k in (3, 4, 7) else batch  # frames too unsure to learn from
        before, run.steps = state, []
        state, outputs = adapter.adapt(before, batch, run)
        twin.load(before.slots)
        assert close(outputs["logits"], twin(batch).outputs["logits"])
        weights, mean = chosen_by_the_paper(outputs["logits"], mean, margin, d)
        assert state.step == before.step + 1 and state.parent == before.hash
        if not weights.any():
            assert all(np.array_equal(state.slots[n], before.slots[n]) for n in twin.leaves())
            continue
        learned += 1
        want = twin(batch, weights=weights * len(batch) / np.count_nonzero(weights)).gradients
        step = run.steps[-1]
        assert misfit(step.gradients, want)[0] <= 3  # a zero of a ReLU may be crossed
        pull = penalty_gradients(twin, beta)
        total = {n: (step.gradients[n] + g).astype(np.float32) for n, g in pull.items()}
        share = max(share, *(np.abs(g).max() for g in pull.values()))
        for slot, value in theirs.step(before.slots, total).items():
            assert np.abs(state.slots[slot] - value).max() <= 2e-6, slot
    assert 5 <= learned <= 9
    assert share > 1e-3  # the penalty was felt


def test_without_penalty_it_is_eta():
    eata, eta = Eata(penalty=0.0), Eta()
    run, state = Recorded(NAME), source_state(eata, bundle(NAME))
    same = source_state(eta, bundle(NAME))
    for batch in stream(NAME)[:6]:
        (state, _), (same, _) = eata.adapt(state, batch, run), eta.adapt(same, batch, run)
        assert all(np.array_equal(state.slots[n], v) for n, v in same.slots.items())


def test_a_large_penalty_holds_slots_that_matter_at_the_source():
    def away(penalty):
        adapter = Eata(penalty=penalty, d=1.0, optimizer="sgd", lr=0.01)
        state, run = source_state(adapter, bundle(NAME)), Recorded(NAME)
        for batch in stream(NAME):
            state, _ = adapter.adapt(state, batch, run)
        calibration, source = bundle(NAME).calibration(), bundle(NAME).source_slots
        return sum(
            float((calibration[f"fisher.{n}"] * (state.slots[n] - v) ** 2).sum())
            for n, v in source.items()
            if f"fisher.{n}" in calibration
        )

    assert away(20.0) < 0.7 * away(0.0)


def test_a_bundle_without_fisher_information_is_refused_before_the_first_frame():
    opened = bundle("mlp:factory")  # exported without samples
    assert not any(n.startswith("fisher.") for n in opened.calibration())
    with pytest.raises(BundleError, match="samples and --objectives entropy,pseudo_label"):
        Stream(Model(opened), "eata")
    with pytest.raises(BundleError, match="export again"):
        source_state(Eata(), opened)


def test_a_state_that_was_never_informed_is_refused():
    adapter, opened = Eata(d=1.0), bundle(NAME)
    state = adapter.init(opened.manifest, opened.source_slots)
    with pytest.raises(TtaError, match="source_state"):
        adapter.adapt(state, stream(NAME)[0], Recorded(NAME))


def test_bad_options():
    with pytest.raises(TtaError, match="penalty"):
        Eata(penalty=-1.0)

"""PowerNorm: its gradients, its warm-up, what it is invariant to, and what it does on single frames."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.bundles import batches, model
from tta.adapters.bn_stats import BnStats
from tta.export.assembly import to_bundle
from tta.export.power_norm import PowerNorm
from tta.runtime.session import AdaptSession, InferSession

C, A = 5, 0.9


def norm(**options):
    made = PowerNorm(C, **options).double()
    with torch.no_grad():
        made.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
        made.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    return made


def test_the_exact_gradient_is_the_papers(rng):
    """dx = (g - Z·mean(g·Z))/ψ with g = dy·weight and ψ² = mean(x²), for ε = 0."""
    pn = norm(eps=0.0)
    x = torch.tensor(rng.normal(1, 2, (4, C, 3, 3)), requires_grad=True)
    dy = rng.normal(size=x.shape)
    pn.by_batch(x).backward(torch.tensor(dy))
    data, weight = x.detach().numpy(), pn.weight.detach().numpy()[:, None, None]
    psi = np.sqrt((data**2).mean((0, 2, 3), keepdims=True))
    z, g = data / psi, dy * weight
    want = (g - z * (g * z).mean((0, 2, 3), keepdims=True)) / psi
    assert np.abs(x.grad.numpy() - want).max() < 1e-9


def test_warm_up_is_a_plain_mean_and_by_the_batch(rng):
    pn = norm(warmup=3).train()
    squares = []
    for k in range(3):
        x = torch.tensor(rng.normal(k, 1 + k, (6, C, 4)))
        squares.append((x**2).mean((0, 2)).numpy())
        y = pn(x).detach().numpy()
        z = x.numpy() / np.sqrt(squares[-1][:, None] + 1e-5)
        want = z * pn.weight.detach().numpy()[:, None] + pn.bias.detach().numpy()[:, None]
        assert np.allclose(y, want, atol=1e-12)
        assert np.allclose(pn.running_square, np.mean(squares, 0), atol=1e-12)
        assert not pn.running_gradient.any()


def test_the_approximate_gradient_step_by_step(rng):
    """Algorithm 2 written again in numpy: Γ = mean(Z²), Λ = mean(g·Z), ν ← ν·(1 - (1-a)Γ) + (1-a)·Λ."""
    pn = norm(warmup=0).train()
    phi, nu = np.ones(C), np.zeros(C)
    w, b = (p.detach().numpy()[:, None] for p in (pn.weight, pn.bias))
    for k in range(6):
        x = rng.normal(0.5, 1 + 0.3 * k, (6, C, 4))
        dy = rng.normal(0.2, 1, x.shape)
        leaf = torch.tensor(x, requires_grad=True)
        pn.zero_grad()
        y = pn(leaf)
        y.backward(torch.tensor(dy))
        psi = np.sqrt(phi + 1e-5)[:, None]
        z = x / psi
        assert np.abs(y.detach().numpy() - (w * z + b)).max() < 1e-12
        g = dy * w
        assert np.abs(leaf.grad.numpy() - (g - nu[:, None] * z) / psi).max() < 1e-12
        assert np.abs(pn.weight.grad.numpy() - (dy * z).sum((0, 2))).max() < 1e-10
        assert np.abs(pn.bias.grad.numpy() - dy.sum((0, 2))).max() < 1e-10
        gamma, lam = (z**2).mean((0, 2)), (g * z).mean((0, 2))
        nu = nu * (1 - (1 - A) * gamma) + (1 - A) * lam
        phi = A * phi + (1 - A) * (x**2).mean((0, 2))
        assert np.abs(pn.running_gradient.numpy() - nu).max() < 1e-12
        assert np.abs(pn.running_square.numpy() - phi).max() < 1e-12


def test_a_net_trains_with_it_past_the_warm_up():
    """Two classes of noise that differ in the signs of their products, which no linear model tells apart."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 2, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 32), PowerNorm(32, warmup=20), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(300):
        at = torch.arange(64) + 64 * (step % 8)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.train()(x[at]), y[at]).backward()
        optimizer.step()
    with torch.no_grad():
        assert (net.eval()(x).argmax(1) == y).float().mean() > 0.95


def test_a_gain_on_its_input_leaves_no_trace(rng):
    """Under x → g·x, one gain a channel, the converged layer answers as the source does."""
    pn = norm(eps=0.0).eval()
    x = torch.tensor(rng.normal(1, 2, (400, C)))
    pn.calibrate(x)
    want = pn(x)
    gain = torch.tensor(np.exp(rng.normal(0, 0.8, C)))
    assert (pn(gain * x) - want).abs().max() > 0.5
    pn.calibrate(gain * x)
    assert (pn(gain * x) - want).abs().max() < 1e-12


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """``norms:power``, calibrated, as a bundle; the export itself compares its gradients with torch's."""
    net, example = model("norms:power")
    x = torch.tensor(batches("norms:power", 64))
    for layer in net.features:  # one after the other, each behind those before it
        if isinstance(layer, PowerNorm):
            layer.calibrate(x)
        with torch.no_grad():
            x = layer(x)
    out = tmp_path_factory.mktemp("pn") / "power.tta"
    return net, to_bundle(net, example, out).bundle


def test_it_is_lifted_with_one_statistic(exported):
    net, bundle = exported
    kinds = bundle.manifest.layers
    names = [n for n, kind in kinds.items() if kind == "power_norm"]
    assert names == ["features.1", "features.4", "features.7"]
    roles = [s.role for s in bundle.manifest.slots if s.layer == "features.1"]
    assert sorted(roles) == ["bias", "scale", "square"]
    batch = batches("norms:power", 8)
    with torch.no_grad():
        want = net(torch.tensor(batch)).numpy()
    got = InferSession(bundle, bundle.source_slots).run(batch)["logits"]
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("options", [{}, {"ghost": 64}], ids=["by batch", "by ghost"])
def test_the_stream_writes_its_mean_square(exported, options):
    """Converged at three times the contrast, the adapted model answers as the source did at one."""
    _, bundle = exported
    run = AdaptSession(bundle).run
    batch = batches("norms:power", 64)
    adapter = BnStats(momentum=1.0, **options)
    state = adapter.init(bundle.manifest, bundle.source_slots)
    for _ in range(6):
        state, _ = adapter.adapt(state, 3 * batch, run)
    got = run("batch", 3 * batch, state.slots, alpha=0.0).outputs["logits"]
    want = run("batch", batch, bundle.source_slots, alpha=0.0).outputs["logits"]
    before = run("batch", 3 * batch, bundle.source_slots, alpha=0.0).outputs["logits"]
    size = np.abs(want).max()
    assert np.abs(got - want).max() < 2e-3 * size and np.abs(before - want).max() > 0.1 * size
    ratio = state.slots["features.1.square"] / bundle.source_slots["features.1.square"]
    assert np.allclose(ratio, 9, rtol=1e-3)


def digits(kind):
    """A norm and a linear head on fixed random features of the digits, trained; and the data after it."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data.target))
    first = rng.normal(0, 0.125, (64, 256))
    features = np.maximum((data.data / 8 - 0.6) @ first, 0)[order].astype(np.float32)
    labels = data.target[order]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = PowerNorm(256, warmup=100) if kind == "power" else nn.BatchNorm1d(256)
        net = nn.Sequential(made, nn.Linear(256, 10))
    x, y = torch.tensor(features[:1000]), torch.tensor(labels[:1000])
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.train()(x), y).backward()
        optimizer.step()
    return net.eval(), features[1000:], labels[1000:]


def accuracy(bundle, adapter, x, labels, settle=300):
    """Share of right answers, one frame at a time, after the first frames."""
    run, right = AdaptSession(bundle).run, []
    state = adapter.init(bundle.manifest, bundle.source_slots)
    for frame, label in zip(x, labels):
        state, outputs = adapter.adapt(state, frame[None], run)
        right.append(outputs["logits"].argmax() == label)
    return float(np.mean(right[settle:]))


def test_single_frames_on_digits_under_a_drift_of_gains(tmp_path):
    """Following its mean square frame by frame it is as good as on clean data; a batch of one breaks BN."""
    found = {}
    for kind in ("power", "batch"):
        net, x, labels = digits(kind)
        bundle = to_bundle(net, torch.tensor(x[:4]), tmp_path / f"{kind}.tta").bundle
        drifted = x * np.exp(np.random.default_rng(1).normal(0, 0.8, 256)).astype(np.float32)
        following = BnStats(momentum=0.01, ghost=1)
        with torch.no_grad():
            clean, frozen = (
                float((net(torch.tensor(v[300:])).argmax(1).numpy() == labels[300:]).mean())
                for v in (x, drifted)
            )
        found[kind] = {
            "clean": clean,
            "frozen": frozen,
            "following": accuracy(bundle, following, drifted, labels),
            "batch of one": accuracy(bundle, BnStats(), drifted, labels),
        }
    print(found)
    power, batch = found["power"], found["batch"]
    assert power["clean"] > 0.9
    assert power["following"] > power["clean"] - 0.01
    assert batch["batch of one"] < 0.2

"""The torch modules that export checks its graphs against, themselves checked against torch."""

import pytest
import torch
from torch import nn

from tta.export.reference import AdaptiveNorm, HebbianModulation, Modulator, Rule

BATCH = {
    "1d": (nn.BatchNorm1d(6), (5, 6, 9)),
    "1d vectors": (nn.BatchNorm1d(6), (5, 6)),
    "2d": (nn.BatchNorm2d(4, eps=1e-3), (3, 4, 5, 6)),
    "3d": (nn.BatchNorm3d(3), (2, 3, 4, 3, 2)),
    "2d without affine": (nn.BatchNorm2d(4, affine=False), (3, 4, 5, 6)),
}
OWN = {  # these have statistics of their own, whatever alpha says
    "layer": (nn.LayerNorm(7), (3, 5, 7)),
    "layer over two axes": (nn.LayerNorm((5, 7)), (3, 5, 7)),
    "group": (nn.GroupNorm(2, 6), (3, 6, 4)),
    "instance": (nn.InstanceNorm2d(4, affine=True), (3, 4, 5, 5)),
    "rms": (nn.RMSNorm(7, eps=1e-5), (3, 5, 7)),
}


def drawn(norm, shape):
    generator = torch.Generator().manual_seed(0)
    norm = norm.double().eval()
    with torch.no_grad():
        for name, value in norm.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5, generator=generator)
                if name in ("bias", "running_mean"):
                    value.sub_(1)
    return norm, torch.randn(shape, generator=generator, dtype=torch.float64) + 0.4


def both(plain, adaptive, x):
    """Outputs and all gradients of both modules for the same cotangent."""
    found = []
    for module in (plain, adaptive):
        module.zero_grad()
        z = x.clone().requires_grad_()
        y = module(z)
        y.backward(torch.cos(torch.arange(y.numel(), dtype=y.dtype)).view_as(y))
        found.append([y.detach(), z.grad, *(p.grad.clone() for p in plain.parameters())])
    return zip(*found)


@pytest.mark.parametrize("case", BATCH)
def test_source_statistics_are_eval_mode(case):
    norm, x = drawn(*BATCH[case])
    assert all(torch.allclose(a, b) for a, b in both(norm, AdaptiveNorm(norm, 0.0), x))


@pytest.mark.parametrize("case", BATCH)
def test_batch_statistics_are_train_mode(case):
    norm, x = drawn(*BATCH[case])
    norm.train()
    norm.momentum = 0.0
    assert all(torch.allclose(a, b) for a, b in both(norm, AdaptiveNorm(norm, 1.0), x))


@pytest.mark.parametrize("case", BATCH)
def test_torch_s_own_running_statistics_are_the_blend(case):
    """In train mode with momentum alpha torch keeps (1-α)·old + α·batch, with an unbiased variance."""
    norm, x = drawn(*BATCH[case])
    wrapped = AdaptiveNorm(norm, 0.3)
    got = wrapped(x)
    n = x.numel() // x.shape[1]
    kept = nn.BatchNorm1d(x.shape[1], eps=norm.eps).double()
    kept.load_state_dict({**kept.state_dict(), **norm.state_dict()})
    kept.momentum = 0.3
    kept.train()(x.transpose(0, 1).flatten(1).T)
    mean = kept.running_mean
    var = 0.7 * norm.running_var + (kept.running_var - 0.7 * norm.running_var) * (n - 1) / n
    want = nn.functional.batch_norm(x, mean, var, norm.weight, norm.bias, False, 0.0, norm.eps)
    assert torch.allclose(got, want)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("case", OWN)
def test_norms_with_own_statistics_ignore_alpha(case, alpha):
    norm, x = drawn(*OWN[case])
    assert all(torch.allclose(a, b) for a, b in both(norm, AdaptiveNorm(norm, alpha), x))


@pytest.mark.parametrize("case", [*BATCH, *OWN])
def test_the_moments_kept(case):
    norm, x = drawn(*{**BATCH, **OWN}[case])
    wrapped = AdaptiveNorm(norm)
    wrapped(x)
    channel = x.ndim - 1 if isinstance(norm, nn.LayerNorm | nn.RMSNorm) else 1
    rows = x.movedim(channel, 0).flatten(1)
    assert torch.allclose(wrapped.batch_mean, rows.mean(1))
    assert torch.allclose(wrapped.batch_var, rows.var(1, unbiased=False))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 4, 3, padding=1), (3, 2, 5, 5)),
        (nn.Conv1d(2, 4, 3, stride=2), (3, 2, 9)),
        (nn.Linear(5, 4), (3, 5)),
    ],
)
def test_without_eta_the_layer_is_itself(layer, shape):
    x = torch.randn(shape)
    wrapped = HebbianModulation(layer)
    assert torch.equal(wrapped(x), layer(x)) and torch.equal(wrapped.new, layer.weight)
    wrapped.rule = Rule(eta=0.1)
    assert not torch.equal(wrapped(x), layer(x))
    assert torch.allclose(
        wrapped.new.flatten(1).norm(dim=1), layer.weight.flatten(1).norm(dim=1), rtol=1e-5
    )


def test_the_modulator_at_rest_changes_nothing():
    x = torch.randn(2, 4, 5)
    made = Modulator(nn.Identity(), 4, 1)
    assert torch.equal(made(x), x)
    with torch.no_grad():
        made.gain[1], made.shift[1] = 2, 3
    assert torch.equal(made(x)[:, 1], 2 * x[:, 1] + 3) and torch.equal(made(x)[:, 2], x[:, 2])

"""Where a step's gradient came from, against torch.autograd and the published rule."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.autograd import HEBBIAN, Twin, patches
from tests.bundles import batches, explained, model
from tests.bundles import bundle as plain
from tta.errors import BundleError
from tta.export import to_bundle
from tta.runtime.session import AdaptSession

NAMES = ["norms:factory", "norms:group", "norms:layer", "norms:instance", "sensor_cnn:factory"]


class Narrow(nn.Module):
    """A 1x1 convolution that widens, whose norm the other graphs compute together with it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.widen = nn.Conv2d(4, 12, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = torch.relu(self.bn1(self.stem(x)))
        return self.head(torch.relu(self.bn2(self.widen(x))).mean((2, 3)))


def torch_contributions(net, hebbian, batch, alpha):
    """c_u of every norm slot, (N, ..., C, ...) as the layer has it, in float64."""
    twin = Twin(net, hebbian)
    outputs = {}

    def keep(name):
        def hook(module, inputs, y):
            y.retain_grad()
            outputs[name] = y

        return hook

    for name, norm in twin.norms.items():
        norm.register_forward_hook(keep(name), prepend=True)  # before a modulator changes it
    twin.alpha, twin.plastic = alpha, type(twin.plastic)()
    logits = twin.net(torch.tensor(batch, dtype=twin.dtype))
    torch.distributions.Categorical(logits=logits).entropy().mean().backward()
    found = {}
    for name, norm in twin.norms.items():
        y = outputs[name]
        last = isinstance(norm, nn.LayerNorm)
        shape = [-1] if last else [1, -1] + [1] * (y.ndim - 2)
        bias, scale = norm.bias.view(shape), norm.weight.view(shape)
        xhat = ((y - bias) / scale).detach()
        found[f"{name}.scale"] = (
            (y.grad * xhat).numpy(),
            -1 if last else 1,
            norm.weight.grad.numpy(),
        )
        found[f"{name}.bias"] = y.grad.numpy(), -1 if last else 1, norm.bias.grad.numpy()
    return found


def near(got, want, tolerance=1e-4):
    return np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-9)


def signed(gradient, contribution, channel):
    return np.moveaxis(contribution, channel, -1) @ gradient


@pytest.mark.parametrize("alpha", [1.0, 0.0])
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_of_autograd(name, alpha):
    net, _ = model(name)
    bundle, batch = explained(name), batches(name, 5)
    got = AdaptSession(bundle).run("explain/entropy", batch, bundle.source_slots, alpha=alpha)
    want = torch_contributions(net, HEBBIAN[name], batch, alpha)
    top = max(np.linalg.norm(g) for *_, g in want.values())
    compared = 0
    for slot, (contribution, channel, gradient) in want.items():
        assert near(got.outputs[f"map.{slot}"], np.linalg.norm(contribution, axis=channel)), slot
        together = np.linalg.norm(contribution.sum(0, keepdims=True), axis=channel)[0]
        assert near(got.outputs[f"place.{slot}"], together), slot
        others = tuple(k for k in range(contribution.ndim) if k != channel % contribution.ndim)
        assert np.abs(contribution.sum(others) - gradient).max() <= 1e-10 * top  # it decomposes
        if slot in bundle.manifest.zero_gradient and alpha == 1:
            assert not got.outputs[f"along.{slot}"].any()
            continue
        assert near(got.gradients[slot], gradient), slot
        along = got.outputs[f"along.{slot}"]
        assert near(along, signed(gradient, contribution, channel), 1e-3), slot
        assert along.sum() == pytest.approx((gradient**2).sum(), rel=1e-4)
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize("alpha", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("name", [*NAMES, "norms:rms", "vit:factory"])
def test_contributions_sum_to_the_gradient_of_the_step(name, alpha):
    bundle, batch = explained(name), batches(name, 6, seed=1)
    session = AdaptSession(bundle)
    weight = np.array([0, 1, 2, 0.5, 1, 3], np.float32)
    for objective in ("entropy", "nhl"):
        inputs = {"alpha": alpha, "sample_weight": weight}
        if objective == "nhl":
            inputs |= {"eta": 1e-2, "anti": 1.0}
        whole = session.run(f"step/{objective}", batch, bundle.source_slots, **inputs)
        parts = session.run(f"explain/{objective}", batch, bundle.source_slots, **inputs)
        assert parts.gradients.keys() == whole.gradients.keys()
        top = max(float(np.linalg.norm(g)) for g in whole.gradients.values())
        for slot, gradient in whole.gradients.items():
            off = np.linalg.norm(parts.gradients[slot] - gradient)
            assert off <= 1e-4 * np.linalg.norm(gradient) + 1e-6 * top, slot
            total = parts.outputs[f"along.{slot}"].sum(dtype=np.float64)
            assert total == pytest.approx(float((gradient**2).sum()), rel=1e-3, abs=1e-6 * top**2)
            assert (parts.outputs[f"map.{slot}"] >= 0).all()
        if objective == "entropy":
            assert not parts.new
        for slot, new in whole.new.items():
            assert np.array_equal(parts.new[slot], new)
        if alpha == 0:  # frames do not touch: one without weight contributes to no gradient
            maps = [parts.outputs[f"map.{slot}"] for slot in whole.gradients]
            assert not any(m[0].any() for m in maps) and all(m[1].any() for m in maps)


@pytest.mark.parametrize("name", ["norms:factory", "sensor_cnn:factory"])
def test_statistics_move_by_what_positions_add(name):
    """c_u = (x_u - μ)/σ and ((x_u - μ_b)² - σ²)/σ², at a state that is not the source."""
    net, _ = model(name)
    bundle, batch = explained(name), batches(name, 5)
    rng, slots = np.random.default_rng(1), dict(bundle.source_slots)
    for k, v in slots.items():
        if k.endswith((".mean", ".var")):
            slots[k] = (v * rng.uniform(0.5, 1.5, v.shape)).astype(np.float32)
    session, inputs = AdaptSession(bundle), {}
    outputs = session.run("explain/entropy", batch, slots, alpha=1.0).outputs
    twin = Twin(net, HEBBIAN[name])
    twin.load(slots)
    for layer, norm in twin.norms.items():
        norm.register_forward_pre_hook(lambda m, x, layer=layer: inputs.update({layer: x[0]}))
    twin.alpha = 1.0
    twin.net(torch.tensor(batch, dtype=twin.dtype))
    moments = session.run("batch", batch, slots, alpha=1.0).moments
    checked = 0
    for layer, norm in twin.norms.items():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        x = np.moveaxis(inputs[layer].detach().numpy(), 1, -1)
        flat = x.reshape(-1, x.shape[-1])
        deviation = np.sqrt(norm.running_var.numpy() + norm.eps)
        shift = (x - norm.running_mean.numpy()) / deviation
        spread = ((x - flat.mean(0)) ** 2 - norm.running_var.numpy()) / deviation**2
        old_mean, old_var = (slots[f"{layer}.{k}"] for k in ("mean", "var"))
        for kind, want, moved in (
            ("mean", shift, (moments[layer].mean - old_mean) / deviation),
            ("var", spread, (moments[layer].var - old_var) / deviation**2),
        ):
            slot, whole = f"{layer}.{kind}", want.reshape(flat.shape).sum(0)
            assert np.allclose(whole / len(flat), moved, rtol=1e-3, atol=1e-3)  # it decomposes
            assert near(outputs[f"map.{slot}"], np.linalg.norm(want, axis=-1)), slot
            assert near(outputs[f"place.{slot}"], np.linalg.norm(want.sum(0), axis=-1), 1e-3), slot
            assert near(outputs[f"along.{slot}"], want @ whole, 1e-3), slot
            checked += 1
    assert checked >= 4
    alone = session.run("explain/batch", batch, slots, alpha=1.0).outputs
    for key, value in alone.items():
        assert near(value, outputs[key]), key


def test_a_norm_that_is_computed_with_its_convolution(tmp_path):
    bundle = to_bundle(
        Narrow(), torch.randn(4, 2, 9, 9), tmp_path / "narrow.tta", explain=True
    ).bundle
    batch = np.random.default_rng(0).normal(size=(4, 2, 9, 9)).astype(np.float32)
    got = AdaptSession(bundle).run("explain/entropy", batch, bundle.source_slots, alpha=1.0)
    want = torch_contributions(Narrow().eval(), ("stem", "bn1"), batch, 1.0)
    for slot, (contribution, channel, _) in want.items():
        assert near(got.outputs[f"map.{slot}"], np.linalg.norm(contribution, axis=channel)), slot


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("name", ["norms:factory", "sensor_cnn:factory", "mlp:factory"])
def test_the_hebbian_map_is_the_size_of_each_patch_s_change(name, anti):
    """c_u = s_u (R x_u - u_u w), formed as an outer product, unit by unit."""
    net, _ = model(name)
    bundle, batch = explained(name), batches(name, 4)
    layer = net.get_submodule(HEBBIAN[name][0])
    slot = f"{HEBBIAN[name][0]}.weight"
    rng = np.random.default_rng(2)
    moved = bundle.source_slots[slot] + 0.05 * rng.normal(size=layer.weight.shape).astype(
        np.float32
    )
    slots = {**bundle.source_slots, slot: moved}
    got = AdaptSession(bundle).run(
        "explain/nhl", batch, slots, alpha=1.0, eta=1e-2, anti=float(anti), t_invert=2.0
    )
    w = torch.tensor(moved, dtype=torch.float64).flatten(1)
    r = layer.weight.detach().double().flatten(1).square().sum(1)
    rows = patches(torch.tensor(batch, dtype=torch.float64), layer)
    u = rows @ w.T
    s = torch.softmax(2.0 * u, 1)
    if anti:
        s = torch.where(u == u.max(1, keepdim=True).values, s, -s)
    change = s[:, :, None] * (r[:, None] * rows[:, None] - u[:, :, None] * w)  # (P, K, D)
    total = change.sum(0)
    size, along = (got.outputs[f"{kind}.{slot}"] for kind in ("map", "along"))
    assert near(size.reshape(-1), change.flatten(1).norm(dim=1).numpy())
    assert near(along.reshape(-1), (change * total).flatten(1).sum(1).numpy(), 1e-3)
    assert along.sum(dtype=np.float64) == pytest.approx(float(total.square().sum()), rel=1e-4)


def test_a_bundle_has_these_graphs_when_asked():
    assert "explain/entropy" in explained("norms:factory").manifest.provides
    bundle = plain("norms:factory")
    assert not [g for g in bundle.manifest.provides if g.startswith("explain")]
    with pytest.raises(BundleError, match="export again with --explain"):
        bundle.graph("explain/entropy")

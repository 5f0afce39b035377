"""The Z-loss adapter against the published loss in torch, and the properties that it is there for."""

import math

import numpy as np
import pytest
import torch

from tests.adapters.objective_steps import follows
from tests.adapters.test_against_torch import stream
from tests.bundles import bundle, session
from tta.adapters.tent import Tent
from tta.adapters.z_loss import ZLoss
from tta.export.reference import TorchOperators

NAME = "fashion:factory"


def published(logits, a=1.0, share=0.5):
    """Frame by frame as the definition reads: standardize, take the label's z, softplus."""
    losses = []
    for o in logits:
        z = (o - o.mean()) / o.var(correction=0).sqrt()
        b = share * math.sqrt(len(o) - 1)
        losses.append(torch.log1p(torch.exp(a * (b - z[o.detach().argmax()]))) / a)
    return torch.stack(losses)


def z_loss(logits):
    return ZLoss.objective(TorchOperators(), {"logits": logits})


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [NAME, "sensor_cnn:factory"])
def test_z_loss(name, optimizer):
    follows(ZLoss(optimizer=optimizer), name, optimizer, published, rtol=1e-4)


def logits_and_gradient(n=64, k=10):
    generator = torch.Generator().manual_seed(3)
    o = 3 * torch.randn(n, k, generator=generator, dtype=torch.float64) + 1
    o.requires_grad_(True)
    loss = z_loss(o)
    (gradient,) = torch.autograd.grad(loss.sum(), o)
    return o.detach(), loss.detach(), gradient


def test_neither_shift_nor_scale_matters():
    o, loss, gradient = logits_and_gradient()
    assert (loss - z_loss(7 * o + 5)).abs().max() <= 1e-12
    assert gradient.sum(1).abs().max() <= 1e-12
    assert (gradient * o).sum(1).abs().max() <= 1e-10
    assert gradient.abs().max() > 1e-3  # and yet there is something to learn


def test_gradient_is_the_closed_form():
    o, _, gradient = logits_and_gradient()
    z = (o - o.mean(1, keepdim=True)) / o.std(1, correction=0, keepdim=True)
    label = torch.nn.functional.one_hot(o.argmax(1), o.shape[1]).double()
    top = z.max(1, keepdim=True).values
    steep = -torch.sigmoid(0.5 * math.sqrt(o.shape[1] - 1) - top)
    want = (
        steep * (label - 1 / o.shape[1] - z * top / o.shape[1]) / o.std(1, correction=0).view(-1, 1)
    )
    assert (gradient - want).abs().max() <= 1e-10


def test_no_z_is_above_the_bound_that_b_is_a_share_of():
    o = torch.tensor([[50.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.float64)
    want = math.log1p(math.exp(1.5 - 3.0))  # z = √9, b = √9 / 2
    assert abs(float(z_loss(o)) - want) <= 1e-9


def grown(make):
    """How much larger the spread of a frame's logits is after five passes over a stream."""
    adapter, run = make(lr=0.02, optimizer="sgd"), session(NAME).run
    state = adapter.init(bundle(NAME).manifest, bundle(NAME).source_slots)

    def spread(slots):
        return np.mean(
            [run("batch", x, slots).outputs["logits"].std(1).mean() for x in stream(NAME)]
        )

    before = spread(state.slots)
    for _ in range(5):
        for batch in stream(NAME):
            state, _ = adapter.adapt(state, batch, run)
    return spread(state.slots) / before


def test_logits_grow_under_entropy_and_not_under_the_z_loss():
    """Measured: 1.18 and 0.95."""
    assert grown(Tent) > 1.1
    assert 0.9 < grown(ZLoss) <= 1.0

import importlib

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

SHAPES = {
    "resnet20:factory": (3, 32, 32),
    "wrn:factory": (3, 32, 32),
    "wrn:wrn_40_2": (3, 32, 32),
    "mobilenet_v2:factory": (3, 64, 64),
    "resnet18:factory": (3, 64, 64),
    "resnet50:factory": (3, 64, 64),
    "efficientnet_lite:factory": (3, 64, 64),
    "vit:factory": (3, 32, 32),
    "vit:mean_pool": (3, 32, 32),
    "sensor_cnn:factory": (6, 100),
    "mlp:factory": (64,),
    "norms:factory": (3, 16, 16),
    "norms:layer": (3, 16, 16),
    "norms:group": (3, 16, 16),
    "norms:instance": (3, 16, 16),
    "norms:rms": (3, 16, 16),
    "fashion:factory": (1, 28, 28),
    "cifar:factory": (3, 32, 32),
}


def made(name, seed=0):
    torch.set_num_threads(1)
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"tests.models.{module}"), function)(seed)


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_forward(name):
    model, x = made(name)
    assert not model.training
    assert x.shape == (4, *SHAPES[name]) and x.dtype == torch.float32
    logits = model(x)
    assert logits.ndim == 2 and len(logits) == 4
    assert torch.isfinite(logits).all()
    assert logits.std(0).mean() > 0.3  # inputs are told apart
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_var.std() > 0 and module.weight.std() > 0


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "wrn:wrn_40_2"])
@torch.no_grad()
def test_seed_decides(name):
    before = torch.random.get_rng_state()
    (a, x), (b, y), (_, z) = made(name), made(name), made(name, 1)
    assert torch.equal(x, y) and not torch.equal(x, z)
    other = b.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in a.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), before)

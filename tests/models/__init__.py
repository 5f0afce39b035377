"""Models of the families that an export must handle; ``tests.models.<file>:factory`` makes one.

A factory takes a seed and returns the model in eval mode and an example batch of four. Nothing in
the model is trivially 1 or 0: see ``prepared``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.RMSNorm)


def random_batch(n: int, shape: tuple[int, ...]) -> Tensor:
    """(n, *shape) random inputs that differ from one another, with coarse and fine structure."""
    fine = torch.randn(n, *shape)
    if len(shape) == 1:
        return fine
    mode = "bilinear" if len(shape) == 3 else "linear"
    coarse = torch.randn(n, shape[0], *[4] * (len(shape) - 1))
    return nn.functional.interpolate(coarse, shape[1:], mode=mode) + 0.5 * fine


@torch.no_grad()
def prepared(
    build: Callable[[], nn.Module], shape: tuple[int, ...], seed: int, settle: int = 32
) -> tuple[nn.Module, Tensor]:
    """The model that ``build`` makes, brought to life, and a batch of four inputs of that shape.

    Scales of norms are drawn from 0.5..1.5, biases from -0.3..0.3, running statistics are those of
    two batches of random inputs, and the head is moved and scaled so that the logits of different
    inputs differ as a trained model's do: entropies lie well between 0 and log K.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().eval()
        for module in model.modules():
            if isinstance(module, NORMS):
                if module.weight is not None:
                    module.weight.uniform_(0.5, 1.5)
                if getattr(module, "bias", None) is not None:
                    module.bias.uniform_(-0.3, 0.3)
        batch_norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        momenta = [m.momentum for m in batch_norms]
        for module in batch_norms:
            module.momentum = None  # the plain average over all batches
            module.train()
        for _ in range(2):
            model(random_batch(settle, shape))
        for module, momentum in zip(batch_norms, momenta):
            module.momentum = momentum
        model.eval()
        logits = model(random_batch(settle, shape))
        middle, gain = logits.mean(0), 2 / (logits - logits.mean(0)).std()
        head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
        head.bias.sub_(middle).mul_(gain)
        head.weight.mul_(gain)
        return model, random_batch(4, shape)

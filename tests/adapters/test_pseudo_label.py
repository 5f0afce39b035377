"""The pseudo-label adapter against torch's own cross-entropy, step by step from the same state."""

import pytest
import torch

from tests.adapters.objective_steps import follows
from tta.adapters.pseudo_label import PseudoLabel


def own_labels(logits):
    return torch.nn.functional.cross_entropy(logits, logits.detach().argmax(1), reduction="none")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["fashion:factory", "sensor_cnn:factory"])
def test_pseudo_label(name, optimizer):
    follows(PseudoLabel(optimizer=optimizer), name, optimizer, own_labels, rtol=1e-3)

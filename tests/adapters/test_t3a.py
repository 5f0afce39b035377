"""T3A against its definition with unbounded support sets, in torch."""

import numpy as np
import pytest
import torch

from tests.bundles import batches, bundle, session
from tta.adapters.t3a import T3a
from tta.errors import TtaError


@pytest.mark.parametrize("filter_k", [1, 3])
def test_it_equals_its_definition(filter_k):
    opened, run = bundle("fashion:factory"), session("fashion:factory").run
    method = T3a(filter_k)
    source = state = method.init(opened.manifest, opened.source_slots)
    w = torch.tensor(source.slots["head.weight"], dtype=torch.float64)
    b = torch.tensor(source.slots["head.bias"], dtype=torch.float64)
    sets = [[row] for row in w]
    for k in range(5):
        x = batches("fashion:factory", 12, seed=k)
        plain = run("batch", x, source.slots, alpha=0.0).outputs["features"]
        state, outputs = method.adapt(state, x, run)
        z = torch.tensor(plain, dtype=torch.float64)
        for row in z:
            sets[int((w @ row + b).argmax())].append(row)
        centroids = []
        for members in sets:
            all_ = torch.stack(members)
            h = torch.distributions.Categorical(logits=all_ @ w.T + b).entropy()
            best = all_[h.argsort(stable=True)[:filter_k]]
            centroids.append(torch.nn.functional.normalize(best).mean(0))
        want = torch.stack(centroids)
        assert np.abs(state.slots["head.weight"] - want.numpy()).max() < 1e-5
        assert np.allclose(outputs["logits"], (z @ want.T).numpy(), rtol=1e-5, atol=1e-5)
        assert len(state.memory["owner"]) <= filter_k * len(w)
        committed = run("batch", x, state.slots, alpha=0.0).outputs["logits"]
        assert np.allclose(committed, outputs["logits"], rtol=1e-4, atol=1e-4)


def test_a_bad_option_is_refused():
    with pytest.raises(TtaError, match="filter_k"):
        T3a(0)

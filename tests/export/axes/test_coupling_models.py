"""On every exported model the static answer is that of the numbers, for every float tensor."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.bundles import batches, bundle
from tests.export.axes import numeric
from tta.export.coupling import labels, read

MODELS = (
    *("mlp:factory", "fashion:factory", "sensor_cnn:factory", "resnet20:factory", "wrn:factory"),
    *("norms:factory", "norms:layer", "norms:group", "norms:instance", "norms:rms"),
    *("mobilenet_v2:factory", "vit:factory", "vit:mean_pool"),
)
FAINT = 1e-12
STEERED = {"alpha": 0.7, "eta": 0.5, "anti": 1.0, "max_norm": 1.0, "centre": 1.0}


def feeds(name, session, known):
    """Three draws: the whole batch, and its sample alone; slots are moved from their source values.

    In the third, every other scale lies about ``FAINT``, where a graph may begin to take it for 0: what
    is chosen by that, or cancels while scales are larger, shows only there.
    """
    opened, draws = bundle(name), []
    sample = opened.manifest.input.name
    for seed in range(3):
        rng, whole = np.random.default_rng(seed), {}
        for argument in session.get_inputs():
            key = argument.name
            if key == sample:
                whole[key] = batches(name, numeric.BATCH, seed)
            elif key == "sample_weight":
                whole[key] = rng.uniform(0.5, 1.5, numeric.BATCH).astype(np.float32)
            elif key in opened.source_slots:
                value = opened.source_slots[key]
                moved = rng.uniform(0, 0.1, value.shape).astype(np.float32)
                whole[key] = value + moved
                if seed == 2 and key.endswith(".scale"):
                    faint = FAINT * np.exp(rng.uniform(-2, 2, value.shape))
                    whole[key][::2] = faint[::2]
            else:
                value = known.get(key, STEERED.get(key, 5.0))  # 5: a temperature
                whole[key] = np.array(value, np.float32)
        at = slice(numeric.SAMPLE, numeric.SAMPLE + 1)
        batched = (sample, "sample_weight")
        draws.append((whole, {k: v[at] if k in batched else v for k, v in whole.items()}))
    return draws


CASES = (
    ("infer", {}),
    ("batch", {}),
    ("batch", {"alpha": 0.0}),
    ("step/entropy", {}),
    ("step/nhl", {}),
    ("step/nhl", {"alpha": 0.0, "eta": 0.0}),
)


@pytest.mark.parametrize("name", MODELS)
def test_static_answer_is_the_numeric_one(name):
    opened = bundle(name)
    weights = load_file(opened.path / "weights.safetensors")
    for graph, known in CASES:
        if graph != "infer" and graph not in opened.manifest.provides:
            continue
        found = labels(read(opened.graph(graph)), known)
        assert not found.unknown
        session = numeric.session(read(opened.graph(graph)), weights)
        different = numeric.differences(session, found.tensors, feeds(name, session, known))
        assert len(different) > 10
        wrong = {
            key: (found[key].state, found[key].names(), difference)
            for key, difference in different.items()
            if numeric.verdict(difference, found[key]) != found[key].state
        }
        assert not wrong, f"{graph} {known}: {len(wrong)} of {len(different)} tensors"


@pytest.mark.parametrize("name", MODELS)
def test_the_manifest_says_which_layers_mix(name):
    """In the batch graph nothing but the layers that the manifest names can mix the outputs."""
    manifest = bundle(name).manifest
    assert set(manifest.batch_coupled) == {
        layer for layer, kind in manifest.layers.items() if kind == "batch_norm"
    }
    primary = manifest.primary
    model = read(bundle(name).graph("batch"))
    expected = "mixed" if manifest.batch_coupled else "broadcast"
    assert labels(model)[primary].state == expected
    if manifest.batch_coupled:
        assert labels(model, {"alpha": 0.0})[primary].state == "broadcast"
    assert labels(read(bundle(name).graph("infer")))[primary].state == "broadcast"


def test_values_of_a_frame_are_the_counts_of_the_graph():
    from tests.bundles import session

    for name in ("mlp:factory", "fashion:factory", "sensor_cnn:factory", "mobilenet_v2:factory"):
        step = session(name).run("batch", batches(name, 3), bundle(name).source_slots)
        coupled = bundle(name).manifest.batch_coupled
        assert {k: 3 * v for k, v in coupled.items()} == {k: step.moments[k].n for k in coupled}

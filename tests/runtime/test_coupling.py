"""A batch too small for its own statistics is refused, and only where a method would run on them."""

import dataclasses

import numpy as np
import pytest

from tests.bundles import bundle
from tta import registry
from tta.errors import BundleError, TtaError
from tta.manifest import FEWEST_VALUES, Manifest, fewest_frames
from tta.records import Frame
from tta.runtime.loop import results
from tta.runtime.stream import Model, Stream, check_coupling, make_adapter

FEATURES, IMAGES = "mlp:factory", "fashion:factory"
COUPLING = ("nhl", "tent", "bn_stats", "bn_stats?alpha=1", "bn_stats?prior=0", "tent?alpha=0")
FREE = ("none", "bn_stats?prior=16", "bn_stats?alpha=0.5", "bn_stats?alpha=0")


def with_coupled(coupled):
    manifest = bundle(FEATURES).manifest
    return dataclasses.replace(manifest, batch_coupled=coupled)


@pytest.mark.parametrize(
    ("coupled", "frames"),
    [({}, 1), ({"layers.1": 1}, 3), ({"layers.1": 2}, 2), ({"layers.1": 3}, 1), ({"layers.1": 784}, 1),
     ({"layers.1": 784, "layers.4": 1}, 3), ({"layers.1": -1}, 1), ({"layers.1": -1, "layers.4": 2}, 2)],
)  # fmt: skip
def test_fewest_frames(coupled, frames):
    assert fewest_frames(with_coupled(coupled)) == frames


def test_what_the_rule_says_is_so():
    """Normalized by its own statistics, a channel of one value is 0, of two ±1, of three neither."""
    x = np.random.default_rng(0).normal(3, 2, (1000, 3))
    for m in (1, 2, 3):
        v = x[:, :m] - x[:, :m].mean(1, keepdims=True)
        y = v / np.sqrt(v.var(1, keepdims=True) + 1e-12)
        kinds = len(np.unique(np.round(y, 3), axis=0))
        assert kinds == 1 if m == 1 else kinds == 2 if m == 2 else kinds > 900
    assert FEWEST_VALUES == 3


@pytest.mark.parametrize("adapter", COUPLING)
@pytest.mark.parametrize("batch", [1, 2])
def test_batch_statistics_of_features_need_three_frames(adapter, batch):
    with pytest.raises(TtaError) as caught:
        Stream(Model(bundle(FEATURES)), adapter, batch=batch)
    value = "1 value a channel" if batch == 1 else "2 values a channel"
    said = str(caught.value)
    assert f"in a batch of {batch} layer 'layers.1' (and 1 more)" in said and value in said
    assert "take --batch 3 or more, or an adapter that does not rely" in said
    assert Stream(Model(bundle(FEATURES)), adapter, batch=3).fewest == 3


@pytest.mark.parametrize("adapter", FREE)
def test_methods_that_keep_the_sources_variance_take_one_frame(adapter):
    check_coupling(make_adapter(adapter), bundle(FEATURES), 1)
    stream = Stream(Model(bundle(FEATURES)), adapter, batch=1, governor="always")
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal((1, 64)).astype(np.float32)
        _, (answer,) = stream.adapt(x)
        assert np.isfinite(answer.probabilities).all()
    variances = [v for k, v in stream.current.slots.items() if k.endswith(".var")]
    assert all((v > 0).all() for v in variances)


@pytest.mark.parametrize("adapter", [*COUPLING, *FREE])
@pytest.mark.parametrize(
    "name", [IMAGES, "norms:layer", "norms:instance", "norms:group", "vit:factory"]
)
def test_maps_and_norms_of_single_samples_take_one_frame(adapter, name):
    check_coupling(make_adapter(adapter), bundle(name), 1)


def test_an_adapter_from_outside_may_say_that_it_does_not_couple():
    class Mine(registry.load("tta.adapters", "bn_stats")):
        pass

    mine = Mine()
    with pytest.raises(TtaError, match="--batch 3"):
        check_coupling(mine, bundle(FEATURES), 1)
    mine.couples = False
    check_coupling(mine, bundle(FEATURES), 1)


def test_what_is_left_of_a_file_is_not_learned_from_where_it_is_too_small():
    rng = np.random.default_rng(0)
    stream = Stream(Model(bundle(FEATURES)), "bn_stats", batch=4, governor="always")
    given = [Frame(rng.standard_normal(64).astype(np.float32), 0.0, k) for k in range(10)]
    answers = list(results([(stream, given)], "batch"))
    assert len(answers) == 10 and stream.counts.commits == 2  # of 4, 4 and 2


@pytest.mark.parametrize("coupled", [{"layers.1": 0}, {"layers.1": -2}])
def test_a_manifest_with_no_number_of_values_is_refused(coupled):
    with pytest.raises(BundleError, match="batch_coupled has no number"):
        Manifest.from_json(with_coupled(coupled).to_json())
    kept = with_coupled({"layers.1": -1, "layers.4": 7})
    assert Manifest.from_json(kept.to_json()) == kept

"""Sessions: what is served is the bundle's model with exactly the slots of the state."""

from importlib.resources import files

import numpy as np
import onnxruntime as ort
import pytest

from tta.bundle import Bundle
from tta.errors import BundleError, FrameError, TtaError
from tta.runtime.session import AdaptSession, InferSession, options

SLOTS = {s.name: s for s in Bundle(files("tta.demo") / "fashion.tta").manifest.slots}
OF_ROLE = {s.role: s.name for s in SLOTS.values()}  # one slot a role


@pytest.fixture(scope="module")
def x(inputs, clean):
    return inputs(clean[:8])


@pytest.fixture(scope="module")
def adapting(bundle):
    return AdaptSession(bundle)


def moved(slots, name):
    """The slots with one tensor changed in every element; a variance stays positive."""
    change = np.linspace(0.5, 1.5, slots[name].size, dtype=np.float32).reshape(slots[name].shape)
    return {**slots, name: slots[name] * np.float32(1.3) + change}


def test_the_source_session_is_plain_onnxruntime(bundle, x):
    plain = ort.InferenceSession(bundle.path / "infer.onnx", providers=["CPUExecutionProvider"])
    want = dict(zip([o.name for o in plain.get_outputs()], plain.run(None, {"input": x})))
    got = InferSession(bundle).run(x)
    assert list(got) == ["logits", "features"]
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


def test_source_slots_change_nothing(bundle, x):
    want, got = InferSession(bundle).run(x), InferSession(bundle, bundle.source_slots).run(x)
    assert all(np.array_equal(got[name], want[name]) for name in want)


def test_every_role_has_a_slot():
    assert set(OF_ROLE) == {
        "scale", "bias", "mean", "var", "weight", "modulation", "feature_shift", "head_weight",
        "head_bias",
    }  # fmt: skip


@pytest.mark.parametrize("name", SLOTS)
def test_a_new_slot_value_is_served(bundle, adapting, x, name):
    """Each slot alone: a value that onnxruntime baked in, or that a graph ignores, would show."""
    slots = moved(bundle.source_slots, name)
    source, got = InferSession(bundle).run(x), InferSession(bundle, slots).run(x)
    assert np.abs(got["logits"] - source["logits"]).max() > 0.05
    want = adapting.run("batch", x, slots, alpha=0.0).outputs
    for output in ("logits", "features"):
        scale = max(1.0, np.abs(want[output]).max())
        assert np.abs(got[output] - want[output]).max() <= 1e-3 * scale


def test_batch_graph_without_batch_statistics_is_the_infer_graph(bundle, adapting, x):
    want = InferSession(bundle).run(x)
    step = adapting.run("batch", x, bundle.source_slots, alpha=0.0)
    for name in want:
        np.testing.assert_allclose(step.outputs[name], want[name], rtol=1e-4, atol=1e-4)
    norms = [layer for layer, kind in bundle.manifest.layers.items() if kind == "batch_norm"]
    assert sorted(step.moments) == sorted(norms)
    assert not step.gradients and not step.objective.size
    followed = adapting.run("batch", x, bundle.source_slots)  # alpha is 1 unless told
    assert np.abs(followed.outputs["logits"] - want["logits"]).max() > 0.1


@pytest.mark.parametrize("n", [1, 2, 33])
def test_any_number_of_frames(bundle, adapting, inputs, clean, n):
    batch = inputs(clean[:n])
    want = InferSession(bundle).run(batch)["logits"]
    got = adapting.run("step/nhl", batch, bundle.source_slots, alpha=0.0)
    np.testing.assert_allclose(got.outputs["logits"], want, rtol=1e-4, atol=1e-4)
    assert got.objective.shape == (n,)


def test_sample_weights_reach_the_gradient(bundle, adapting, x):
    """With source statistics frames do not see each other, so two frames weighted (2, 0) are one."""
    run, slots = adapting.run, bundle.source_slots
    pair = run("step/entropy", x[:2], slots, alpha=0.0, sample_weight=np.array([2.0, 0.0]))
    alone = run("step/entropy", x[:1], slots, alpha=0.0)
    name = SLOTS[OF_ROLE["scale"]].name
    assert np.abs(alone.gradients[name]).max() > 0
    np.testing.assert_allclose(pair.gradients[name], alone.gradients[name], rtol=1e-3, atol=1e-5)


def test_the_temperature_is_the_calibrated_one_unless_told(bundle, adapting, x):
    (layer,) = [layer for layer, kind in bundle.manifest.layers.items() if kind == "hebbian"]
    calibrated = bundle.manifest.defaults["nhl"]["t_invert"][layer]
    new = {}
    for given in (None, calibrated, 4 * calibrated):
        step = adapting.run("step/nhl", x, bundle.source_slots, eta=0.01, t_invert=given)
        (new[given],) = step.new.values()
    assert np.array_equal(new[None], new[calibrated])
    assert not np.array_equal(new[None], new[4 * calibrated])


def test_callers_options_are_kept(bundle):
    base = options(threads=2)
    used = InferSession(bundle, base=base).onnx.get_session_options()
    assert used.intra_op_num_threads == 2


def test_an_unknown_graph_is_named_with_the_cure(bundle, adapting, x):
    with pytest.raises(BundleError, match=r"no graph 'step/eata', it provides batch.*--objectives"):
        adapting.run("step/eata", x, bundle.source_slots)


def test_an_unknown_input_is_named(bundle, adapting, x):
    with pytest.raises(TtaError, match="graph 'batch' has no input 'alfa'"):
        adapting.run("batch", x, bundle.source_slots, alfa=0.5)


BAD = {
    "rank": (lambda x: x[0], r"takes \(N, 1, 28, 28\), got \(1, 28, 28\)"),
    "size": (lambda x: x[..., :27], r"got \(8, 1, 28, 27\)"),
    "channels last": (lambda x: x.transpose(0, 2, 3, 1), r"got \(8, 28, 28, 1\)"),
    "float64": (lambda x: x.astype(np.float64), "takes float32, got float64"),
    "uint8": (lambda x: x.astype(np.uint8), "takes float32, got uint8"),
    "empty": (lambda x: x[:0], "holds no frames"),
    "nan": (lambda x: np.where(x == x.max(), np.float32(np.nan), x), "NaN or infinity"),
    "inf": (lambda x: np.where(x == x.max(), np.float32(-np.inf), x), "NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("graph", ["batch", "step/entropy"])
def test_a_batch_that_would_poison_statistics_is_refused(bundle, adapting, x, graph, case):
    spoil, message = BAD[case]
    with np.errstate(invalid="ignore"):
        batch = spoil(x)
    with pytest.raises(FrameError, match=message):
        adapting.run(graph, batch, bundle.source_slots)

"""How slots reach a session: three profiles, one answer; and what is refused."""

import numpy as np
import pytest

from tests.bundles import batches, model
from tta.bundle import Bundle
from tta.errors import BundleError, ExportError, MemoryShortError, NotFoundError, TtaError
from tta.export.assembly import to_bundle
from tta.export.profile_graphs import profiles
from tta.manifest import Manifest
from tta.runtime import memory
from tta.runtime.provider import full_name, present, profile_of
from tta.runtime.session import InferSession
from tta.runtime.stream import Model, Stream
from tta.runtime.weights import mapped

NAMES = ("sensor_cnn:factory", "norms:layer", "norms:group", "norms:rms", "vit:factory")
EP = {"cpu": "inputs", "tensorrt": "affine"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            net, example = model(name)
            out = tmp_path_factory.mktemp("ep") / "b.tta"
            made[name] = to_bundle(net, example, out, ep=EP, objectives=("entropy",)).bundle
        return made[name]

    return get


def moved(bundle, rng, roles):
    slots = dict(bundle.source_slots)
    for slot in bundle.manifest.named(*roles):
        change = rng.uniform(0.7, 1.4, slot.shape).astype(np.float32)
        slots[slot.name] = slots[slot.name] * change + np.float32(0.05)
    return slots


@pytest.mark.parametrize("profile", ["inputs", "affine"])
@pytest.mark.parametrize("name", NAMES)
def test_profiles_answer_as_refolding_does(exported, rng, name, profile):
    bundle = exported(name)
    x = batches(name, 3)
    roles = (
        "scale",
        "bias",
        "mean",
        "var",
        "modulation",
        "feature_shift",
        "head_weight",
        "head_bias",
    )
    slots = moved(bundle, rng, roles)
    want = InferSession(bundle, slots, profile="refold").run(x)
    session = InferSession(bundle, profile=profile)
    source = session.run(x)
    got = session.with_slots(slots)
    assert got.onnx is session.onnx  # a commit builds nothing
    for key, value in want.items():
        scale = max(1.0, float(np.abs(value).max()))
        assert np.abs(got.run(x)[key] - value).max() <= 1e-4 * scale
        assert np.abs(source[key] - value).max() > 1e-2
    plain = InferSession(bundle, profile="refold").run(x)
    assert all(np.allclose(source[k], plain[k], rtol=1e-4, atol=1e-4) for k in plain)


def test_affine_keeps_kernels_and_says_so(exported, rng):
    bundle = exported("sensor_cnn:factory")
    slots = moved(bundle, rng, ("weight",))
    session = InferSession(bundle, profile="affine")
    with pytest.raises(
        TtaError, match=r"the affine profile keeps .*weight constant, but this state"
    ):
        session.with_slots(slots)
    assert InferSession(bundle, slots, profile="inputs").run(batches("sensor_cnn:factory", 1))


def test_a_stream_commits_without_building_a_session(exported):
    bundle = exported("sensor_cnn:factory")
    stream = Stream(Model(bundle), "bn_stats", batch=4, governor="always")
    assert stream.session.profile == "inputs"  # as the bundle says of the CPU
    before = stream.session.onnx
    decision, _ = stream.adapt(batches("sensor_cnn:factory", 4))
    assert decision.action == "commit" and decision.figures["probe"] < 1e-4
    assert stream.session.onnx is before and stream.session is not stream.model.source


def test_a_folded_session_is_built_anew(exported):
    bundle = exported("sensor_cnn:factory")
    with pytest.raises(TtaError, match="is built anew"):
        InferSession(bundle, profile="refold").with_slots(bundle.source_slots)


def test_a_bundle_without_that_graph(bundle):
    with pytest.raises(
        BundleError, match="no graph 'infer/affine': export it again with --ep cpu:affine"
    ):
        InferSession(bundle, profile="affine")


def test_the_manifest_takes_known_profiles_only(exported):
    text = exported("sensor_cnn:factory").manifest.to_json()
    assert Manifest.from_json(text).ep_profiles == EP
    with pytest.raises(
        BundleError, match="profile of provider 'cpu' is one of refold, inputs, affine"
    ):
        Manifest.from_json(
            text.replace('"inputs"', '"initializers"', 1).replace("infer/", "infer/")
        )


@pytest.mark.parametrize("text", ["tensorrt", "tensorrt:fast", "gpu:affine", "", "cpu:refold,,"])
def test_a_bad_ep_option_is_refused(text):
    with pytest.raises(
        ExportError, match=r"--ep is provider:profile,\.\.\. with providers cpu, cuda"
    ):
        profiles(text)


def test_providers():
    assert full_name("CPU") == full_name("CPUExecutionProvider") == "CPUExecutionProvider"
    assert present(None) == present(["cuda", "cpu"]) == ["CPUExecutionProvider"]
    assert present([("CPUExecutionProvider", {"a": "b"})]) == [("CPUExecutionProvider", {"a": "b"})]
    assert profile_of(EP, "TensorrtExecutionProvider") == "affine"
    assert profile_of(EP, ("CUDAExecutionProvider", {})) == "refold"
    with pytest.raises(NotFoundError, match="no execution provider named 'gpu'; known: cpu, cuda"):
        present(["gpu"])
    with pytest.raises(TtaError, match=r"has no QNNExecutionProvider, only .*CPUExecutionProvider"):
        present(["qnn"])


# Memory


def test_a_swap_without_memory_is_refused_and_the_stream_goes_on(
    bundle, inputs, drifted, monkeypatch
):
    stream = Stream(Model(bundle), "bn_stats", governor="always")
    monkeypatch.setattr(memory, "available_mib", lambda most: 3.0)
    decision, answers = stream.adapt(inputs(drifted[:16]))
    assert decision.action == "rollback" and len(answers) == 16
    assert "3 MiB are left: export it with --ep cpu:inputs" in decision.reason
    assert stream.current is stream.origin


def test_the_inputs_profile_is_offered_where_the_bundle_has_it(exported, monkeypatch):
    monkeypatch.setattr(memory, "available_mib", lambda most: 3.0)
    bundle = exported("sensor_cnn:factory")
    with pytest.raises(MemoryShortError, match="serve it with --ep-profile inputs"):
        Model(bundle, profile="refold").check_memory()
    Model(bundle).check_memory()  # whose slots are inputs


def test_a_limit_of_its_own_counts(bundle):
    assert memory.available_mib(memory.resident_mib() + 5) <= 5.5
    with pytest.raises(MemoryShortError):
        Model(bundle, memory_mib=memory.resident_mib() + 1).check_memory()
    Model(bundle, memory_mib=1e6).check_memory()


def test_the_source_session_is_held_only_while_it_serves(bundle, inputs, drifted):
    import gc
    import weakref

    stream = Stream(Model(bundle), "bn_stats", governor="always")
    source = weakref.ref(stream.model.source)
    assert source() is stream.session
    stream.adapt(inputs(drifted[:16]))
    gc.collect()
    assert source() is None
    stream.restore(stream.origin)
    assert stream.session is stream.model.source


def test_weights_are_mapped(bundle):
    found = mapped(bundle.path / "weights.safetensors")
    for name, value in bundle.source_slots.items():
        assert np.array_equal(found[name], value) and not found[name].flags.writeable
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        mapped(bundle.path / "manifest.json")
    assert isinstance(bundle, Bundle)


def test_a_profile_from_python_is_checked_as_well(tmp_path):
    net, example = model("sensor_cnn:factory")
    with pytest.raises(ExportError, match="but got 'cpu:fast'"):
        to_bundle(net, example, tmp_path / "b.tta", ep={"cpu": "fast"})
    with pytest.raises(ExportError, match="several profiles"):
        profiles("cpu:refold,cpu:inputs")


def test_a_provider_that_is_absent_has_no_say(exported, capsys):
    """The bundle says how slots reach the CPU; the device's first provider is not there."""
    from argparse import Namespace
    from dataclasses import replace

    from tta.devices.board import load
    from tta.runtime.provider import model_options

    manifest = replace(exported("sensor_cnn:factory").manifest, ep_profiles={"cpu": "inputs"})
    device = replace(load("desktop"), providers=("tensorrt", "cpu"), ep_profile="refold")
    given = Namespace(provider=None, ep_profile=None, memory_mib=None, duty=None)
    assert model_options(given, device, manifest)["profile"] is None  # so the bundle's: inputs
    assert capsys.readouterr().err == ""
    given.provider = ["tensorrt", "cpu"]
    assert model_options(given, device, manifest)["profile"] is None
    assert capsys.readouterr().err == (
        "this onnxruntime has no TensorrtExecutionProvider: CPUExecutionProvider serves\n"
    )

"""Bundles of which only some layers adapt: the others stay as they are, and the gradient stops early."""

import numpy as np
import onnx
import pytest
import torch

from tests.autograd import HEBBIAN, Twin, misfit
from tests.bundles import batches, model
from tta.errors import ExportError
from tta.export import to_bundle
from tta.export.choice import chosen
from tta.runtime.session import AdaptSession, InferSession

MODELS = ("wrn:factory", "vit:factory", "norms:factory", "sensor_cnn:factory", "fashion:factory")
NAMES = ["stem.norm", "body.0.norm", "body.1.norm", "last"]


def exported(name, tmp_path, **options):
    net, example = model(name)
    return net, to_bundle(net, example, tmp_path / "some.tta", hebbian=(), **options).bundle


@pytest.mark.parametrize("layers", ["stem", "last:2"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_some_layers_are_those_of_torch(name, layers, tmp_path):
    net, bundle = exported(name, tmp_path, layers=layers, objectives=("entropy",))
    session = AdaptSession(bundle)
    twin = Twin(net, HEBBIAN[name])
    twin.fixed = twin.norms.keys() - bundle.manifest.layers.keys()
    best = np.inf
    for seed in range(6):
        batch = batches(name, 8, seed)
        step = session.run("step/entropy", batch, bundle.source_slots, alpha=1.0)
        want = twin(batch, 1.0)
        chosen_gradients = {k: want.gradients[k] for k in step.gradients}
        assert chosen_gradients
        off = np.abs(step.outputs["logits"] - want.outputs["logits"]).max()
        if off <= 1e-3 * max(1.0, np.abs(want.outputs["logits"]).max()):
            best = min(best, misfit(step.gradients, chosen_gradients)[0])
    assert best <= 1


@pytest.mark.parametrize("name", MODELS)
def test_inference_does_not_depend_on_the_choice(name, tmp_path):
    net, bundle = exported(name, tmp_path, layers="last:1", objectives=("entropy",))
    batch = batches(name, 4)
    with torch.no_grad():
        want = net(torch.as_tensor(batch)).numpy()
    got = InferSession(bundle).run(batch)["logits"]
    assert np.abs(got - want).max() <= 1e-4 * max(1.0, np.abs(want).max())


def test_slots_are_those_of_the_chosen_layers(tmp_path):
    _, bundle = exported("resnet20:factory", tmp_path, layers="last:2", objectives=("entropy",))
    manifest = bundle.manifest
    assert len(manifest.layers) == 2
    owners = {s.layer for s in manifest.slots if s.role in ("scale", "bias", "mean", "var")}
    assert owners == set(manifest.layers)
    assert manifest.provenance["layers"] == "last:2"


def test_a_late_choice_leaves_the_early_layers_without_a_way_back(tmp_path):
    """The step graph of the last layers convolves forward once, and back only from the end."""
    counts = {}
    for layers in ("all", "last:2"):
        folder = tmp_path / layers.replace(":", "-")
        folder.mkdir()
        _, bundle = exported("resnet20:factory", folder, layers=layers, objectives=("entropy",))
        graph = onnx.load(bundle.graph("step/entropy"), load_external_data=False).graph
        counts[layers] = sum(n.op_type in ("Conv", "ConvTranspose") for n in graph.node)
    forward = 21  # 19 of three by three, and two projections
    assert counts["last:2"] <= forward + 2
    assert counts["all"] >= 2 * forward - 2


def test_no_layer_is_hebbian_by_default_where_its_norm_is_fixed(tmp_path):
    net, example = model("resnet20:factory")
    bundle = to_bundle(net, example, tmp_path / "late.tta", layers="last:2").bundle
    assert bundle.manifest.provides == ("batch", "step/entropy")
    bundle = to_bundle(net, example, tmp_path / "stem.tta", layers="stem").bundle
    assert "step/nhl" in bundle.manifest.provides


def test_constant_statistics_give_the_gradient_that_takes_them_for_constants(tmp_path):
    """``to_bundle`` checks it against torch with detached statistics; it must differ from the true one."""
    gradients = []
    for constant in (False, True):
        folder = tmp_path / str(constant)
        folder.mkdir()
        _, bundle = exported("wrn:factory", folder, constant_statistics=constant)
        batch = batches("wrn:factory", 8)
        step = AdaptSession(bundle).run("step/entropy", batch, bundle.source_slots, alpha=1.0)
        gradients.append(step.gradients)
    exact, constant = gradients
    last = list(exact)[-1]
    first = next(iter(exact))
    assert np.allclose(exact[last], constant[last], rtol=1e-4, atol=1e-6)  # nothing lies behind it
    assert np.linalg.norm(exact[first] - constant[first]) > 0.1 * np.linalg.norm(exact[first])


def test_auto_takes_the_most_drift_for_its_time(tmp_path):
    net, example = model("resnet20:factory")
    samples = batches("resnet20:factory", 32)
    made = to_bundle(net, example, tmp_path / "auto.tta", layers="auto", samples=samples)
    assert made.weighed[0].layers == made.bundle.manifest.provenance["layers"]
    assert {c.layers for c in made.weighed} == {*(f"last:{n}" for n in (1, 2, 4, 8, 16)), "all"}
    assert made.weighed[0].worth == max(c.worth for c in made.weighed)
    drift = {c.layers: c.drift for c in made.weighed}
    assert 0 < drift["last:1"] < drift["last:4"] < drift["all"]


def test_names_take_the_layers_of_a_module():
    assert chosen(NAMES, "body") == {"body.0.norm", "body.1.norm"}
    assert chosen(NAMES, "last,stem.norm") == {"last", "stem.norm"}
    assert chosen(NAMES, "all") == set(NAMES)
    assert chosen(NAMES, " last, stem.norm ") == {"last", "stem.norm"}


def test_a_choice_where_there_is_nothing_to_choose_from(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    with pytest.raises(ExportError, match="chooses among norm layers, but the model has none"):
        to_bundle(net, torch.zeros(2, 3, 8, 8), tmp_path / "bare.tta", layers="last:4")


def test_without_a_hebbian_layer_the_cure_is_another_method(tmp_path):
    from tta.errors import BundleError
    from tta.runtime.method import check_needs, make_adapter

    net, example = model("resnet20:factory")
    bundle = to_bundle(net, example, tmp_path / "late.tta", layers="last:2").bundle
    with pytest.raises(BundleError, match="no layer is Hebbian, so choose --adapter tent"):
        check_needs(make_adapter("nhl"), bundle)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("body.3.norm", r"no norm layer is named 'body.3.norm'; nearest: body\.[01]\.norm"),
        ("bod", "no norm layer is named 'bod'"),
        ("last:5", "from 1 to 4.*'last:5'"),
        ("last:0", "from 1 to 4"),
        ("last:x", "from 1 to 4"),
        ("", "layers is empty"),
        ((), "layers is empty"),
    ],
)
def test_a_choice_that_the_model_cannot_give(layers, said):
    with pytest.raises(ExportError, match=said):
        chosen(NAMES, layers)

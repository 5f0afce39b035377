"""What export knows of objectives, and what it hands them."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from tests.bundles import batches, model
from tta.adapters.tent import Tent
from tta.errors import ExportError
from tta.export.canonical import canonical
from tta.export.layer_outputs import source_outputs
from tta.export.lift import lift
from tta.export.objectives import known, objective, takes_layers
from tta.export.step_graph import step_graph
from tta.export.torch_graph import trace

NAME = "norms:factory"


@pytest.fixture(scope="module")
def lifted():
    return lift(canonical(trace(*model(NAME), "input")), ())


def run(lifted, graph, batch, **inputs):
    """Outputs by name of a step graph at the source slots."""
    session = ort.InferenceSession(
        ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {"alpha": 0.5, "sample_weight": np.ones(len(batch)), **inputs}
    feed = {**lifted.values, **given, "input": batch}
    names = [o.name for o in session.get_outputs()]
    asked = {i.name: np.asarray(feed[i.name], np.float32) for i in session.get_inputs()}
    return dict(zip(names, session.run(names, asked)))


def mean_square(op, outputs):
    """A loss of the batch as a whole."""
    return op.ReduceMean(op.Mul(outputs["logits"], outputs["logits"]), [0, 1], keepdims=0)


def test_each_adapters_objective_is_known_by_its_graph():
    found = known()
    assert {"entropy", "nhl", "pseudo_label", "z_loss", "slr", "actmad"} <= set(found)
    assert found["entropy"].function is found["nhl"].function is Tent.objective
    assert [k for k, v in found.items() if v.hebbian] == ["nhl"]
    assert found["actmad"].any_task and not found["entropy"].any_task
    assert takes_layers(found["actmad"].function) and not takes_layers(found["entropy"].function)


def test_an_unknown_one_is_refused_with_the_known_ones():
    with pytest.raises(ExportError, match=r"'entropi'.*known: actmad, .*entropy"):
        objective("entropi")


def test_a_scalar_loss_weighs_the_batch_as_a_whole(lifted):
    batch = batches(NAME, 5)
    graph = step_graph(lifted, "whole", mean_square)
    plain = run(lifted, graph, batch)
    assert plain["objective"].shape == ()
    assert abs(plain["objective"] - (plain["logits"] ** 2).mean()) <= 1e-4 * plain["objective"]
    heavy = run(lifted, graph, batch, sample_weight=np.arange(5))  # 2 in the mean
    grads = [k for k in plain if k.startswith("grad.")]
    assert any(np.abs(plain[k]).max() > 1e-4 for k in grads)
    for k in grads:
        assert np.allclose(heavy[k], 2 * plain[k], rtol=1e-4, atol=1e-6)


def test_layers_hold_what_norms_put_out_and_the_sources(lifted):
    samples = batches(NAME, 70, seed=7)  # more than a chunk
    sources = source_outputs(lifted, samples, given=True)
    seen = {}

    def difference(op, outputs, layers):
        seen.update(layers)
        first = layers[next(iter(layers))]
        return op.ReduceSum(op.Sub(first.mean, first.source_mean), [0], keepdims=0)

    graph = step_graph(lifted, "difference", difference, sources=sources)
    assert set(seen) == {norm.name for norm in lifted.norms.values()}
    out = run(lifted, graph, samples, alpha=0.0)
    assert abs(out["objective"]) <= 1e-4  # the samples are the source
    first = next(iter(seen))
    assert np.allclose(out[f"grad.{first}.bias"], 1.0, atol=1e-5)  # a bias moves its own mean
    net = model(NAME)[0].eval()
    kept = []
    net.get_submodule(first).register_forward_hook(lambda m, i, y: kept.append(y.detach().clone()))
    with torch.no_grad():
        net(torch.tensor(samples))
    rows = kept[0].double().movedim(1, -1).flatten(0, -2)
    assert np.allclose(sources[first][0], rows.mean(0), atol=1e-5)
    assert np.allclose(sources[first][1], rows.var(0, correction=0), rtol=1e-4)


def test_without_samples_running_statistics_say_it(lifted):
    sources = source_outputs(lifted, batches(NAME, 2), given=False)
    for norm in lifted.norms.values():
        if "mean" in norm.slots:
            mean, var = sources[norm.name]
            assert np.array_equal(mean, norm.slots["bias"])
            assert np.allclose(var, norm.slots["scale"] ** 2, rtol=0.01)

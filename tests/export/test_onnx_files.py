"""ONNX files of any producer become bundles, and what cannot is refused by node and way out."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.onnx_files import conv_net, frames
from tta.cli import main
from tta.errors import ExportError, NoGradientError
from tta.export import to_bundle
from tta.export.onnx_file import read
from tta.runtime.loop import run
from tta.runtime.session import AdaptSession, InferSession


def bundle_of(path, out, **options):
    x = frames()
    return to_bundle(read(path, x.shape[1:]), x, out, samples=x, **options).bundle


def original(path, x):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("constants", [False, True])
def test_an_unfolded_file_keeps_its_norms(tmp_path, opset, constants):
    path = conv_net(tmp_path / "m.onnx", opset=opset, constants=constants)
    bundle = bundle_of(path, tmp_path / "m.tta")
    assert [k for k in bundle.manifest.layers.values()].count("batch_norm") == 2
    got = InferSession(bundle).run(frames())["logits"]
    np.testing.assert_allclose(got, original(path, frames()), atol=1e-5)


@pytest.mark.parametrize("hebbian", [None, ()])
def test_a_folded_file_gets_norms_that_are_the_identity(tmp_path, hebbian):
    path = conv_net(tmp_path / "m.onnx", folded=True)
    bundle = bundle_of(path, tmp_path / "m.tta", hebbian=hebbian)
    assert list(bundle.manifest.layers.values()).count("batch_norm") == 2
    x, want = frames(), original(path, frames())
    assert np.array_equal(InferSession(bundle).run(x)["logits"], want)
    step = AdaptSession(bundle).run("step/entropy", x, bundle.source_slots, alpha=0.0)
    assert np.abs(step.outputs["logits"] - want).max() <= 1e-4 * np.abs(want).max()
    assert any(
        g.any() for k, g in step.gradients.items() if k.endswith("norm.weight.scale") or "norm" in k
    )


def test_an_inserted_norm_is_a_batch_norm_away_from_the_source(tmp_path):
    bundle = bundle_of(conv_net(tmp_path / "m.onnx", folded=True), tmp_path / "m.tta", hebbian=())
    rng, slots = np.random.default_rng(0), dict(bundle.source_slots)
    for name, value in slots.items():
        slots[name] = np.float32(value * rng.uniform(0.8, 1.2, value.shape))
    step = AdaptSession(bundle).run("batch", frames(), slots, alpha=0.0)
    got = InferSession(bundle, slots).run(frames())["logits"]
    np.testing.assert_allclose(got, step.outputs["logits"], rtol=1e-4, atol=1e-4)
    assert np.abs(got - original(tmp_path / "m.onnx", frames())).max() > 1e-2


def test_onnxruntime_folds_inserted_norms_away(tmp_path):
    bundle = bundle_of(conv_net(tmp_path / "m.onnx", folded=True), tmp_path / "m.tta", hebbian=())
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(str(bundle.graph("infer")), options, providers=["CPUExecutionProvider"])
    kinds = [
        n.op_type
        for n in onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node
    ]
    assert "BatchNormalization" not in kinds and "Cast" not in kinds


def test_a_softmax_at_the_end_is_left_out(tmp_path):
    path = conv_net(tmp_path / "m.onnx", softmax=True)
    bundle = bundle_of(path, tmp_path / "m.tta")
    logits = InferSession(bundle).run(frames())["logits"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(p, original(path, frames()), atol=1e-5)
    assert "softmax" in bundle.manifest.provenance and "step/entropy" in bundle.manifest.provides


def test_a_file_for_one_frame_takes_batches(tmp_path):
    path = conv_net(tmp_path / "m.onnx", batch=1)
    bundle = bundle_of(path, tmp_path / "m.tta")
    got = InferSession(bundle).run(frames(3))["logits"]
    want = np.concatenate([original(path, frames(3)[k : k + 1]) for k in range(3)])
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_the_command_line_exports_and_the_bundle_adapts(tmp_path, capsys):
    path = conv_net(tmp_path / "m.onnx", folded=True, size="side")
    np.savez(tmp_path / "frames.npz", samples=frames(64))
    arguments = ["--samples", str(tmp_path / "frames.npz"), "--preprocess", "none"]
    assert main(["export", str(path), "-o", str(tmp_path / "m.tta"), *arguments]) == 0
    assert "against the file passed" in capsys.readouterr().out
    (stream,) = run(
        tmp_path / "m.tta", f"npz://{tmp_path / 'frames.npz'}", "tent", batch=16, governor="always"
    )
    assert stream.counts.commits > 0


def refuse(pattern, path, error=ExportError, **options):
    with pytest.raises(error, match=pattern) as caught:
        bundle_of(path, path.parent / "m.tta", **options)
    assert not (path.parent / "m.tta").exists() and "\n" not in str(caught.value)


def test_folded_norms_need_samples(tmp_path):
    path = conv_net(tmp_path / "m.onnx", folded=True)
    with pytest.raises(ExportError, match="--samples"):
        to_bundle(read(path), frames(), tmp_path / "m.tta")


def test_an_operator_without_a_rule_is_named(tmp_path):
    path = conv_net(tmp_path / "m.onnx", between="Hardmax", opset=13)
    refuse("strange.*Hardmax|Hardmax.*strange", path, NoGradientError, hebbian=())


def test_missing_external_data_is_named(tmp_path):
    path = conv_net(tmp_path / "m.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert bundle_of(path, tmp_path / "whole.tta")
    (tmp_path / "w.bin").unlink()
    refuse("w.bin", path)


def changed(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def test_control_flow_is_named(tmp_path):
    def change(model):
        bodies = [
            helper.make_graph(
                [helper.make_node("Mul", ["r0", "r0"] if k else ["r0", "w_one"], [f"y{k}"])],
                f"b{k}",
                [],
                [helper.make_tensor_value_info(f"y{k}", TensorProto.FLOAT, None)],
            )
            for k in range(2)
        ]
        model.graph.initializer.append(helper.make_tensor("w_one", TensorProto.FLOAT, [1], [1.0]))
        nodes = list(model.graph.node)
        at = next(k for k, n in enumerate(nodes) if n.name == "conv1")
        nodes[at].input[0] = "chosen"
        extra = [
            helper.make_node("ReduceMax", ["r0"], ["top"], "top", keepdims=0),
            helper.make_node("Cast", ["top"], ["flag"], "cast", to=TensorProto.BOOL),
            helper.make_node(
                "If", ["flag"], ["chosen"], "gate", then_branch=bodies[0], else_branch=bodies[1]
            ),
        ]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:at], *extra, *nodes[at:]])

    refuse("gate is control flow", changed(conv_net(tmp_path / "m.onnx"), change))


def test_an_unknown_rank_is_named(tmp_path):
    def change(model):
        nodes = list(model.graph.node)
        at = next(k for k, n in enumerate(nodes) if n.name == "conv1")
        nodes[at].input[0] = "free"
        extra = [
            helper.make_node("NonZero", ["r0"], ["where"], "where"),
            helper.make_node("Squeeze", ["where"], ["less"], "less"),
            helper.make_node("Reshape", ["r0", "less"], ["free"], "loose"),
        ]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:at], *extra, *nodes[at:]])

    refuse("unknown rank", changed(conv_net(tmp_path / "m.onnx"), change))


def test_other_inputs_are_refused(tmp_path):
    def second(model):
        value = helper.make_tensor_value_info("state", TensorProto.FLOAT, [1])
        model.graph.input.append(value)

    refuse(r"2 inputs \(image, state\)", changed(conv_net(tmp_path / "m.onnx"), second))

    def bytes_(model):
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32

    refuse("nothing to adapt here.*int32", changed(conv_net(tmp_path / "m.onnx"), bytes_))


def test_what_is_no_model_is_refused(tmp_path):
    refuse("cannot be read", tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model at all, only words")
    refuse("is no ONNX model", tmp_path / "text.onnx")
    refuse("opset 5", conv_net(tmp_path / "m.onnx", opset=5))


@pytest.mark.parametrize("folded", [False, True])
def test_inspect_says_before_export_what_can_adapt(tmp_path, capsys, folded):
    path = conv_net(tmp_path / "m.onnx", folded=folded, softmax=True, batch=1)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "2 batch_norm, 1 hebbian" in said and "entropy step" in said and "softmax" in said
    assert ("2 convolutions get norms" in said) == folded


def test_inspect_names_what_blocks_the_way(tmp_path, capsys):
    path = conv_net(tmp_path / "m.onnx", between="Hardmax", opset=13)
    assert main(["inspect", str(path)]) == 0
    assert "strange" in capsys.readouterr().out.partition("blocked")[2]


def test_a_batch_size_in_a_constant_is_named(tmp_path):
    def change(model):
        nodes = list(model.graph.node)
        at = next(k for k, n in enumerate(nodes) if n.name == "matmul")
        nodes[at].input[0] = "joined"
        zeros = helper.make_tensor("token", TensorProto.FLOAT, [1, 6], [0.1] * 6)
        model.graph.initializer.append(zeros)
        joins = [
            helper.make_node("Concat", ["flat", "token"], ["both"], "join", axis=0),
            helper.make_node("Split", ["both"], ["joined", "rest"], "part", axis=0),
        ]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:at], *joins, *nodes[at:]])

    path = changed(conv_net(tmp_path / "m.onnx", batch=1), change)
    refuse("batches of 1 only.*dynamic first axis", path)

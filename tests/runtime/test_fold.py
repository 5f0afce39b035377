"""An adapted state as a plain ONNX file."""

import os
import tempfile

import numpy as np
import onnxruntime as ort
import pytest

from tta.errors import TtaError
from tta.runtime import fold as folding
from tta.runtime.fold import fold
from tta.runtime.session import InferSession
from tta.runtime.stream import Stream


@pytest.fixture(scope="module")
def state(model, inputs, drifted):
    stream = Stream(model, "nhl")
    for k in range(2):
        stream.adapt(inputs(drifted[16 * k : 16 * k + 16]))
    return stream.current


def assert_answers_alike(path, bundle, slots, x):
    """The file alone answers like the served session, at other batch sizes as well."""
    want = InferSession(bundle, slots).run(x)
    plain = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = dict(zip([o.name for o in plain.get_outputs()], plain.run(None, {"input": x})))
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert np.abs(got[name] - value).max() <= 1e-4 * max(1, np.abs(value).max())


def assert_plain(path, bundle):
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    assert [o.domain for o in proto.opset_import] == [""]
    assert proto.opset_import[0].version == 18 and not proto.functions
    assert {n.domain for n in proto.graph.node} == {""}
    assert not any(t.data_location for t in proto.graph.initializer)
    (given,) = proto.graph.input
    assert given.name == bundle.manifest.input.name
    assert given.type.tensor_type.shape.dim[0].dim_param  # any number of frames
    return {n.op_type for n in proto.graph.node}


def test_an_adapted_state(bundle, state, inputs, clean, tmp_path):
    path = fold(bundle, state, tmp_path / "adapted.onnx")
    assert path == tmp_path / "adapted.onnx" and os.listdir(tmp_path) == ["adapted.onnx"]
    assert "BatchNormalization" not in assert_plain(path, bundle)  # all folded into convolutions
    x = inputs(clean[:33])
    assert_answers_alike(path, bundle, state.slots, x)
    assert_answers_alike(path, bundle, state.slots, x[:1])
    source = InferSession(bundle).run(x)["logits"]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert np.abs(session.run(["logits"], {"input": x})[0] - source).max() > 0.1


def test_the_source_model(bundle, inputs, clean, tmp_path):
    path = fold(bundle, None, tmp_path / "source.onnx")
    assert_plain(path, bundle)
    assert_answers_alike(path, bundle, None, inputs(clean[:4]))


def test_every_slot_is_folded_in(bundle, inputs, clean, tmp_path):
    slots = {k: v * np.float32(1.1) + np.float32(0.01) for k, v in bundle.source_slots.items()}
    state = type("Other", (), {"slots": slots})
    path = fold(bundle, state, tmp_path / "all.onnx")
    assert_plain(path, bundle)
    assert_answers_alike(path, bundle, slots, inputs(clean[:4]))


@pytest.mark.parametrize("name", ["mlp", "norms:layer"])
def test_other_families(name, tmp_path):
    """Norms that no convolution can take in stay, as standard operators."""
    pytest.importorskip("torch")
    from tests.bundles import batches, bundle

    path = fold(bundle(name), None, tmp_path / "m.onnx")
    assert assert_plain(path, bundle(name)) & {"BatchNormalization", "LayerNormalization"}
    assert_answers_alike(path, bundle(name), None, batches(name, 3))


def test_an_existing_file_is_replaced_whole(bundle, state, inputs, clean, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"old")
    fold(bundle, state, tmp_path / "m.onnx")
    assert_answers_alike(tmp_path / "m.onnx", bundle, state.slots, inputs(clean[:2]))


def test_a_model_that_answers_differently_is_not_written(bundle, state, tmp_path, monkeypatch):
    class Other(InferSession):
        def run(self, batch):
            return {name: value + 0.1 for name, value in super().run(batch).items()}

    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(folding, "InferSession", Other)
    with pytest.raises(TtaError, match=r"logits is off by .*; nothing was written"):
        fold(bundle, state, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"] and (tmp_path / "m.onnx").read_bytes() == b"old"


def test_bad_targets(bundle, tmp_path, monkeypatch):
    with pytest.raises(TtaError, match=r"cannot write .*: there is no folder .*nowhere"):
        fold(bundle, None, tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(TtaError, match=r"cannot write .*: it is a folder"):
        fold(bundle, None, tmp_path)

    def refuse(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(TtaError, match=r"cannot write .*m.onnx: Permission denied"):
        fold(bundle, None, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []

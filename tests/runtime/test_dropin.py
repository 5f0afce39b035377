"""`tta.Session` in place of `onnxruntime.InferenceSession`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import tta
from tta.errors import BundleError, TtaError
from tta.runtime.dropin import Session
from tta.runtime.store import load_state, save_state

ROOT = Path(__file__).parents[2]
B = 16

# What a user has: nothing in it knows of adaptation, and the input array is filled anew for each frame.
SCRIPT = """
import json
import sys

import numpy as np
from onnxruntime import InferenceSession

session = InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
output = session.get_outputs()[0].name
frames = np.load(sys.argv[2])
x = np.empty((1, *frames.shape[1:]), np.float32)
answers = []
for frame in frames:
    x[0] = frame
    (logits,) = session.run([output], {name: x})
    answers.append(logits[0].tolist())
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def plain(bundle):
    return ort.InferenceSession(bundle.path / "infer.onnx", providers=["CPUExecutionProvider"])


@pytest.fixture
def x(inputs, drifted):
    return inputs(drifted[:48])


def test_one_changed_line_makes_a_script_adapt(bundle, x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    adapting = SCRIPT.replace(
        "from onnxruntime import InferenceSession", "from tta import Session as InferenceSession"
    )
    assert sum(a != b for a, b in zip(SCRIPT.splitlines(), adapting.splitlines())) == 1
    answers = []
    for script in (SCRIPT, adapting):
        command = [sys.executable, "-c", script, bundle.path / "infer.onnx", tmp_path / "x.npy"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers.append(np.array(json.loads(done.stdout)))
    before, after = answers
    np.testing.assert_allclose(after[:B], before[:B], rtol=1e-4, atol=1e-4)
    assert (np.abs(after[2 * B :] - before[2 * B :]).max(1) > 0.1).all()
    # the frames behind the commit were those fed, not sixteen times the last of them
    session = Session(bundle)
    want = np.concatenate([session.run(["logits"], {"input": x[k : k + 1]})[0] for k in range(48)])
    np.testing.assert_allclose(after, want, rtol=1e-4, atol=1e-4)


def test_a_refilled_input_array_is_not_what_is_learned_from(bundle, x):
    refilled, fresh = (Session(bundle, batch=4, governor="always") for _ in range(2))
    array = np.empty_like(x[:1])
    for k in range(4):
        array[:] = x[k]
        refilled.run(None, {"input": array})
        fresh.run(None, {"input": x[k : k + 1].copy()})
    assert refilled.last.action == "commit"
    assert refilled.state.hash == fresh.state.hash


@pytest.mark.parametrize("names", [None, ["logits"], ["features", "logits"], []])
def test_outputs_by_name_equal_onnxruntimes(bundle, plain, x, names):
    want = plain.run(names, {"input": x[:3]})
    got = Session(bundle).run(names, {"input": x[:3]})
    assert len(got) == len(want)
    assert all(np.array_equal(g, w) for g, w in zip(got, want))


def test_an_unknown_output_is_answered_as_onnxruntime_does(bundle, plain, x):
    said = []
    for session in (plain, Session(bundle)):
        with pytest.raises(Exception) as caught:
            session.run(["nothing"], {"input": x[:1]})
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def test_the_rest_of_the_interface_is_onnxruntimes(bundle, plain):
    session = Session(str(bundle.path), None, ["CPUExecutionProvider"])
    for get in ("get_inputs", "get_outputs"):
        ours, theirs = getattr(session, get)(), getattr(plain, get)()
        assert [(a.name, a.type, a.shape) for a in ours] == [
            (a.name, a.type, a.shape) for a in theirs
        ]
    assert session.get_providers() == plain.get_providers()
    assert session.get_modelmeta().graph_name == plain.get_modelmeta().graph_name
    with pytest.raises(AttributeError):
        _ = session.no_such_thing
    with pytest.raises(AttributeError):
        _ = session._private


def test_session_options_are_heeded(bundle):
    made = ort.SessionOptions()
    made.intra_op_num_threads = 2
    used = Session(bundle, made).get_session_options()
    assert used.intra_op_num_threads == 2


def test_providers(bundle):
    Session(bundle, providers=[("CPUExecutionProvider", {})])
    with pytest.raises(TtaError, match=r"only CPUExecutionProvider .* not CUDAExecutionProvider$"):
        Session(bundle, providers=["CUDAExecutionProvider"])
    with pytest.warns(RuntimeWarning, match="CUDAExecutionProvider left out"):
        Session(bundle, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_feed_is_answered_but_not_learned_from(bundle, plain, x, value):
    spoilt, clean = (Session(bundle, governor="always") for _ in range(2))
    bad = x[:1].copy()
    bad[0, 0, 5, 5] = value
    for k in range(B):
        if k in (0, 7, 15):
            with np.errstate(invalid="ignore"):
                got = spoilt.run(None, {"input": bad})
                want = plain.run(None, {"input": bad})
            assert all(np.array_equal(g, w, equal_nan=True) for g, w in zip(got, want))
        spoilt.run(None, {"input": x[k : k + 1]})
        clean.run(None, {"input": x[k : k + 1]})
    assert spoilt.skipped == 3 and clean.skipped == 0
    assert spoilt.state.hash == clean.state.hash and spoilt.state.step == 1


def test_a_wrong_shape_is_refused_as_onnxruntime_does(bundle, plain):
    said = []
    session = Session(bundle)
    for each in (plain, session):
        with pytest.raises(Exception) as caught:
            each.run(None, {"input": np.zeros((1, 1, 27, 28), np.float32)})
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1] and session.state.step == 0


def test_a_feed_of_many_frames_is_many_steps(bundle, plain, x):
    """40 frames are two batches of sixteen and half a one; the answer is that of before them."""
    whole, single = (Session(bundle, governor="always") for _ in range(2))
    (got,) = whole.run(["logits"], {"input": x[:40]})
    np.testing.assert_allclose(got, plain.run(["logits"], {"input": x[:40]})[0], atol=1e-5)
    for k in range(40):
        single.run(["logits"], {"input": x[k : k + 1]})
    assert whole.state.step == single.state.step == 2
    assert whole.state.hash == single.state.hash
    whole.run(None, {"input": x[40:48]})  # fills the third
    assert whole.state.step == 3


def test_reset_and_restore(bundle, plain, x, tmp_path):
    session = Session(bundle)
    source = session.state
    session.run(None, {"input": x[:B]})
    adapted = session.state
    answer = session.run(["logits"], {"input": x[:2]})[0]
    session.reset()
    assert session.state is source
    np.testing.assert_allclose(
        session.run(["logits"], {"input": x[:2]})[0],
        plain.run(["logits"], {"input": x[:2]})[0],
        atol=1e-5,
    )
    save_state(tmp_path / "s", adapted, bundle)
    session.restore(load_state(tmp_path / "s", bundle))
    assert np.array_equal(session.run(["logits"], {"input": x[:2]})[0], answer)
    begun = Session(bundle, state=adapted)
    assert np.array_equal(begun.run(["logits"], {"input": x[:2]})[0], answer)


def test_switched_off_it_is_onnxruntime(bundle, plain, x):
    for session in (Session(bundle, adapter="none"), Session(bundle, governor="off")):
        for k in range(0, 48, B):
            got = session.run(None, {"input": x[k : k + B]})
            want = plain.run(None, {"input": x[k : k + B]})
            assert all(np.allclose(g, w, atol=1e-5) for g, w in zip(got, want))
        assert session.state.step == 0 and session.last.action == "hold"


def test_it_is_what_tta_exports():
    assert tta.Session is Session


def test_a_plain_model_is_no_bundle(bundle, tmp_path):
    plain = tmp_path / "model.onnx"
    plain.write_bytes((bundle.path / "infer.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"neither a folder nor an? .*zip"):
        Session(plain)
    with pytest.raises(BundleError, match="no bundle at"):
        Session(tmp_path / "gone.onnx")

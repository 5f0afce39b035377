"""``tta explain`` from the command line: what it runs, writes and refuses."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from tests.bundles import bundle, explained
from tests.models.fashion import CALIBRATION, MEAN, STD
from tta.adapters.tent import Tent
from tta.bundle import write_manifest
from tta.cli import main
from tta.errors import TtaError
from tta.explanation import explain
from tta.explanation.overlay import over, picture_of, strength, window
from tta.explanation.witness import watch
from tta.manifest import InputSpec
from tta.records import Frame
from tta.runtime.image_input import ImageInput
from tta.runtime.source_uri import open_source


def fashion():
    return explained("fashion:factory")


def test_the_last_steps_with_their_frames():
    """As explain() says of the same state and batch; decisions and frames belong together."""
    uri = "synthetic://?shape=1x28x28&frames=40&seed=3"
    seen = watch(fashion(), open_source(uri), "tent", keep=2, batch=16, governor="always")
    assert [e.step for _, e in seen.steps] == [1, 2]
    assert [[f.seq for f in made.frames] for made, _ in seen.steps] == [
        list(range(16)),
        list(range(16, 32)),
    ]
    assert all(made.decision.action == "commit" for made, _ in seen.steps)
    made, e = seen.steps[1]
    again = explain(fashion(), made.state, made.batch, Tent())
    assert e.after.hash == again.after.hash == seen.stream.current.hash
    for name, part in again.parts.items():
        assert np.allclose(part.heat, e.parts[name].heat, rtol=1e-4, atol=1e-5)


def test_only_the_last_are_kept_and_limits_hold():
    uri = "synthetic://?shape=1x28x28&frames=100&seed=3"
    seen = watch(fashion(), open_source(uri), "tent", batch=8, governor="always", limit=26)
    assert [e.step for _, e in seen.steps] == [3]
    assert [f.seq for f in seen.steps[0][0].frames] == list(range(16, 24))


def test_a_stream_without_steps_says_why():
    def run(uri, **options):
        watch(fashion(), open_source(uri), "tent", **options)

    with pytest.raises(TtaError, match="5 frames came to no adaptation step, since one takes 16"):
        run("synthetic://?shape=1x28x28&frames=5")
    with pytest.raises(TtaError, match=r"the governor held each batch \(.+\): --governor always"):
        run("synthetic://?shape=1x28x28&frames=20", governor="off")
    with pytest.raises(TtaError, match="none could be used, the last because"):
        run("synthetic://?shape=1x14x14&frames=20")


def test_files(tmp_path, capsys):
    with np.load(CALIBRATION) as data:
        np.savez(tmp_path / "photos.npz", images=data["images"][:40])
    found, out = tmp_path / "fashion.tta", tmp_path / "why"
    shutil.copytree(fashion().path, found)
    given = {"kind": "image", "channels": 1, "scale": 1 / 255, "mean": [MEAN], "std": [STD]}
    write_manifest(found, replace(fashion().manifest, preprocess=given))
    arguments = ["explain", str(found), f"npz://{tmp_path / 'photos.npz'}", "--steps", "2"]
    assert main([*arguments, "--governor", "always", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "export with --samples" not in said.replace("\n", " ")  # it has a reference
    assert "the last 2 of 2 steps, by layer" in said and "statistics: hottest at" in said
    figures = json.loads((out / "explain.json").read_text())
    assert figures["adapter"] == "nhl" and [s["step"] for s in figures["steps"]] == [1, 2]
    for step in figures["steps"]:
        assert step["decision"] == "commit" and len(step["frames"]) == 16
        for part in ("statistics", "gradient", "hebbian"):
            assert sum(f["parts"][part]["share"] for f in step["frames"]) == pytest.approx(
                1, abs=1e-2
            )
            shares = [m["share"] for m in step["layers"] if m["part"] == part]
            assert sum(shares) == pytest.approx(1, abs=1e-2)
            assert all(0 < s < 1 for s in step["parts"][part]["hottest"])
    pictures = sorted(out.glob("frame-*.png"))
    assert len(pictures) == 32
    text = (out / "explain.html").read_text()
    assert text.count("<img") == 3 + 32 * 3 and "By layer" in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)  # nothing from elsewhere


def test_windows_are_drawn_with_their_signals(tmp_path, capsys):
    found = explained("sensor_cnn:factory").path
    arguments = ["explain", str(found), "synthetic://?shape=6x100&frames=8", "--batch", "8"]
    assert main([*arguments, "--governor", "always", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "of the window's time" in said and "export with --samples" in said.replace("\n", " ")
    [first, *_] = sorted(tmp_path.glob("frame-*.svg"))
    root = ET.parse(first).getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 6


def test_refusals(tmp_path, capsys):
    plain = str(bundle("mlp:factory").path)
    arguments = ["explain", plain, "synthetic://?shape=64&frames=32", "--adapter", "tent"]
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    assert "export it again with --explain" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*arguments, "--out", str(tmp_path / "file")]) == 1
    assert "name a folder of your own with --out" in capsys.readouterr().err


def test_no_places_and_no_gradient_are_said(tmp_path, capsys):
    found = str(explained("mlp:factory").path)
    arguments = ["explain", found, "synthetic://?shape=64&frames=16", "--out", str(tmp_path)]
    assert main([*arguments, "--governor", "always", "--adapter", "tent"]) == 0
    assert "no layer that was changed has places" in capsys.readouterr().out
    found = str(explained("sensor_cnn:factory").path)
    arguments = ["explain", found, "synthetic://?shape=6x100&frames=16", "--out", str(tmp_path)]
    assert main([*arguments, "--governor", "always", "--adapter", "nhl?lr=0"]) == 0
    assert "no gradient is in it" in capsys.readouterr().out


SPEC = {"kind": "image", "channels": 1, "resize": 20, "crop": [16, 16], "scale": 1 / 255}


def test_heat_lies_where_the_model_saw_the_frame():
    preprocess = ImageInput(SPEC, InputSpec("input", (None, 1, 16, 16)))
    assert preprocess.seen(20, 40) == (2 / 20, 12 / 40, 18 / 20, 28 / 40)
    frame = Frame(np.full((100, 200), 128, np.uint8), 0.0, 0)
    picture, seen = picture_of(frame, np.zeros((1, 16, 16), np.float32), preprocess)
    heat = np.zeros((16, 16))
    heat[0, 0] = 256.0  # the corner of what the model sees
    drawn = over(picture, heat, 2.0, seen).astype(int)
    coloured = np.ptp(drawn, axis=2) > 0
    rows, columns = np.nonzero(coloured)
    height, width = picture.shape
    assert abs(rows.min() / height - 0.1) < 0.02 and abs(columns.min() / width - 0.3) < 0.02
    assert rows.max() / height < 0.25 and columns.max() / width < 0.4


def test_even_heat_leaves_a_picture_gray():
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    drawn = over(picture, np.ones((4, 4)), 2.0, (0, 0, 1, 1))
    assert np.array_equal(drawn, np.repeat(picture[..., None], 3, 2))
    assert strength(np.array([1.5]), 2.0) == 0.5


def test_flat_signals_are_drawn():
    root = ET.fromstring(window(np.zeros((2, 9)), np.ones(9), 2.0))
    assert "nan" not in ET.tostring(root).decode()

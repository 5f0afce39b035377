"""The sensor audit: models that rely on what we know, and the file beside the bundle."""

import json
import shutil
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tta import sensor_audit
from tta.bundle import Bundle
from tta.cli import main
from tta.errors import BundleError, TtaError
from tta.evaluation.audit import Group, audit, make_groups, measure
from tta.export import to_bundle
from tta.inspection import describe
from tta.sensor_audit import Audit, Reliance
from tta.terminal import Terminal


def column(*members, of=50):
    mask = np.zeros(of, bool)
    mask[list(members)] = True
    return mask


def slabs(n, rng, noisy=0.0, m=0.1, d=50):
    """Column 0 tells the class linearly, up to noise; column 1 by five slabs; the others are noise.

    The data of Shah et al. 2020, section 3, without the rotation, which an audit by column would undo.
    """
    y = rng.integers(0, 2, n)
    x = rng.uniform(-1, 1, (n, d))
    x[:, 0] = (2 * y - 1) * (m + (1 - m) * rng.random(n))
    lost = rng.random(n) < noisy
    x[lost, 0] = rng.uniform(-m, m, lost.sum())
    w, u, side = (2 - 8 * m) / 5, rng.uniform(-1, 1, n), rng.choice([-1, 1], n)
    inner = rng.random(n) < 0.75
    zero = np.where(inner, 0.5 * w * u, side * ((8 * m + 3) / 5 + w * rng.random(n)))
    x[:, 1] = np.where(y == 1, side * ((1 + 6 * m) / 5 + w * rng.random(n)), zero)
    return x.astype(np.float32), y


GROUPS = [
    Group("linear", column(0)),
    Group("slabs", column(1)),
    Group("noise", column(*range(2, 50))),
]


@pytest.mark.parametrize(("noisy", "accuracy"), [(0.0, 1.0), (0.1, 0.95)])
def test_a_model_that_took_the_simple_way_relies_on_it_alone(rng, noisy, accuracy):
    """Permuting the linear column leaves chance; permuting the slabs, whatever they tell, costs nothing."""
    x, y = slabs(20000, rng, noisy)
    whole, (linear, slab, noise) = measure(lambda v: (v[:, 0] > 0).astype(int), x, y, GROUPS)
    assert whole[0] == pytest.approx(accuracy, abs=0.006)
    assert linear.permuted[0] == pytest.approx(0.5, abs=0.01)
    assert slab.permuted[0] == noise.permuted[0] == whole[0] and slab.drop == (0, 0, 0)
    assert linear.alone[0] == whole[0] and slab.alone[0] == pytest.approx(0.5, abs=0.01)
    assert linear.dead[0] == pytest.approx(0.5, abs=0.02)
    assert linear.drop[1] < accuracy - 0.5 < linear.drop[2]


def test_two_redundant_channels_are_missed_together_only(rng):
    """Either of two equal readings suffices a model that takes the larger one: single drops say little."""
    y = rng.integers(0, 2, 4000)
    x = np.stack([y, y, rng.integers(0, 2, 4000)], 1).astype(np.float32)
    groups = [Group(n, column(*c, of=3)) for n, c in (("a", [0]), ("b", [1]), ("both", [0, 1]))]
    _, (a, b, both) = measure(lambda v: np.maximum(v[:, 0], v[:, 1]).astype(int), x, y, groups)
    assert a.permuted[0] == pytest.approx(0.75, abs=0.02) and b.permuted[0] == pytest.approx(
        0.75, abs=0.02
    )
    assert a.dead[0] == b.dead[0] == 1.0 and both.dead[0] == pytest.approx(0.5, abs=0.03)
    assert both.permuted[0] == pytest.approx(0.5, abs=0.03)


class OneChannel(nn.Module):
    """Says the sign of the mean of channel 1 of three."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(self.pool(self.norm(x)).flatten(1))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bundle that relies on green alone, its path, and labelled pictures of 8x8."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.integers(90, 166, (200, 8, 8, 3)).astype(np.uint8)
    images[..., 1] = np.where(labels[:, None, None], 180, 60) + rng.integers(-20, 20, (200, 8, 8))
    np.savez(folder / "data.npz", images=images, labels=labels)
    spec = {"kind": "image", "channels": 3, "layout": "CHW", "colour": "RGB", "scale": 1 / 255,
            "mean": [0.5] * 3, "std": [0.25] * 3}  # fmt: skip
    made = to_bundle(
        OneChannel(), torch.randn(4, 3, 8, 8), folder / "green.tta", preprocess=spec,
        samples=rng.standard_normal((64, 3, 8, 8)).astype(np.float32), objectives=(), hebbian=(),
    )  # fmt: skip
    return made.bundle, folder


def test_the_command_finds_the_one_channel_and_keeps_it(world, tmp_path, capsys):
    bundle, folder = world
    path = tmp_path / "green.tta"
    shutil.copytree(bundle.path, path)
    assert main(["audit", str(path), str(folder / "data.npz"), "--groups", "others=red+blue"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].startswith("green") or printed.splitlines()[3].startswith(
        "green"
    )
    again = Bundle(path)
    assert again.hash == bundle.hash  # adapted states still belong to it
    kept = sensor_audit.load(again)
    by_name = {g.name: g for g in kept.groups}
    assert list(by_name) == ["red", "green", "blue", "others", "everything"]
    assert kept.accuracy[0] == 1 and kept.samples == 200
    assert by_name["others"].permuted[0] == by_name["others"].dead[0] == 1
    assert by_name["green"].permuted[0] == pytest.approx(0.5, abs=0.12)
    assert by_name["green"].dead[0] == pytest.approx(
        1 - np.mean(np.load(folder / "data.npz")["labels"])
    )
    assert kept.expected(["green"]) == by_name["green"].dead
    assert kept.expected(["blue", "red"]) == by_name["others"].dead
    assert kept.expected(["red", "green"]) is None and kept.expected(["nose"]) is None
    assert kept.expected([]) == kept.accuracy
    text = describe(again)
    assert "audit       on 200 samples" in text and "others" in text
    assert json.loads((path / "audit.json").read_text())["bundle"] == bundle.hash


def test_a_zipped_bundle_keeps_it_too(world, tmp_path):
    bundle, folder = world
    packed = Path(
        shutil.make_archive(str(tmp_path / "green"), "zip", bundle.path.parent, "green.tta")
    )
    quiet = Terminal(plain=True)
    for repeats in (1, 2):  # the second replaces the first
        audit(str(packed), str(folder / "data.npz"), repeats=repeats, terminal=quiet)
        with zipfile.ZipFile(packed) as archive:
            assert archive.namelist().count("green.tta/audit.json") == 1
        again = Bundle(packed)
        assert again.hash == bundle.hash and sensor_audit.load(again).repeats == repeats


def test_it_is_kept_only_if_wanted(world, tmp_path, capsys):
    bundle, folder = world
    assert main(["audit", str(bundle.path), str(folder / "data.npz"), "--no-keep"]) == 0
    assert sensor_audit.load(bundle) is None and "audit  " not in describe(bundle)


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is no audit"), ('{"schema": 2}', "expected an object with schema 1"),
     ('{"schema": 1}', "is no audit"), ("[" * 100000, "is no audit"), (" " * 2**21, "too large")],
)  # fmt: skip
def test_a_damaged_file_is_said_and_hurts_nothing(world, tmp_path, content, said):
    path = tmp_path / "green.tta"
    shutil.copytree(world[0].path, path)
    (path / "audit.json").write_text(content)
    bundle = Bundle(path)
    with pytest.raises(BundleError, match=said):
        sensor_audit.load(bundle)
    assert said in describe(bundle)


def test_an_audit_of_another_bundle_is_refused(world, tmp_path):
    path = tmp_path / "green.tta"
    shutil.copytree(world[0].path, path)
    one = Reliance("green", (1,), *[(0.5, 0.4, 0.6)] * 4)
    sensor_audit.keep(path, Audit("0" * 64, "x", 30, 3, 0, (1.0, None, None), (one,)))
    with pytest.raises(BundleError, match="measured on another bundle"):
        sensor_audit.load(Bundle(path))
    kept = Audit(Bundle(path).hash, "x", 30, 3, 0, (1.0, None, None), (one,))
    sensor_audit.keep(path, kept)
    assert sensor_audit.load(Bundle(path)) == kept


def test_parts_of_a_gray_picture():
    manifest = Bundle(files("tta.demo") / "fashion.tta").manifest
    groups = make_groups(manifest, (1, 28, 28), grid=3)
    assert [g.name for g in groups][:2] == ["row 1, column 1", "row 1, column 2"]
    covered = sum(np.broadcast_to(g.mask, (1, 28, 28)).astype(int) for g in groups[:-1])
    assert (covered == 1).all() and groups[-1].name == "everything"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"channels": "a,b"}, "must name 1 channels"),
        ({"groups": "x=7"}, "--groups is NAME=channel"),
    ],
)
def test_names_that_fit_no_channel(more, said):
    manifest = Bundle(files("tta.demo") / "fashion.tta").manifest
    with pytest.raises(TtaError, match=said):
        make_groups(manifest, (1, 28, 28), **more)


def test_no_labels_no_audit(world, tmp_path, capsys):
    np.savez(tmp_path / "bare.npz", images=np.zeros((30, 8, 8, 3), np.uint8))
    assert main(["audit", str(world[0].path), str(tmp_path / "bare.npz")]) == 1
    assert "at least 20 labelled samples" in capsys.readouterr().err

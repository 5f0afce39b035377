"""Canaries on the device: versioned, capped, of one bundle, whole after a cut."""

import dataclasses
import json
import os

import numpy as np
import pytest

from tta.canary_data import MOST_MAJOR
from tta.errors import TtaError
from tta.runtime.canary_folder import KEPT, CanaryFolder, Member


def frame(k):
    return np.full((1, 28, 28), k, np.float32)


def member(target, severity="minor"):
    return Member("", target, severity, seq=target)


def test_what_was_added_is_there_again(bundle, tmp_path):
    folder = CanaryFolder(tmp_path / "c", bundle)
    assert folder.load() is None and not (tmp_path / "c").exists()
    folder.add([(frame(0), member(3)), (frame(1), member(4, "major"))])
    again = CanaryFolder(tmp_path / "c", bundle)
    found = again.load()
    assert again.version == 1 and found.targets.tolist() == [3, 4]
    assert found.major.tolist() == [False, True] and np.array_equal(found.inputs[1], frame(1))
    assert isinstance(found.frames[0], np.memmap)  # read when shown


def test_a_later_label_replaces_the_earlier(bundle, tmp_path):
    folder = CanaryFolder(tmp_path, bundle)
    folder.add([(frame(0), member(3))])
    folder.add([(frame(0), member(5, "major"))])
    found = CanaryFolder(tmp_path, bundle).load()
    assert found.targets.tolist() == [5] and found.major.all()
    assert len(list((tmp_path / "frames").glob("*.npy"))) == 1


def test_every_change_is_a_version_to_go_back_to(bundle, tmp_path):
    folder = CanaryFolder(tmp_path, bundle)
    for k in range(KEPT + 2):
        folder.add([(frame(k), member(k % 10))])
    assert folder.remove([folder.members[0].frame]) == 1
    names = sorted(p.name for p in tmp_path.glob("*.json"))
    assert len(names) == KEPT and names[-1] == f"{KEPT + 3:08}.json"
    folder.back(KEPT + 2)
    found = CanaryFolder(tmp_path, bundle)
    assert found.version == KEPT + 4 and len(found.load()) == KEPT + 2
    with pytest.raises(TtaError, match="has no version 1, but"):
        folder.back(1)


def test_it_is_capped_and_the_oldest_go_but_never_major_ones(bundle, tmp_path):
    folder = CanaryFolder(tmp_path, bundle, cap=30)
    folder.add([(frame(0), member(0, "major"))])
    gone = []
    for k in range(1, 35):
        gone += folder.add([(frame(k), member(k % 10))])
    found = folder.load()
    assert len(found) == 30 and found.major[0] and len(gone) == 5
    assert [m.target for m in gone] == [1, 2, 3, 4, 5]
    many = [(frame(100 + k), member(0, "major")) for k in range(MOST_MAJOR)]
    with pytest.raises(TtaError, match=f"would hold {MOST_MAJOR + 1} must-never-break"):
        folder.add(many)
    assert len(CanaryFolder(tmp_path, bundle).load()) == 30  # as before


def test_frames_of_forgotten_versions_go(bundle, tmp_path):
    folder = CanaryFolder(tmp_path, bundle)
    folder.add([(frame(0), member(0)), (frame(1), member(1))])
    folder.remove([folder.members[0].frame])
    for k in range(KEPT):
        assert len(list((tmp_path / "frames").glob("*.npy"))) == 2 + k - (k >= KEPT - 1)
        folder.add([(frame(2 + k), member(0))])


def test_it_is_for_one_bundle(bundle, tmp_path):
    CanaryFolder(tmp_path, bundle).add([(frame(0), member(0))])
    other = object.__new__(type(bundle))
    other.path, other.hash = bundle.path, "f" * 64
    other.manifest = dataclasses.replace(bundle.manifest, name="Other")
    with pytest.raises(
        TtaError, match=r"are for bundle \w{12}, but this is ffffffffffff \(Other\)"
    ):
        CanaryFolder(tmp_path, other)


@pytest.mark.parametrize(
    ("x", "target", "said"),
    [
        (np.zeros((3, 28, 28)), 0, r"preprocessed inputs \(n, 1, 28, 28\) of FashionNet"),
        (np.zeros((1, 28, 28)), 10, "has label 10, but the labels of FashionNet are 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(bundle, tmp_path, x, target, said):
    folder = CanaryFolder(tmp_path / "c", bundle)
    with pytest.raises(TtaError, match=said):
        folder.add([(x, member(target))])
    assert not (tmp_path / "c").exists()


def test_damage_is_seen(bundle, tmp_path):
    folder = CanaryFolder(tmp_path, bundle)
    folder.add([(frame(0), member(0))])
    [path] = (tmp_path / "frames").glob("*.npy")
    np.save(path, frame(7))
    with pytest.raises(TtaError, match="its hash differs"):
        CanaryFolder(tmp_path, bundle).load()
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(TtaError, match="cannot be read"):
        CanaryFolder(tmp_path, bundle).load()
    newest = tmp_path / "00000001.json"
    about = json.loads(newest.read_text())
    for text, said in (("{", "no readable list"), (json.dumps({**about, "schema": 9}), "newer schema"),
                       (json.dumps({**about, "members": [{}]}), "no readable list")):  # fmt: skip
        newest.write_text(text)
        with pytest.raises(TtaError, match=said):
            CanaryFolder(tmp_path, bundle)


def test_a_version_that_could_not_be_written_leaves_the_last(bundle, tmp_path, monkeypatch):
    folder = CanaryFolder(tmp_path, bundle)
    folder.add([(frame(0), member(0))])
    real = os.replace

    def full(source, target):
        if str(target).endswith(".json"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TtaError, match="No space left"):
        folder.add([(frame(1), member(1))])
    monkeypatch.undo()
    assert CanaryFolder(tmp_path, bundle).load().targets.tolist() == [0]

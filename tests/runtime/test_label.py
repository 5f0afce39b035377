"""``tta label`` and ``tta review``: which frames, what labels say, and how they become canaries."""

import csv
import io
import os

import numpy as np
import pytest

from tta.canary_data import MOST_MAJOR
from tta.cli import main
from tta.runtime.canary_folder import CanaryFolder
from tta.runtime.frame_picture import drawn, write_png
from tta.runtime.image_file import read_image
from tta.runtime.label_command import QUIT
from tta.runtime.labelling import Labelling
from tta.runtime.loop import run
from tta.runtime.recorder import Recorder
from tta.runtime.recording import Recording

FRAMES = 60


@pytest.fixture
def folder(bundle, tmp_path):
    source = f"synthetic://?shape=28x28&frames={FRAMES}&dtype=uint8&seed=2"
    run(bundle, source, "bn_stats", [Recorder(tmp_path / "r", wait_s=60)], batch=8)
    return tmp_path / "r"


def called(capsys, name, bundle, folder, *words):
    status = main([name, str(bundle.path), str(folder), *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def listed(capsys, name, bundle, folder, *words):
    rows = called(capsys, name, bundle, folder, "--list", *words)[1]
    return list(csv.DictReader(io.StringIO(rows)))


def answered(path, column, rows):
    path.write_text(f"frame,{column}\n" + "".join(f"{k},{v}\n" for k, v in rows))
    return path


def test_labels_become_canaries_and_an_accuracy(capsys, bundle, folder, tmp_path):
    rows = listed(capsys, "label", bundle, folder, "--pictures", tmp_path / "png")
    assert len(rows) == 20 and len({r["frame"] for r in rows}) == 20
    assert rows == listed(capsys, "label", bundle, folder)  # they stay until they are labelled
    assert len(list((tmp_path / "png").glob("*.png"))) == 20
    names = bundle.manifest.labels
    wrong = [next(n for n in names if n != r["served"]) for r in rows]
    said = [(r["frame"], r["served"] if k % 2 else wrong[k]) for k, r in enumerate(rows)]
    status, out, _ = called(
        capsys, "label", bundle, folder, "--answers", answered(tmp_path / "a.csv", "answer", said)
    )
    assert status == 0 and "95 % interval" in out and "20 labels" in out and "label-free" in out
    found = CanaryFolder(folder / "canaries" / "stream", bundle)
    assert len(found.load()) == 20 and {m.origin for m in found.members} == {"label"}
    assert not {r["frame"] for r in listed(capsys, "label", bundle, folder)} & dict(said).keys()

    queue = listed(capsys, "review", bundle, folder)
    assert [r["frame"] for r in queue] == sorted(k for k, _ in said[::2])
    tags = ["correct", "unclear", "minor", "major"]
    rows = [(r["frame"], tags[k % 4]) for k, r in enumerate(queue)]
    path = answered(tmp_path / "t.csv", "tag", rows)
    status, out, _ = called(capsys, "review", bundle, folder, "--answers", path)
    assert status == 0 and "0 mistakes wait" in out and "2 canaries must never break" in out
    assert "17 labels" in out  # three nobody can tell
    found = CanaryFolder(folder / "canaries" / "stream", bundle)
    assert len(found.members) == 17 and sum(m.severity == "major" for m in found.members) == 2
    labels = Labelling(Recording(folder)).file.labels
    assert all(labels[k].right == (tag == "correct") for k, tag in rows)


def test_typed_answers_are_kept_at_once(capsys, bundle, folder, monkeypatch):
    typed = iter(["nonsense", "3", "", QUIT])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    out = called(capsys, "label", bundle, folder)[1]
    assert "has no class 'nonsense'" in out and "1 labels" in out
    left = listed(capsys, "label", bundle, folder)
    assert len(left) == 18  # neither the labelled one nor the skipped one
    monkeypatch.setattr("builtins.input", lambda _: (_ for _ in ()).throw(EOFError))
    assert called(capsys, "label", bundle, folder)[0] == 0


def test_an_unknown_frame_or_class_changes_nothing(capsys, bundle, folder, tmp_path):
    known = listed(capsys, "label", bundle, folder)[0]["frame"]
    for rows, word in (([(known, 1), ("stream/99", 1)], "not recorded"), ([(known, 77)], "'77'")):
        path = answered(tmp_path / "a.csv", "answer", rows)
        status, _, err = called(capsys, "label", bundle, folder, "--answers", path)
        assert status == 1 and word in err
    assert not Labelling(Recording(folder)).file.labels
    path.write_text("a,b\n1,2\n")
    assert "columns frame and answer" in called(
        capsys, "label", bundle, folder, "--answers", path
    )[2]  # fmt: skip


def test_frames_where_the_frozen_model_differs_are_their_own_stratum(bundle, folder):
    labelling = Labelling(Recording(folder))
    strata = labelling.strata()
    differ = {k for k, h in strata.items() if h == 0}
    taken = [f.name for f in labelling.offer(20)]
    assert differ and len(differ & set(taken)) >= min(len(differ), 20 // 6)


def test_every_frame_of_a_stratum_has_the_same_chance(bundle, folder):
    labelling = Labelling(Recording(folder))
    strata = labelling.strata()
    counts = dict.fromkeys(strata, 0)
    for seed in range(400):
        for name in labelling._drawn(12, np.random.default_rng(seed)):
            counts[name] += 1
    for h in set(strata.values()):
        n = np.array([counts[k] for k in strata if strata[k] == h])
        assert np.abs(n - n.mean()).max() < 5 * np.sqrt(n.mean() + 1), (h, n)


def test_too_many_majors_are_refused(capsys, bundle, folder, tmp_path):
    rows = [(f.name, (f.about["output"].argmax() + 1) % 10)
            for f in Recording(folder).frames()]  # fmt: skip
    called(
        capsys, "label", bundle, folder, "--answers", answered(tmp_path / "a.csv", "answer", rows)
    )
    path = answered(tmp_path / "t.csv", "tag", [(k, "major") for k, _ in rows])
    status, _, err = called(capsys, "review", bundle, folder, "--answers", path)
    assert status == 1 and f"at most {MOST_MAJOR}" in err
    tags = [v.tag for v in Labelling(Recording(folder)).file.labels.values()]
    assert tags.count("major") == MOST_MAJOR


def test_pictures(tmp_path):
    pytest.importorskip("PIL", reason="pictures are read back with Pillow")
    image = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_image(tmp_path / "a.png"), image)
    assert drawn(np.array([[0, 255], [0, 255]], np.uint8)) == " @"
    assert "reading float32(4,)" in drawn(np.zeros(4, np.float32))


def test_purge(capsys, bundle, folder, tmp_path):
    rows = [(f.name, 1) for f in Recording(folder).frames()[:6]]
    path = answered(tmp_path / "a.csv", "answer", rows)
    called(capsys, "label", bundle, folder, "--answers", path)
    for name, _ in rows[:2]:
        os.utime(folder / f"{name}.npz", (0, 0))
    assert main(["purge", str(folder), "--days", "30"]) == 0
    assert len(Recording(folder).frames()) == FRAMES - 2
    assert Labelling(Recording(folder)).file.labels.keys() == {k for k, _ in rows[2:]}
    (folder / "stream" / "mine.npz").touch()
    assert main(["purge", str(folder)]) == 0
    assert not Recording(folder).frames() and (folder / "stream" / "mine.npz").exists()
    assert CanaryFolder(folder / "canaries" / "stream", bundle).load() is None
    assert not list((folder / "canaries").rglob("*.npy"))
    assert main(["purge", str(tmp_path)]) == 1

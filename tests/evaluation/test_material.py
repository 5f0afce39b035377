"""Which items are used, what becomes of them, and what the source model is asked."""

from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.errors import TtaError
from tta.evaluation.cell import evaluate
from tta.evaluation.material import Material
from tta.evaluation.readings import Readings
from tta.runtime.datasets import open_dataset
from tta.runtime.datasets._rows import Rows
from tta.runtime.session import InferSession
from tta.simulation.schedules.diurnal import Diurnal

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"


@pytest.fixture(scope="module")
def fashion():
    return open_dataset("fashion")


@pytest.fixture(scope="module")
def bundle():
    return Bundle(BUNDLE)


def by_class(fashion):
    """The same images, class by class, as a folder lists them."""
    order = np.argsort(fashion.labels, kind="stable")
    return Rows(fashion.read(order, 0 * order), fashion.labels[order], name="sorted")


def test_a_limit_takes_items_of_all_classes_and_always_the_same(fashion, bundle):
    data = by_class(fashion)
    found = Material(bundle, data, 200)
    assert len(np.unique(found.labels)) == 10 and len(np.unique(found.chosen)) == 200
    assert np.array_equal(found.chosen, Material(bundle, data, 200).chosen)
    assert set(found.chosen) < set(Material(bundle, data, 300).chosen)
    assert np.array_equal(Material(bundle, data, 5000).chosen, np.arange(2000))


def test_the_hash_follows_what_is_used(fashion, bundle):
    data = by_class(fashion)
    hashes = {Material(bundle, data, limit).hash for limit in (200, 201, None)}
    other = Rows(fashion.read(np.arange(2000), 0), fashion.labels, name="sorted")
    hashes.add(Material(bundle, other, 200).hash)
    assert len(hashes) == 4 and Material(bundle, data, 200).hash in hashes


def test_items_without_a_label_are_not_used(fashion, bundle):
    images, labels = fashion.read(np.arange(50), 0), fashion.labels[:50].copy()
    labels[::2] = -1
    assert np.array_equal(Material(bundle, Rows(images, labels)).chosen, np.arange(1, 50, 2))
    with pytest.raises(TtaError, match="has no labels"):
        Material(bundle, Rows(images, np.full(50, -1)))


def test_readings_are_what_corrupt_makes_whether_kept_or_not(fashion):
    chosen = np.arange(3, 90, 2)
    kept, none = Readings(fashion, chosen, 7), Readings(fashion, chosen, 7, most_bytes=0)
    some = np.array([4, 0, 4, 31])
    images = fashion.read(chosen[some], 0)
    for change, severity in (("fog", 5), ("snow", 2), ("none", 0)):
        expected = images
        if severity:
            expected = corrupt(images, change, severity, 7, first=chosen[some])
        for readings in (kept, none):
            for _ in range(2):
                found = readings.read(some, change, severity)
                assert found.dtype == np.uint8 and np.array_equal(found, expected)
    lit = Diurnal("0").ambient(images, np.full(4, 18.5 * 3600), 7, chosen[some])
    assert np.array_equal(kept.read(some, "18:30", 0), lit)
    assert not np.array_equal(lit, images)


def test_what_was_cut_up_is_the_same_patches_elsewhere(fashion):
    readings = Readings(fashion, np.arange(30))
    plain, cut = (readings.read(np.arange(30), "none", 0, unseen) for unseen in (False, True))

    def patches(image):
        parts = image.reshape(4, 7, 4, 7).transpose(0, 2, 1, 3).reshape(16, 49)
        return sorted(map(tuple, parts))

    for a, b in zip(plain, cut):
        assert patches(a) == patches(b) and not np.array_equal(a, b)


def test_the_model_knows_less_of_what_was_cut_up(bundle):
    material = Material(bundle, "fashion", 300)
    items = np.arange(300)
    classes, sure = material.frozen(items, "none", 0)
    _, unsure = material.frozen(items + 300, "none", 0)
    assert (classes == material.labels).mean() > 0.85
    assert unsure.mean() < sure.mean() - 0.1
    assert material.label(np.array([2, 302])).tolist() == [material.labels[2], -1]


def test_answers_are_asked_once_and_kept_on_disk(bundle, tmp_path, monkeypatch):
    def ask(some, change="fog", **more):
        material = Material(bundle, "fashion", 60, folder=tmp_path, **more)
        found = material.frozen(some, change, 5)
        material.answers.save()
        return material, found

    asked = []
    run = InferSession.run
    monkeypatch.setattr(
        InferSession, "run", lambda self, x: (asked.append(len(x)), run(self, x))[1]
    )
    _, a = ask(np.arange(40))
    _, b = ask(np.arange(60))
    assert asked == [40, 20] and len(list(tmp_path.iterdir())) == 1
    again, c = ask(np.arange(60))
    assert asked == [40, 20] and np.array_equal(b, c) and np.array_equal(b[0][:40], a[0])
    logits = run(InferSession(bundle), again.inputs(np.arange(60), "fog", 5))["logits"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    assert np.array_equal(c[0], logits.argmax(1))
    np.testing.assert_allclose(c[1], p.max(1), rtol=1e-5)
    np.testing.assert_allclose(again.probabilities("fog", 5), p, atol=5e-4)  # float16
    assert asked == [40, 20]
    ask(np.arange(60), seed=1)
    ask(np.arange(60), "contrast")
    assert len(list(tmp_path.iterdir())) == 3 and asked[2:] == [60, 60]


def test_a_damaged_file_of_answers_is_made_again(bundle, tmp_path):
    material = Material(bundle, "fashion", 40, folder=tmp_path)
    expected = material.frozen(np.arange(40), "fog", 5)
    material.answers.save()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    other = Material(bundle, "fashion", 40, folder=tmp_path)
    assert np.array_equal(other.frozen(np.arange(40), "fog", 5), expected)
    other.answers.save()
    with np.load(path) as file:
        assert np.array_equal(file["classes"], expected[0])


def test_probabilities_of_many_classes_are_kept_when_asked(bundle, monkeypatch):
    monkeypatch.setattr("tta.evaluation.frozen.SMALL_BYTES", 10)
    with pytest.raises(TtaError, match="--keep-probabilities"):
        Material(bundle, "fashion", 40).probabilities()
    kept = Material(bundle, "fashion", 40, probabilities=True).probabilities()
    assert kept.shape == (40, 10) and kept.dtype == np.float16


def test_clips_come_along(fashion, bundle, tmp_path):
    images, labels = fashion.read(np.arange(50), 0), fashion.labels[:50]
    names = np.array(["anna", "ben"])[np.arange(50) // 25]
    for clips, numbers in (
        (names, np.arange(50) // 25),
        (np.arange(50) // 10, np.arange(50) // 10),
    ):
        np.savez(tmp_path / "data.npz", images=images, labels=labels, subjects=clips)
        material = Material(bundle, str(tmp_path / "data.npz"))
        found = evaluate(material, "clean", "none", batch=20).images
        assert np.array_equal(found["clip"], numbers[found["item"]])
    assert "clip" not in evaluate(Material(bundle, "fashion", 20), "clean", "none").images


def test_frames_of_no_class_are_seen_and_count_in_no_error(bundle):
    material = Material(bundle, "fashion", 100)
    found = evaluate(material, "unseen:0.5", "bn_stats", batch=50, corruptions="fog")
    (row,) = found.rows
    label, known = found.images["label"], found.images["label"] >= 0
    assert row["images"] == 100 and row["frames"] == 200 and known.sum() == 100
    assert np.array_equal(label[known], material.data.labels[found.images["item"][known]])
    for column, of in (("error", "pre"), ("frozen_error", "frozen")):
        wrong = (found.images[of] != label)[known].mean()
        assert row[column] == pytest.approx(100 * wrong, abs=1e-9)
    # the statistics of a batch are not those of its known frames alone
    alone = evaluate(material, "reset", "bn_stats", batch=50, corruptions="fog")
    assert row["error"] != alone.rows[0]["error"]

"""Errors and answers of tasks against numbers worked out by hand."""

import dataclasses

import numpy as np

from tests.test_governor import manifest
from tta import tasks
from tta.tasks.detect import found, overlap


def made(name, shape, labels=(), known=None):
    kind = tasks.load(name)
    contract = dataclasses.replace(
        manifest(),
        task=name,
        outputs={kind.primary: shape, "features": (2,)},
        primary=kind.primary,
        labels=labels,
    )
    return tasks.of(contract, {f"task.{k}": v for k, v in (known or {}).items()})


def scores(answer, classes):
    return np.moveaxis(9.0 * np.eye(classes)[answer], -1, 1)


def test_dice_counts_each_class_and_is_told_by_size():
    truth = np.zeros((1, 10, 10), int)
    truth[0, :6, :6] = 1  # 36 positions, large
    truth[0, 9, 8:] = 2  # 2 positions, small
    said = truth.copy()
    said[0, :6, 5] = 0  # 30 of 36
    said[0, 9, 9] = 0  # 1 of 2
    task = made("segment", (3, 10, 10), ("ground", "bag", "shoe"))
    dice = (2 * 30 / 66, 2 * 1 / 3)
    assert np.isclose(task.error(scores(said, 3), truth)[0], 1 - np.mean(dice))
    told = task.details(scores(said, 3), truth)
    assert np.isclose(told["large"], 1 - dice[0]) and np.isclose(told["small"], 1 - dice[1])
    assert np.isnan(told["medium"]) and np.isclose(told["positions"], 0.07)
    assert task.decode(scores(said, 3)[0]) == {"ground": 0.69, "bag": 0.3, "shoe": 0.01}


def test_a_segmenter_that_sees_what_is_not_there_is_wrong():
    empty = np.zeros((2, 4, 4), int)
    said = empty.copy()
    said[1, 0, 0] = 1
    assert made("segment", (2, 4, 4)).error(scores(said, 2), empty).tolist() == [0.0, 1.0]


def test_f1_of_labels():
    said = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    truth = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 0]])
    task = made("multilabel", (3,), ("a", "b", "c"))
    assert np.allclose(task.error(4.0 * said - 2, truth), [0.5, 0.0, 1.0])
    assert task.decode((4.0 * said - 2)[0]) == ["a", "b"]


def test_a_labeller_that_says_nothing_uses_one_class():
    task = made("multilabel", (5,))
    silent, busy = np.full((8, 5), -9.0), 9.0 * (2 * np.eye(5)[np.arange(8) % 5] - 1)
    effective = [np.exp(-(p * np.log(p + 1e-12)).sum()) for p in map(task.used, (silent, busy))]
    assert effective[0] < 1.1 and effective[1] > 4.5


def row(x, y, w, h, *logits):
    return [x, y, w, h, *logits]


def test_boxes_are_suppressed_by_class_and_matched_once():
    out = np.array(
        [
            row(10, 10, 8, 8, 3, -9),
            row(11, 10, 8, 8, 2, -9),  # the same object, less sure
            row(11, 10, 8, 8, -9, 2),  # another class: stays
            row(30, 30, 4, 4, 1, -9),  # nothing there
            row(50, 50, 4, 4, -1, -9),  # no answer
        ]
    )
    boxes, classes, score = found(out)
    assert classes.tolist() == [0, 1, 0] and (np.diff(score) <= 0).all()
    assert boxes[0].tolist() == [6, 6, 14, 14]
    truth = np.array([[[6, 6, 14, 14, 0], [7, 6, 15, 14, 0], [-1, -1, -1, -1, -1]]], float)
    task = made("detect", (5, 6), ("cat", "dog"))
    assert np.isclose(task.error(out[None], truth)[0], 1 - 2 * 1 / (3 + 2))
    assert task.details(out[None], truth) == {"precision": 1 / 3, "recall": 1 / 2}
    assert [each["class"] for each in task.decode(out)] == ["cat", "dog", "cat"]
    assert task.error(np.full((1, 5, 6), -9.0), np.full((1, 1, 5), -1.0)).tolist() == [0.0]


def test_overlap_of_apart_and_empty_boxes_is_zero():
    a = np.array([[0.0, 0, 1, 1], [5, 5, 5, 5]])
    assert overlap(a, np.array([[2.0, 2, 3, 3], [5, 5, 5, 5]])).tolist() == [[0, 0], [0, 0]]


def test_a_residual_is_normalised_by_the_spread_of_the_source():
    task = made("regress", (2,), ("x", "y"), {"spread": np.array([1.0, 10.0])})
    frozen, adapted = np.zeros((3, 2)), np.array([[0.5, 0.0], [0.0, 5.0], [3.0, 0.0]])
    assert np.allclose(task.agreement(frozen, adapted), [0.5, 0.5, 0.0])
    assert task.decode(np.array([1.0, 2.0])) == {"x": 1.0, "y": 2.0}


def test_an_embedding_is_answered_by_the_nearest_of_the_gallery():
    known = {"gallery": np.eye(3), "gallery_labels": np.array([0, 1, 1])}
    task = made("embed", (3,), ("cat", "dog"), known)
    asked = np.array([[2.0, 0.1, 0.0], [0.0, 0.2, 0.3], [0.0, 1.0, 0.0]])
    assert task.error(asked, np.array([0, 1, 0])).tolist() == [0.0, 0.0, 1.0]
    assert task.decode(asked[2]) == {"nearest": "dog", "cosine": 1.0}


def test_what_does_not_fit_is_named():
    from tta.adapters.dice import Dice
    from tta.adapters.eata import Eata
    from tta.adapters.tent import Tent

    assert tasks.refusal("adapter 'tent'", Tent, "segment") == ""
    said = tasks.refusal("adapter 'tent'", Tent, "regress")
    assert said == "adapter 'tent' takes class scores, which a model for regress does not give"
    assert "one class a frame" in tasks.refusal("adapter 'eata'", Eata, "segment")
    assert "a class at each position" in tasks.refusal("adapter 'dice'", Dice, "classify")


def test_large_maps_are_looked_at_on_an_even_grid(rng):
    """Per frame a stream takes entropy and confidence, which must not cost more than the model."""
    task = made("segment", (3, 512, 384))
    outputs = rng.normal(size=(2, 3, 512, 384)).astype(np.float32)
    log_p = task.log_p(outputs)
    assert len(log_p) < 2 * 6000
    assert np.allclose(task.entropies(outputs), task.entropies(outputs[:, :, ::-1]), rtol=0.05)
    assert np.allclose(task.agreement(outputs, outputs), 1)

"""What each rule refuses, and what it lets through."""

import numpy as np
import pytest

from tta.quarantine.blank import Blank
from tta.quarantine.burst import LEAST, LONGEST, Burst
from tta.quarantine.one_class import LONGEST as MANY
from tta.quarantine.one_class import OneClass
from tta.quarantine.repeated import MEMORY, Repeated
from tta.quarantine.saturated import Saturated
from tta.quarantine.settling import Settling
from tta.records import UNANSWERED, Frame, Prediction


def frame(data=None, t_s=0.0, **meta):
    return Frame(np.zeros(1) if data is None else data, t_s, 0, meta=meta)


def said(label, k=3):
    p = np.eye(k)[label]
    return Prediction({}, p, 0.0, 0.0, "")


def noise(n, seed=0, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return (shift + scale * rng.normal(size=(n, 3, 16, 16))).astype(np.float32)


def asked(rule, inputs):
    return [bool(rule.refuses(frame(), x, UNANSWERED)) for x in inputs]


def test_frames_of_a_frozen_driver_repeat_also_in_turn():
    a, b, c = noise(3)
    assert asked(Repeated(), [a, a, b, a, b, c]) == [False, True, False, True, True, False]
    rule = Repeated()
    asked(rule, [a, *noise(MEMORY, seed=1)])
    assert asked(rule, [a]) == [False]  # so long ago that it may be a coincidence of a still world


def test_a_blank_input_and_a_stuck_channel():
    x = noise(1)[0]
    stuck = x.copy()
    stuck[1] = 0.5
    assert Blank().refuses(frame(), x, UNANSWERED) == ""
    assert Blank().refuses(frame(), stuck, UNANSWERED) == "channel 1 of the input is stuck"
    assert "blank" in Blank().refuses(frame(), np.full((3, 4, 4), 2.0), UNANSWERED)
    assert Blank().refuses(frame(), np.array([1.0]), UNANSWERED) == ""


@pytest.mark.parametrize(
    ("bright", "dark", "word"),
    [
        (0.95, 0.0, "95% of the frame is saturated"),
        (0.85, 0.0, ""),
        (0.0, 0.99, "black"),
        (0, 0.9, ""),
    ],
)
def test_nearly_all_at_the_end_of_the_range(bright, dark, word):
    data = np.full(10_000, 100, np.uint8)
    data[: int(bright * len(data))] = 255
    data[: int(dark * len(data))] = 0
    found = Saturated().refuses(
        frame(np.random.default_rng(0).permutation(data)), noise(1)[0], UNANSWERED
    )
    assert word in found and bool(found) == bool(word)
    assert Saturated().refuses(frame(np.ones((8, 8))), noise(1)[0], UNANSWERED) == ""


def test_two_seconds_after_a_change_of_the_camera():
    rule = Settling()
    times = np.arange(0, 6, 0.5)
    found = [
        rule.refuses(
            frame(t_s=t, exposure_s=0.01 if t < 2 else 0.02, gain=1.0), noise(1)[0], UNANSWERED
        )
        for t in times
    ]
    assert [bool(f) for f in found] == [2 <= t < 4 for t in times]
    assert found[4] == "the camera's exposure has just changed"
    assert not any(rule.refuses(frame(t_s=7.0), x, UNANSWERED) for x in noise(2))  # it says nothing


def test_flicker_of_automatic_exposure_and_a_clock_set_back_are_no_change():
    rule = Settling()
    for k in range(20):
        assert not rule.refuses(
            frame(t_s=k / 2, gain=1.0 + 0.05 * (k % 2)), noise(1)[0], UNANSWERED
        )
    assert rule.refuses(frame(t_s=1000.0, gain=2.0), noise(1)[0], UNANSWERED)
    assert not rule.refuses(frame(t_s=5.0, gain=2.0), noise(1)[0], UNANSWERED)


def test_a_burst_is_refused_and_another_world_is_not():
    rule = Burst()
    assert not any(asked(rule, noise(LEAST + 20)))
    assert all(asked(rule, noise(3, seed=1, shift=30.0)))
    assert not any(asked(rule, noise(20, seed=2)))
    found = asked(rule, noise(40, seed=3, scale=9.0))
    assert found == [True] * LONGEST + [False] * (40 - LONGEST)


def test_nothing_is_far_before_something_is_usual():
    assert not any(asked(Burst(), [*noise(LEAST - 2), *noise(1, seed=1, shift=99.0)]))


def test_one_answer_for_very_long():
    rule = OneClass()
    found = [bool(rule.refuses(frame(), noise(1)[0], said(1))) for _ in range(MANY + 5)]
    assert found == [False] * MANY + [True] * 5
    assert not rule.refuses(frame(), noise(1)[0], said(2))
    assert not rule.refuses(frame(), noise(1)[0], said(1))
    none = Prediction({}, np.zeros(0), np.nan, 0.0, "")
    assert not any(OneClass().refuses(frame(), noise(1)[0], none) for _ in range(3))

"""What a stream remembers of worlds it has been in."""

import numpy as np
import pytest

from tta.recall import CAPACITY, TRIES, Recall
from tta.records import Moments, State

NEAR = 0.1


def signature(shift):
    return {"mean.a": np.full(4, shift, np.float32), "var.a": np.ones(4, np.float32)}


def view(shift):
    return {"a": Moments(np.full(4, shift), np.ones(4), 64.0)}


def state(k):
    return State("b", "bn_stats", {"x": np.float32([k])})


@pytest.fixture
def recall():
    made = Recall()
    for k in range(3):
        made.keep(signature(float(k)), state(k), NEAR)
    return made


def test_the_nearest_world_is_found_once_a_visit(recall):
    assert recall.find(view(1.0), NEAR) is None  # nobody said that the stream moved
    recall.begin()
    assert recall.find(view(1.1), NEAR).slots["x"] == 1
    assert recall.find(view(1.1), NEAR) is None


def test_a_new_world_is_none_that_it_knows_and_is_looked_for_a_few_rounds(recall):
    recall.begin()
    assert [recall.find(view(9.0), NEAR) for _ in range(TRIES)] == [None] * TRIES
    assert recall.find(view(1.0), NEAR) is None


def test_a_world_that_is_left_again_takes_its_own_place(recall):
    recall.keep(signature(1.05), state(7), NEAR)
    assert len(recall.worlds) == 3
    recall.begin()
    assert recall.find(view(1.0), NEAR).slots["x"] == 7


def test_it_does_not_grow(recall):
    for k in range(100):
        recall.keep(signature(10.0 + k), state(k), NEAR)
    assert len(recall.worlds) == CAPACITY

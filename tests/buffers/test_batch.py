"""The default buffer: a batch, then nothing."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.buffers.batch import Batch
from tta.records import UNANSWERED


def add(buffer, images):
    """The buffer after these, and what it dropped."""
    dropped = 0
    for frame in frames(images):
        buffer, lost = buffer.add(frame, frame.data, UNANSWERED)
        dropped += lost
    return buffer, dropped


def filled(size, count):
    return add(Batch(size), np.arange(count, dtype=np.float32)[:, None])[0]


def test_frames_and_inputs_come_out_in_order_and_once():
    buffer = filled(3, 3)
    assert buffer.due and len(buffer) == 3
    taken, after = buffer.take()
    assert [frame.seq for frame in taken.frames] == [0, 1, 2]
    assert taken.inputs.tolist() == [[0], [1], [2]]
    assert taken.weight is None and taken.fresh is None
    assert len(after) == 0 and not after.due


def test_what_is_there_is_never_padded():
    buffer = filled(4, 3)
    assert not buffer.due
    assert buffer.take()[0].inputs.shape == (3, 1) and len(buffer) == 3


def test_a_batch_once_taken_does_not_change():
    taken, buffer = filled(2, 2).take()
    add(buffer, np.full((2, 1), 9, np.float32))
    assert taken.inputs.tolist() == [[0], [1]]


def test_a_full_batch_that_nobody_takes_stays_the_newest():
    buffer, dropped = add(Batch(3), np.arange(5, dtype=np.float32)[:, None])
    assert dropped == 2 and buffer.take()[0].inputs.tolist() == [[2], [3], [4]]


@pytest.mark.parametrize(
    ("size", "halves"), [(1, []), (8, []), (15, []), (16, [8]), (17, []), (32, [16])]
)
def test_half_is_once_and_only_where_it_says_something(size, halves):
    looked = [n for n in range(size + 1) if filled(size, n).look() is not None]
    assert looked == halves
    for n in halves:
        assert filled(size, n).look().ravel().tolist() == list(range(n))

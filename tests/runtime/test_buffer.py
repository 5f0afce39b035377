"""The buffer before an adaptation step."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.runtime.buffer import FrameBuffer


def filled(size, count):
    buffer = FrameBuffer(size)
    for frame in frames(np.arange(count, dtype=np.float32)[:, None]):
        buffer.add(frame, frame.data)
    return buffer


def test_frames_and_inputs_come_out_in_order_and_once():
    buffer = filled(3, 3)
    assert buffer.full and len(buffer) == 3
    taken, batch = buffer.take()
    assert [frame.seq for frame in taken] == [0, 1, 2]
    assert batch.tolist() == [[0], [1], [2]]
    assert len(buffer) == 0 and not buffer.full


def test_what_is_there_is_never_padded():
    buffer = filled(4, 3)
    assert not buffer.full
    assert buffer.look().shape == (3, 1) and len(buffer) == 3
    assert buffer.take()[1].shape == (3, 1)


def test_a_batch_once_taken_does_not_change():
    buffer = filled(2, 2)
    _, batch = buffer.take()
    for frame in frames(np.full((2, 1), 9, np.float32)):
        buffer.add(frame, frame.data)
    assert batch.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("size", "halves"), [(1, []), (8, []), (15, []), (16, [8]), (17, []), (32, [16])]
)
def test_half_is_once_and_only_where_it_says_something(size, halves):
    assert [n for n in range(size + 1) if filled(size, n).half] == halves

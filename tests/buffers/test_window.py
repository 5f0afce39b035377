"""The sliding window against the rule written down: which frames are in which round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta.buffers.batch import Batch
from tta.buffers.window import Window
from tta.records import UNANSWERED, Frame


def rounds(buffer, n, late=()):
    """Number of the frame after which each round came, the frames in it, the fresh ones; and drops."""
    found, lost = [], 0
    for k in range(n):
        x = np.float32([k])
        buffer, dropped = buffer.add(Frame(x, 0.0, k), x, UNANSWERED)
        lost += dropped
        if buffer.due and k not in late:
            chosen, buffer = buffer.take()
            numbers = chosen.inputs[:, 0].astype(int).tolist()
            fresh = chosen.fresh is None or chosen.fresh
            found.append(
                (k, numbers, [m for m in numbers if fresh is True or fresh[numbers.index(m)]])
            )
    return found, lost


@given(size=st.integers(1, 20), stride=st.integers(1, 40), n=st.integers(0, 120))
def test_a_round_each_stride_on_the_newest(size, stride, n):
    found, lost = rounds(Window(size, stride), n)
    ends = list(range(size - 1, n, stride))
    assert [k for k, _, _ in found] == ends and lost == 0
    before = -1
    for k, numbers, fresh in found:
        assert numbers == list(range(k - size + 1, k + 1))
        assert fresh == [m for m in numbers if m > before]
        before = k


@given(size=st.integers(1, 20), n=st.integers(0, 80), late=st.sets(st.integers(0, 79)))
def test_a_stride_of_its_size_is_a_batch(size, n, late):
    def plain(found):
        return [(k, numbers) for k, numbers, _ in found[0]], found[1]

    assert plain(rounds(Window(size), n, late)) == plain(rounds(Batch(size), n, late))


@pytest.mark.parametrize(("size", "stride"), [(16, 0), (32, 16), (8, 16)])
def test_half_way_it_can_be_looked_at(size, stride):
    buffer, looks, last = Window(size, stride), 0, None
    step = stride or size
    for k in range(96):
        x = np.float32([k])
        buffer, _ = buffer.add(Frame(x, 0.0, k), x, UNANSWERED)
        if last is not None:
            half = k - last == step // 2
            seen = buffer.look()
            assert (seen is not None) == half
            if half:
                looks += 1
                assert seen[:, 0].tolist() == list(range(last + 1, k + 1))
        if buffer.due:
            last, (_, buffer) = k, buffer.take()
    assert looks >= 4


def test_after_a_jump_rounds_begin_before_the_window_is_full():
    def sizes(buffer, n):
        found = []
        for k in range(n):
            x = np.float32([k])
            buffer, _ = buffer.add(Frame(x, 0.0, k), x, UNANSWERED)
            if buffer.due:
                chosen, buffer = buffer.take()
                found.append((k, len(chosen.inputs)))
        return found, buffer

    found, buffer = sizes(Window(64, 16), 70)  # a round at 63, and 6 frames that none had
    assert found == [(63, 64)]
    found, buffer = sizes(buffer.moved().hurried(8), 80)
    assert [n for _, n in found] == [16, 32, 48, 64, 64]
    assert found[0][0] == 9  # as soon as there are 16
    assert sizes(buffer.renewed(), 80)[0][0][1] == 64  # full again, so as before

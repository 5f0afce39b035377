"""The reliable-and-diverse filter against its two conditions."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_buffers import answer
from tta.buffers.reliable import Reliable
from tta.records import Frame


def put(buffer, k, said):
    x = np.float32([k])
    return buffer.add(Frame(x, 0.0, k), x, said)


@settings(max_examples=60, deadline=None)
@given(
    margin=st.sampled_from([0.2, 0.4, 1.0]),
    d=st.sampled_from([None, 0.5, 0.9]),
    steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0.26, 0.999)), max_size=80),
)
def test_it_keeps_what_is_sure_and_not_yet_there(margin, d, steps):
    buffer, kept, probabilities = Reliable(6, margin, d), [], []
    for k, (label, sureness) in enumerate(steps):
        said = answer(label, sureness)
        buffer, dropped = put(buffer, k, said)
        p = said.probabilities.astype(float)
        sure = -(p * np.log(p)).sum() < margin * math.log(4)
        mean = np.mean(probabilities, 0) if probabilities else None
        limit = 1.3 / 2 if d is None else d
        like = 0.0 if mean is None else p @ mean / (np.linalg.norm(p) * np.linalg.norm(mean))
        close = abs(like - limit) < 1e-6  # rounding may decide
        if close:
            return
        wanted = sure and like < limit
        assert dropped == (wanted and len(kept) == 6)
        if wanted and len(kept) < 6:
            kept.append(k)
            probabilities.append(p)
        assert len(buffer) == len(kept) and buffer.due == (len(kept) == 6)
    if kept:
        assert buffer.take()[0].inputs[:, 0].astype(int).tolist() == kept


def test_one_class_alone_never_makes_a_round():
    buffer = Reliable(4)
    for k in range(200):
        buffer, _ = put(buffer, k, answer(1, 0.99))
    assert len(buffer) == 1 and not buffer.due


def test_starving_it_still_looks_at_the_newest():
    buffer, looks = Reliable(16), []
    for k in range(64):
        buffer, _ = put(buffer, k, answer(1, 0.99))
        if (seen := buffer.look()) is not None:
            looks.append((k, seen[:, 0].tolist()))
    assert [k for k, _ in looks] == [7, 23, 39, 55]
    assert all(seen == list(range(k - 7, k + 1)) for k, seen in looks)

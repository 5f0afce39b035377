"""The reservoir against the published rule, written as the paper's algorithm reads."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_buffers import answer
from tta.buffers.reservoir import Reservoir
from tta.records import Frame


class Bank:
    """Category-balanced sampling with a list of [number, class, uncertainty, age], step by step."""

    def __init__(self, capacity, classes, timely, uncertain):
        self.n, self.classes, self.timely, self.uncertain = capacity, classes, timely, uncertain
        self.items = []

    def heuristic(self, item):
        _, _, uncertainty, age = item
        return self.timely / (
            1 + math.exp(-age / self.n)
        ) + self.uncertain * uncertainty / math.log(self.classes)

    def add(self, number, p):
        label, uncertainty = int(np.argmax(p)), -sum(q * math.log(q) for q in p if q > 0)
        new = [number, label, uncertainty, 0]
        occupied = [sum(i[1] == c for i in self.items) for c in range(self.classes)]
        if occupied[label] < self.n / self.classes:
            if len(self.items) < self.n:
                domain = None
            else:
                domain = [c for c in range(self.classes) if occupied[c] == max(occupied)]
        else:
            domain = [label]
        if domain is None:
            self.items.append(new)
        else:
            among = [i for i in self.items if i[1] in domain]
            worst = max(among, key=self.heuristic)
            if self.heuristic(new) < self.heuristic(worst):
                self.items.remove(worst)
                self.items.append(new)
        for item in self.items:
            item[3] += 1

    def weights(self):
        return [2 * math.exp(-i[3] / self.n) / (1 + math.exp(-i[3] / self.n)) for i in self.items]


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 24),
    timely=st.sampled_from([0.0, 1.0, 2.5]),
    uncertain=st.sampled_from([0.0, 1.0]),
    steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0.26, 0.999)), min_size=1, max_size=120),
)
def test_it_keeps_what_the_published_rule_keeps(capacity, timely, uncertain, steps):
    buffer = Reservoir(capacity, least=1, timeliness=timely, uncertainty=uncertain)
    bank = Bank(capacity, 4, timely, uncertain)
    for k, (label, sureness) in enumerate(steps):
        said, x = answer(label, sureness), np.float32([k])
        buffer, dropped = buffer.add(Frame(x, 0.0, k), x, said)
        bank.add(k, said.probabilities.astype(float))
        chosen, _ = buffer.take()
        assert dropped == 0
        assert chosen.inputs[:, 0].astype(int).tolist() == [i[0] for i in bank.items]
        assert np.allclose(chosen.weight, bank.weights(), rtol=1e-5)


def feed(buffer, labels, sureness=0.9, start=0):
    for k, label in enumerate(labels, start):
        x = np.float32([label])
        buffer, _ = buffer.add(Frame(x, 0.0, k), x, answer(label, sureness))
    return buffer


def test_a_stream_of_one_class_after_another_ends_balanced():
    buffer = feed(Reservoir(40), np.repeat(range(4), 100))
    counts = np.bincount(buffer.take()[0].inputs[:, 0].astype(int), minlength=4)
    assert counts.tolist() == [10, 10, 10, 10]


def test_rounds_come_each_period_once_enough_is_kept():
    buffer, due = Reservoir(40, period=8, least=20), []
    for k in range(80):
        buffer = feed(buffer, [k // 20], start=k)
        if buffer.due:
            due.append(k)
            _, buffer = buffer.take()
    # ten of the first class and ten of the second are there after 30 frames
    assert due == [29, 37, 45, 53, 61, 69, 77]


@pytest.mark.parametrize(("weigh", "none"), [(True, False), (False, True)])
def test_weights_can_be_left_out(weigh, none):
    chosen, _ = feed(Reservoir(8, weigh=weigh), [0, 1, 2, 3]).take()
    assert (chosen.weight is None) is none

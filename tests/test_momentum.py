"""The share of a batch: by batch, by frame, by second, against the closed forms."""

import math

import numpy as np
import pytest

from tta.errors import TtaError
from tta.momentum import LEAST, Momentum
from tta.records import Span


def shares(rule, spans, anchored=True):
    memory, found = {}, []
    for span in spans:
        share, more = rule.weigh(memory, span, anchored)
        memory = {**memory, **more}
        found.append(share)
    return found


def left(found):
    """What is left of the beginning after batches of these shares."""
    return math.prod(1 - w for w in found)


def test_by_batch_it_is_a_mean_first():
    found = shares(Momentum(0.25), [Span(3)] * 6, anchored=False)
    assert found == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 4, 1 / 4]


def test_by_frame_the_chopping_does_not_matter():
    rule = Momentum(0.1, ghost=64)
    for chops in ([256], [64] * 4, [1] * 256, [7] * 36 + [4]):
        found = shares(rule, [Span(n) for n in chops])
        assert abs(left(found) - 0.9**4) < 1e-12
    assert shares(rule, [Span(1)])[0] == pytest.approx(1 - 0.9 ** (1 / 64), rel=1e-12)


def test_by_time_neither_rate_nor_batch_matters():
    for fps, n in ((5, 16), (15, 1), (15, 240), (30, 16)):
        spans = [Span(n, n / fps, float(n))] * (16 * fps // n)
        assert abs(left(shares(Momentum(tau_s=10.0), spans)) - math.exp(-1.6)) < 1e-12


def test_by_time_an_average_that_begins_with_the_first_batch_is_one_over_all_time():
    """Weights e^(-age/τ) over all rounds, normalised."""
    spans = [Span(8, dt, 8.0) for dt in (1.0, 1.0, 1.0, 1.0)]
    found = shares(Momentum(tau_s=4.0), spans, anchored=False)
    weights = [w * left(found[k + 1 :]) for k, w in enumerate(found)]
    want = np.exp(-np.arange(3, -1, -1) / 4.0)
    assert found[0] == 1 and np.allclose(weights, want / want.sum(), rtol=1e-12)


def test_ten_identical_frames_count_as_one():
    rule = Momentum(tau_s=10.0)
    rich = [Span(10, 1.0, 10.0)] * 40
    ten = shares(rule, [*rich, Span(10, 1.0, 1.0)])[-1]
    one = shares(rule, [*rich, Span(1, 1.0, 1.0)])[-1]
    plain = -math.expm1(-0.1)
    assert ten == one < 0.15 * plain
    assert shares(rule, [*rich, Span(10, 1.0, 10.0)])[-1] == pytest.approx(plain)


def test_after_a_pause_a_few_frames_do_not_replace_everything():
    rule = Momentum(tau_s=10.0)
    found = shares(rule, [*[Span(10, 1.0, 10.0)] * 40, Span(10, 3600.0, 1.0)])
    assert found[-1] == pytest.approx(1 / (LEAST + 1))


@pytest.mark.parametrize("anchored", [True, False])
def test_a_clock_that_stands_still_or_jumps_back_breaks_nothing(anchored):
    spans = [Span(4, dt, 2.0) for dt in (0.0, -5.0, 1.0, 0.0, -1e9, 1.0)]
    found = shares(Momentum(tau_s=10.0), spans, anchored)
    assert all(0 <= w <= 1 for w in found)
    if anchored:
        assert left(found) == pytest.approx(math.exp(-0.2))  # two seconds went by


def test_pieces_are_short_beside_the_time_constant():
    rule = Momentum(tau_s=16.0)
    cuts = [rule.cuts(Span(10, s)) for s in (-1.0, 0.0, 0.5, 1.0, 2.5, 99.0)]
    assert cuts == [[], [], [], [], [3, 6], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert rule.cuts(Span(10)) == Momentum(0.1).cuts(Span(10, 99.0)) == []


def test_pieces_end_where_ghosts_do():
    rule = Momentum(0.1, ghost=4)
    assert rule.cuts(Span(10)) == [4, 8] and rule.cuts(Span(10), waiting=3) == [1, 5, 9]
    assert rule.cuts(Span(4)) == rule.cuts(Span(1), waiting=3) == []


@pytest.mark.parametrize(
    "options",
    [{"share": 0}, {"ghost": -1}, {"tau_s": 0.0}, {"tau_s": math.inf}, {"ghost": 2, "tau_s": 1.0}],
)
def test_bad_options(options):
    with pytest.raises(TtaError):
        Momentum(**options)


def test_seconds_need_a_stream():
    with pytest.raises(TtaError, match="stream time"):
        Momentum(tau_s=1.0).weigh({}, Span(4), True)

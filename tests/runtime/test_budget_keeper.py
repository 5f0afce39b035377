"""Adaptation yields before frames are lost, and comes back: heat, losses, memory, time."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.records import Frame
from tta.runtime.budget_keeper import CALM_S, BudgetKeeper
from tta.runtime.loop import advance
from tta.runtime.outcome import Counts
from tta.runtime.stream import Stream

HZ = 30


class Board:
    """A clock, and what a look at the board says."""

    def __init__(self):
        self.now_s, self.hot_c, self.mib = 0.0, 50.0, 100.0

    def keeper(self, share=0.1, **more):
        made = BudgetKeeper(
            share, lambda: self.hot_c, 80.0, lambda: self.mib, 500.0, lambda: self.now_s, **more
        )
        made._streams = [Kept()]
        made._troubled_s = -CALM_S
        return made


class Kept:
    """A stream whose rounds take 50 ms and are always due."""

    def __init__(self):
        self.counts, self.rests, self.rounds = Counts(live=True), False, []


def spent(board, keeper, seconds, lose=0):
    """Let frames go by; every frame is a round, unless the stream must rest."""
    (stream,) = keeper._streams
    rounds = 0
    for k in range(round(seconds * HZ)):
        board.now_s += 1 / HZ
        stream.counts.frames += 1
        stream.counts.missed += lose * (k % HZ == 0)
        keeper.beat()
        if not stream.rests:
            stream.counts.adapt_s += 0.05
            rounds += 1
    return rounds * 0.05 / seconds


def test_rounds_take_the_budgets_share_and_no_more():
    board = Board()
    keeper = board.keeper(0.1)
    share = spent(board, keeper, 60)
    assert share == pytest.approx(0.1, rel=0.05) and keeper.level == 1 and not keeper.lowered


def test_a_budget_without_limit_holds_nothing_back():
    board = Board()
    keeper = board.keeper(1.0)
    stream = keeper._streams[0]
    for _ in range(200):
        board.now_s += 1 / HZ
        keeper.beat()
        assert not stream.rests
        stream.counts.adapt_s += 0.01


@pytest.mark.parametrize("trouble", ["lost", "hot", "memory"])
def test_it_yields_to_trouble_and_recovers_within_thirty_seconds(trouble):
    board = Board()
    keeper = board.keeper(0.1)
    spent(board, keeper, 10)
    if trouble == "hot":
        board.hot_c = 76.0
    if trouble == "memory":
        board.mib = 600.0
    spent(board, keeper, 6, lose=3 * (trouble == "lost"))
    assert keeper.level == 0
    assert spent(board, keeper, 3, lose=3 * (trouble == "lost")) == 0  # nothing at all any more
    words = {"lost": "3 of 33 frames were lost", "hot": "has 76 °C", "memory": "600 MiB are in use"}
    assert words[trouble] in keeper.why
    board.hot_c, board.mib = 50.0, 100.0
    spent(board, keeper, 20)
    assert keeper.level == 1
    assert spent(board, keeper, 30) == pytest.approx(0.1, rel=0.1)


def test_a_single_lost_frame_is_no_trouble():
    board = Board()
    keeper = board.keeper(0.1)
    spent(board, keeper, 30, lose=1)
    assert keeper.level == 1 and not keeper.lowered


def test_a_degree_does_not_swing_it():
    board = Board()
    keeper = board.keeper()
    board.hot_c = 75.5
    spent(board, keeper, 6)
    board.hot_c = 73.0  # below where it began, above where it counts as cool
    spent(board, keeper, 20)
    assert keeper.level == 0
    board.hot_c = 71.0
    spent(board, keeper, 20)
    assert keeper.level == 1


def test_a_board_that_tells_nothing_is_held_to_its_budget_alone():
    board = Board()
    keeper = BudgetKeeper(0.1, clock=lambda: board.now_s)
    keeper._streams = [Kept()]
    assert spent(board, keeper, 60) == pytest.approx(0.1, rel=0.05)


def test_a_stream_that_rests_answers_and_begins_no_round(model, drifted):
    stream = Stream(model, "bn_stats", governor="always")
    stream.rests = True
    for frame in frames(drifted[:48]):
        (result,) = advance(stream, frame)
        assert result.prediction is not None
    assert stream.counts.commits == 0 and stream.counts.adapt_s == 0
    stream.rests = False
    for frame in frames(drifted[48:64]):
        list(advance(stream, frame))
    assert stream.counts.commits == 1 and stream.counts.adapt_s > 0


def test_only_live_streams_are_kept(model):
    for live in (False, True):
        stream = Stream(model, "bn_stats")
        stream.counts.live = live
        board = Board()
        keeper = board.keeper(0.1)
        with keeper.beside([stream], None):
            stream.counts.adapt_s += 5.0
            board.now_s += 1
            from tta.runtime.pulse import beat

            beat()
            assert stream.rests is live
        assert not stream.rests


def test_frames_that_never_came_are_counted():
    counts = Counts()
    for source, seq in (("a", 5), ("a", 6), ("a", 9), ("b", 100), ("b", 101)):
        counts.came(Frame(np.zeros(1), 0.0, seq, source))
    assert counts.frames == 5 and counts.missed == 2

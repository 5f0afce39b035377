"""When rounds run: at once, at a duty, or beside the loop; and what happens to those that come too late."""

import threading

import numpy as np
import pytest

from tests.runtime.conftest import Images, Kept, Method, frames, with_slot
from tta.errors import TtaError
from tta.runtime.loop import advance, run
from tta.runtime.outcome import Outcome
from tta.runtime.regime import Duty, Inline, regime
from tta.runtime.stream import Model, Stream
from tta.runtime.worker import Worker

B = 16


def nudge(state):
    """The next state: the head's bias a little higher."""
    name = next(n for n in state.slots if n == "head.bias")
    return state.child({name: state.slots[name] + np.float32(0.01)})


class Gated(Method):
    """A method whose step waits until it is let go; ``entered`` says that it waits."""

    def __init__(self, change=nudge):
        super().__init__(change)
        self.entered, self.go = threading.Event(), threading.Event()

    def adapt(self, state, batch, run):
        self.entered.set()
        assert self.go.wait(30)
        return super().adapt(state, batch, run)


def feed(stream, images, when):
    return [r for frame in frames(images) for r in advance(stream, frame, "stream", when)]


@pytest.fixture
def worker():
    made, streams = Worker(), []
    yield made, streams
    for stream in streams:
        getattr(stream.method, "go", threading.Event()).set()
    made.finish(streams)


# Beside the loop


def test_frames_are_answered_while_a_round_is_under_way(model, drifted, worker):
    when, streams = worker
    stream = Stream(model, Gated(), governor="always")
    streams.append(stream)
    told = feed(stream, drifted[:B], when)
    assert stream.method.entered.wait(30)
    told += feed(stream, drifted[B : 3 * B + 5], when)
    assert len(told) == 3 * B + 5 and all(r.report.decision is None for r in told)
    assert {r.prediction.state for r in told} == {model.source_hash}
    assert len(stream.waiting) == B and stream.counts.dropped == B + 5  # the newest batch waits
    kept = stream.take().frames
    assert [f.seq for f in kept] == list(range(B + 5, 2 * B + 5))


def test_a_commit_is_swapped_in_between_two_frames(model, drifted, worker):
    when, streams = worker
    stream = Stream(model, Gated(), governor="always")
    streams.append(stream)
    feed(stream, drifted[:B], when)
    stream.method.go.set()
    when._rounds[id(stream)].result(30)
    assert stream.current is stream.origin  # done, but not yet in force
    first, second = feed(stream, drifted[:2], when)
    assert first.report.decision.action == "commit" and first.prediction.state == model.source_hash
    assert second.prediction.state == stream.serving != model.source_hash
    assert stream.counts.commits == 1


def test_a_proposal_from_a_state_no_longer_in_force_is_dropped(model, drifted, inputs, worker):
    when, streams = worker
    stream = Stream(model, Gated(), governor="always")
    streams.append(stream)
    feed(stream, drifted[:B], when)
    assert stream.method.entered.wait(30)
    other = nudge(nudge(stream.origin))
    stream.restore(other)
    stream.method.go.set()
    when._rounds[id(stream)].result(30)
    (result,) = feed(stream, drifted[:1], when)
    assert result.report.decision.action == "reject"
    assert "no longer in force" in result.report.decision.reason
    assert stream.current is other and stream.counts.stale == 1 and stream.counts.commits == 0


def test_an_error_in_a_round_is_told_and_the_stream_lives_on(model, drifted, worker):
    def change(state):
        raise RuntimeError("out of luck")

    when, streams = worker
    stream = Stream(model, Method(change), governor="always", quarantine="none")
    streams.append(stream)
    feed(stream, drifted[:B], when)
    when._rounds[id(stream)].exception(30)
    (result,) = feed(stream, drifted[:1], when)
    assert result.prediction is not None
    assert result.report.decision.action == "rollback"
    assert "RuntimeError: out of luck" in result.report.decision.reason
    assert stream.counts.failures == 1 and stream.current is stream.origin
    stream.method.change = nudge
    feed(stream, drifted[: B - 1], when)
    when._rounds[id(stream)].result(30)
    feed(stream, drifted[:1], when)
    assert stream.counts.commits == 1


def test_the_end_settles_what_is_under_way_and_ends_the_threads(bundle, drifted):
    before = threading.active_count()
    [stream] = run(bundle, Images(drifted[:B], live=True), "bn_stats", governor="always")
    assert stream.counts.commits == 1 and stream.current.step == 1
    assert threading.active_count() == before


def test_a_live_round_is_the_inline_round(bundle, drifted):
    """The thread changes when, not what."""
    [beside] = run(bundle, Images(drifted[:B], live=True), "nhl", Kept(), governor="always")
    [inline] = run(bundle, Images(drifted[:B]), "nhl", Kept(), governor="always")
    assert beside.current.hash == inline.current.hash != inline.origin.hash


def test_streams_share_the_worker_and_not_their_states(bundle, clean, drifted):
    live = [Images(drifted[:B], live=True), Images(255 - clean[:B], live=True)]
    first, second = run(bundle, live, "bn_stats", governor="always")
    assert first.counts.commits == second.counts.commits == 1
    assert first.current.hash != second.current.hash


def test_sessions_with_threads_are_built_at_normal_priority(bundle, drifted, inputs):
    """Else the threads of the served session would inherit the worker's priority."""
    model, built = Model(bundle, threads=2), []
    make = model._build

    def build(slots):
        built.append(threading.current_thread().name)
        return make(slots)

    model._build = build
    stream, when = Stream(model, Method(nudge), governor="always"), Worker()
    built.clear()
    when.prepare([stream])
    feed(stream, drifted[:B], when)
    when.finish([stream])
    assert stream.counts.commits == 1 and [n.rpartition("_")[0] for n in built] == ["tta-build"]


# Inline


def test_which_regime():
    assert type(regime("auto")) is Inline
    assert type(regime("auto", live=True, budget=0.2)) is Duty
    assert regime("inline", duty=0.3).share == 0.3
    for made in (regime("auto", live=True), regime("worker")):
        assert type(made) is Worker
        made.finish([])
    with pytest.raises(TtaError, match="auto, inline or worker, but is 'beside'"):
        regime("beside")
    with pytest.raises(TtaError, match="a duty holds for inline adaptation"):
        regime("worker", duty=0.1)
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(TtaError, match="a duty is a share of the time above 0"):
            Duty(share)


class Clock:
    """Time that passes when told to: so much a frame, so much a round."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Costly(Method):
    """A method whose steps take time of a clock."""

    def __init__(self, clock, costs_s):
        super().__init__(nudge)
        self.clock, self.costs_s = clock, costs_s

    def adapt(self, state, batch, run):
        self.clock.now += self.costs_s[0] if len(self.costs_s) == 1 else self.costs_s.pop(0)
        return super().adapt(state, batch, run)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_duty_is_kept_at_every_moment(model, drifted, share):
    clock = Clock()
    stream = Stream(model, Costly(clock, [0.5]), batch=2, governor="always")
    when = Duty(share, clock)
    when.prepare([stream])
    start, n = clock.now, 0
    for frame in frames(np.tile(drifted[:100], (3, 1, 1))):
        clock.now += 1 / 30
        list(advance(stream, frame, "stream", when))
        n += 1
        assert when.spent_s <= share * (clock.now - start) + 0.5 + 1e-9
    spent = stream.counts.commits * 0.5
    assert spent == pytest.approx(when.spent_s)
    elapsed = clock.now - start
    assert spent / elapsed == pytest.approx(share, abs=0.5 / elapsed + share * 0.1)
    assert stream.counts.frames == n and stream.counts.dropped > 0


def test_a_step_that_takes_longer_than_expected_is_paid_for(model, drifted):
    clock = Clock()
    stream = Stream(model, Costly(clock, [0.1, 0.1, 2.0, 0.1]), batch=2, governor="always")
    when = Duty(0.1, clock)
    when.prepare([stream])
    start, at = clock.now, []
    for frame in frames(np.tile(drifted[:100], (12, 1, 1))):
        clock.now += 1 / 30
        (result,) = advance(stream, frame, "stream", when)
        if result.report.decision:
            at.append(clock.now - start)
    assert at[1] - at[0] > 15  # 2 s at a duty of 0.1 are earned in 20, the next 0.1 on top
    assert when.spent_s <= 0.1 * (clock.now - start) + 0.1


def test_a_duty_that_cannot_be_kept_is_refused_before_the_first_frame(model):
    clock = Clock()
    stream = Stream(model, Costly(clock, [9.0]), batch=2)
    with pytest.raises(
        TtaError, match=r"a duty of 0\.1 cannot be kept: .* every 90 s.* raise it to 0\.15"
    ):
        Duty(0.1, clock).prepare([stream])
    Duty(0.15, clock).prepare([stream])
    assert stream.current is stream.origin and stream.counts.commits == 0


def test_an_outcome_is_settled_once_its_state_is_in_force(model, inputs, drifted):
    """Compare-and-swap, without any thread."""
    stream = Stream(model, Method(nudge), governor="always")
    batch = inputs(drifted[:4])
    first, second = stream.consider(batch), stream.consider(batch)
    assert stream.current is stream.origin
    assert stream.settle(first).action == "commit" and stream.settle(second).action == "reject"
    assert stream.counts.commits == stream.counts.stale == 1
    assert stream.settle(Outcome(stream.current, "hold", "", {}, holds=True)).action == "hold"
    assert with_slot(stream.current, "head.bias", 0) is not stream.current


def test_a_swapped_session_is_taken_down_beside_the_loop(bundle, drifted):
    """Taking it down and trimming the heap take milliseconds, which no frame should wait."""
    import weakref

    stream, when = Stream(Model(bundle), Gated(), governor="always"), Worker()
    when.prepare([stream])
    feed(stream, drifted[:B], when)
    by = []
    weakref.finalize(stream.session, lambda: by.append(threading.current_thread().name))
    stream.method.go.set()
    when._rounds[id(stream)].result(30)
    feed(stream, drifted[:1], when)
    assert stream.counts.commits == 1
    when.finish([stream])
    assert [name.rpartition("_")[0] for name in by] == ["tta-build"]


def test_streams_take_turns_at_a_duty(model, drifted):
    """Both are due all the time, and time passes before the first's frame: it must not have all rounds."""
    clock = Clock()
    first, second = (
        Stream(model, Costly(clock, [0.5]), batch=2, governor="always") for _ in range(2)
    )
    when = Duty(0.2, clock)
    when.prepare([first, second])
    for frame in frames(np.tile(drifted[:100], (6, 1, 1))):
        clock.now += 1 / 30
        for stream in (first, second):
            list(advance(stream, frame, "stream", when))
    assert first.counts.commits >= 3 and abs(first.counts.commits - second.counts.commits) <= 1


def test_a_stream_that_has_ended_does_not_hold_up_the_other(model, drifted):
    clock = Clock()
    first, ended = (
        Stream(model, Costly(clock, [0.5]), batch=2, governor="always") for _ in range(2)
    )
    when = Duty(0.2, clock)
    when.prepare([first, ended])
    for frame in frames(np.tile(drifted[:100], (6, 1, 1))):
        clock.now += 1 / 30
        list(advance(first, frame, "stream", when))
    assert first.counts.commits >= 6


def test_no_duty_is_proposed_that_cannot_be_kept_either(model):
    clock = Clock()
    stream = Stream(model, Costly(clock, [90.0]), batch=2)
    with pytest.raises(TtaError, match=r"every 60 s is needed; take a smaller --batch"):
        Duty(0.5, clock).prepare([stream])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"duty": 0.1}, "--duty"),
        ({"adapt": "worker"}, "--adapt worker"),
        ({"every": 8}, "--every"),
        ({"commit_s": 5.0}, "--commit-s"),
    ],
)
def test_what_serving_by_batches_would_ignore_is_refused(bundle, drifted, options, named):
    with pytest.raises(TtaError, match=f"{named} does not go with --serve batch"):
        run(bundle, Images(drifted[:B]), "bn_stats", serve="batch", **options)


def test_statistics_pooled_under_another_state_are_forgotten(model, drifted):
    stream = Stream(model, "bn_stats", batch=64, every=1, governor="always")
    feed(stream, drifted[:4], Inline())
    assert stream.pool.frames == 4
    stream.restore(nudge(stream.origin))
    assert stream.pool.frames == 0

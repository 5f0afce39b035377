"""A stream's round: what is committed, what is not, and what is served afterwards."""

import dataclasses

import numpy as np
import pytest

from tests.runtime.conftest import SUITING, Method, frames, full_model, serves, with_slot
from tta import tasks
from tta.errors import BundleError, NotFoundError, StateError, TtaError
from tta.records import frozen
from tta.runtime.answer import answered
from tta.runtime.loop import advance
from tta.runtime.session import InferSession
from tta.runtime.stream import Model, Stream, prediction

ADAPTERS = [name for name in SUITING if name != "none"]
STILL = ("lame", "leantta")  # the state never moves
MOVING = [name for name in ADAPTERS if name not in STILL]
B = 16


@pytest.fixture
def model(model, request):
    """The demo's model, with more graphs where the test's adapter needs them."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    adapter = params.get("adapter", "none")
    return model if serves(model.bundle, adapter) else full_model()


@pytest.fixture
def drift(inputs, drifted):
    """The k-th batch of the drifted stream (B, 1, 28, 28)."""
    return lambda k=0: inputs(drifted[k * B : (k + 1) * B])


@pytest.fixture
def origin(inputs, clean):
    """The k-th batch of the stream as it was trained on."""
    return lambda k=0: inputs(clean[k * B : (k + 1) * B])


def served(stream, batch):
    return stream.session.run(batch)["logits"]


def graph(model, batch, slots):
    return model.adapting.run("batch", batch, slots, alpha=0.0).outputs["logits"]


def slot(state, role_suffix):
    return next(name for name in state.slots if name.endswith(role_suffix))


def head_bias(bundle):
    (found,) = bundle.manifest.named("head_bias")
    return found.name


def assert_is_source(stream, batch):
    assert stream.current is stream.origin and stream.session is stream.model.source
    assert stream.serving == stream.model.source_hash
    assert np.array_equal(served(stream, batch), stream.model.source.run(batch)["logits"])


@pytest.mark.parametrize("adapter", MOVING)
def test_a_commit_serves_the_new_slots(model, drift, adapter):
    stream = Stream(model, adapter, governor="always")
    before = served(stream, drift(1))
    decision, answers = stream.adapt(drift())
    assert decision.action == "commit" and decision.step == stream.current.step == 1
    assert decision.state == stream.serving != model.source_hash
    assert decision.figures["probe"] <= 1e-3 and decision.figures["adapt_ms"] > 0
    assert stream.current.parent == stream.origin.hash
    after = served(stream, drift(1))
    want = graph(model, drift(1), stream.current.slots)
    assert np.abs(after - want).max() <= 1e-3 * max(1, np.abs(want).max())
    assert np.abs(after - before).max() > 0.05  # one step of a slow method moves as little
    assert len(answers) == B and all(abs(a.probabilities.sum() - 1) < 1e-5 for a in answers)
    assert stream.counts.commits == 1 and stream.counts.rollbacks == 0


def test_sessions_of_equal_states_are_shared(model):
    assert Stream(model).session is Stream(model, "tent").session is model.source


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_batches_of_one_stay_finite(model, drifted, adapter):
    stream = Stream(model, adapter, batch=1, governor="always")
    for frame in frames(drifted[:12]):
        (result,) = advance(stream, frame)
        assert np.isfinite(result.prediction.probabilities).all()
    assert stream.counts.commits == (0 if adapter in STILL else 12)
    assert all(np.isfinite(v).all() for v in stream.current.slots.values())


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("governor", ["auto", "always"])
def test_constant_frames_stay_finite(model, adapter, value, governor):
    """A covered or blinded camera: no variance anywhere."""
    stream = Stream(model, adapter, batch=4, governor=governor, quarantine="none")
    decided = 0
    for frame in frames(np.full((12, 28, 28), value, np.uint8)):
        (result,) = advance(stream, frame)
        assert np.isfinite(result.prediction.probabilities).all()
        decided += result.report.decision is not None
    assert all(np.isfinite(v).all() for v in stream.current.slots.values())
    assert decided == 3


def test_a_stream_as_the_source_changes_nothing(model, origin):
    stream = Stream(model)
    decisions = [stream.adapt(origin(k))[0] for k in range(6)]
    assert {d.action for d in decisions} == {"hold"}
    assert_is_source(stream, origin())


@pytest.mark.parametrize(
    ("adapter", "governor"), [("nhl", "off"), ("none", "auto"), ("none", "always")]
)
def test_frozen_never_changes(model, drift, adapter, governor):
    stream = Stream(model, adapter, governor=governor)
    for k in range(4):
        decision, answers = stream.adapt(drift(k))
        assert decision.action == "hold" and decision.state == model.source_hash
        want = graph(model, drift(k), model.bundle.source_slots).argmax(-1)
        assert [a.label for a in answers] == want.tolist()
    assert_is_source(stream, drift())
    assert stream.counts.commits == stream.counts.resets == stream.counts.rollbacks == 0


def test_back_at_the_source_by_a_whole_batch(model, drift, origin):
    stream = adapted_stream(model, drift)
    decision, answers = stream.adapt(origin())
    assert decision.action == "reset" and "as the source" in decision.reason
    assert_is_source(stream, origin())
    assert [a.label for a in answers] == served(stream, origin()).argmax(-1).tolist()
    assert stream.counts.resets == 1


def test_back_at_the_source_by_half_a_batch(model, drifted, clean, origin):
    stream = Stream(model)
    stream.tripwire.look = lambda: None  # which would see it before
    actions = {}
    for k, frame in enumerate(frames(np.concatenate([drifted[: 2 * B], clean[:B]])), 1):
        (result,) = advance(stream, frame)
        if result.report.decision:
            actions[k] = result.report.decision.action
    want = {B: "propose", 2 * B: "commit", 2 * B + B // 2: "reset", 3 * B: "hold"}
    assert actions == want
    assert_is_source(stream, origin())


def test_a_jump_begins_again_at_the_source(model, drift, clean, inputs):
    stream = Stream(model, "bn_stats")
    for k in range(4):
        stream.adapt(drift(k))
    before = stream.proposal
    decision, _ = stream.adapt(inputs(255 - clean[:B]))
    assert decision.action in ("propose", "reset") and stream.proposal is not before
    assert stream.proposal.step == 1 and stream.proposal.parent == stream.origin.hash


def test_what_learned_from_a_batch_is_put_in_force_by_the_next(model, drift):
    stream = Stream(model, "bn_stats")
    first, answers = stream.adapt(drift())
    assert first.action == "propose" and stream.current is stream.origin
    want = graph(model, drift(), model.bundle.source_slots).argmax(-1)
    assert [a.label for a in answers] == want.tolist()
    waiting = stream.proposal
    second, answers = stream.adapt(drift(1))
    assert second.action == "commit" and stream.current is waiting and second.figures["harm"] < -1
    assert waiting.step == 1 and stream.proposal.step == 2
    want = graph(model, drift(1), waiting.slots).argmax(-1)
    assert [a.label for a in answers] == want.tolist()


def test_a_proposal_that_harms_is_dropped_and_its_heirs_too(model, drift, monkeypatch):
    stream = adapted_stream(model, drift, "bn_stats")
    force = stream.current
    wild = {n: np.asarray(v) * np.float32(-3) for n, v in force.slots.items() if "scale" in n}
    stream.proposal = force.child(wild)
    decision, _ = stream.adapt(drift(2))
    assert decision.action == "rollback" and decision.reason
    assert stream.current is force and stream.proposal.parent == force.hash


def test_a_state_in_force_that_harms_gives_way(model, drift):
    good = adapted_stream(model, drift, "bn_stats")
    wild = {
        n: np.asarray(v) * np.float32(-3) for n, v in good.current.slots.items() if "scale" in n
    }
    stream = Stream(model, "bn_stats", state=good.current.child(wild))
    decision, _ = stream.adapt(drift(2))
    assert decision.action == "reset" and stream.current is stream.origin
    assert stream.counts.resets == 1


def test_shadow_learns_as_auto_and_serves_the_source(model, drift, origin):
    shadow, auto = Stream(model, governor="shadow"), Stream(model)
    for k in range(4):
        decision, answers = shadow.adapt(drift(k))
        assert decision.action == auto.adapt(drift(k))[0].action
        want = graph(model, drift(k), model.bundle.source_slots).argmax(-1)
        assert [a.label for a in answers] == want.tolist()
    assert shadow.current.hash == auto.current.hash != shadow.origin.hash
    assert shadow.session is model.source and 0 <= decision.figures["agreement"] <= 1
    shadow.switch("auto")
    assert shadow.serving == auto.serving


def test_frozen_keeps_what_was_learned_and_goes_on_with_it(model, drift):
    stream = adapted_stream(model, drift)
    learned, serving = stream.current, stream.serving
    stream.switch("frozen")
    assert stream.session is model.source
    assert stream.adapt(drift(2))[0].action == "hold" and stream.current is learned
    stream.switch("auto")
    assert stream.serving == serving


def test_two_equal_streams_take_equal_steps(model, drift):
    first, second = Stream(model), Stream(model)
    for k in range(3):
        first.adapt(drift(k)), second.adapt(drift(k))
    assert first.current.hash == second.current.hash and first.serving == second.serving


# What must not be committed


def assert_refused(stream, batch, reason, governor_was_asked=True):
    """The step is rolled back, and both the state and the answers are those of before."""
    before, session = stream.current, stream.session
    want = graph(stream.model, batch, before.slots)
    decision, answers = stream.adapt(batch)
    assert decision.action == "rollback" and reason in decision.reason
    assert stream.current is before and stream.session is session
    assert decision.state == stream.serving and decision.step == before.step
    assert stream.counts.rollbacks == 1
    got = np.array([a.outputs["logits"] for a in answers])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def adapted_stream(model, drift, adapter="nhl", **options):
    """A stream after its first commit under the governor: a proposal, and a batch that judges it."""
    stream = Stream(model, adapter, **options)
    assert [stream.adapt(drift(k))[0].action for k in range(2)] == ["propose", "commit"]
    return stream


def drifted_stream(model, drift, monkeypatch, change, governor="auto"):
    """A stream that has committed two honest steps of bn_stats and then adapts by ``change``."""
    stream = Stream(model, "bn_stats", governor=governor)
    for k in range(2):
        stream.adapt(drift(k))
    assert stream.counts.commits
    stream.proposal = None  # whose turn to be judged would come first

    def adapt(state, batch, run):
        changed = change(state)
        return changed, run("batch", batch, changed.slots, alpha=0.0).outputs

    monkeypatch.setattr(stream.method, "adapt", adapt)
    return stream


def wrong_shape(state):
    return with_slot(state, slot(state, ".scale"), np.zeros(3, np.float32))


def not_finite(state):
    name = slot(state, ".scale")
    value = np.array(state.slots[name])
    value[-1] = np.nan
    return with_slot(state, name, value)


def double(state):
    name = slot(state, ".scale")
    return with_slot(state, name, state.slots[name].astype(np.float64))


def lost(state):
    return dataclasses.replace(state, slots=dict(list(state.slots.items())[1:]))


def bad_memory(state):
    name = slot(state, ".scale")
    other = with_slot(state, name, state.slots[name] * np.float32(1.01))
    return dataclasses.replace(other, memory={"m": np.array(np.inf)})


def raises(state):
    return state.child({slot(state, ".scale"): np.full(1, np.nan)})


@pytest.mark.parametrize("governor", ["auto", "always"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wrong_shape, "another shape"),
        (not_finite, "not finite"),
        (double, "another shape or type"),
        (lost, "is missing"),
        (bad_memory, "memory m is not finite"),
        (raises, "shape"),
    ],
)
def test_a_broken_proposal_is_rolled_back(model, drift, monkeypatch, change, reason, governor):
    stream = Stream(model, "bn_stats", governor=governor)
    for k in range(2):
        stream.adapt(drift(k))
    stream.proposal = None
    answer = model.adapting.run("batch", drift(2), model.bundle.source_slots).outputs
    monkeypatch.setattr(stream.method, "adapt", lambda s, batch, run: (change(s), answer))
    assert_refused(stream, drift(2), reason)


def test_a_method_that_raises_is_rolled_back(model, drift, monkeypatch):
    def fails(state):
        raise ValueError("no frame is reliable")

    stream = drifted_stream(model, drift, monkeypatch, fails)
    assert_refused(stream, drift(2), "no frame is reliable")


def test_a_collapse_is_vetoed(model, drift, bundle, monkeypatch):
    bias = head_bias(bundle)
    one_class = np.where(np.arange(10) == 3, 1e3, 0).astype(np.float32)
    stream = drifted_stream(model, drift, monkeypatch, lambda s: s.child({bias: one_class}))
    stream.proposal = stream.current.child({bias: one_class})
    assert_refused(stream, drift(2), "predictions collapse")
    published = drifted_stream(
        model, drift, monkeypatch, lambda s: s.child({bias: one_class}), "always"
    )
    assert published.adapt(drift(2))[0].action == "commit"


def test_a_check_that_fails_lets_nothing_through(model, drift, monkeypatch):
    stream = Stream(model, "bn_stats")
    stream.adapt(drift())
    monkeypatch.setattr(stream.guard._checks["collapse"], "figure", lambda *a: 1 / 0)
    assert_refused(stream, drift(1), "check collapse failed: division by zero")


class Stale(InferSession):
    """A session that ignores the slots it is given, as a provider that bakes weights in would."""

    def __init__(self, bundle, slots=None, *more, **options):
        super().__init__(bundle, None, *more, **options)


@pytest.mark.parametrize("governor", ["auto", "always"])
def test_a_session_that_serves_other_slots_is_rolled_back(model, drift, monkeypatch, governor):
    stream = Stream(model, "bn_stats", governor=governor)
    stream.adapt(drift())
    monkeypatch.setattr("tta.runtime.model.InferSession", Stale)
    assert_refused(stream, drift(1), "disagrees with the step graph")
    monkeypatch.undo()
    assert "commit" in {stream.adapt(drift(k))[0].action for k in (1, 2)}


def test_an_interrupt_while_probing_leaves_the_old_session(model, drift, monkeypatch):
    class Interrupted(InferSession):
        def run(self, batch):
            raise KeyboardInterrupt

    stream = Stream(model, "bn_stats")
    stream.adapt(drift())
    before, session, serving = stream.current, stream.session, stream.serving
    monkeypatch.setattr("tta.runtime.model.InferSession", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        stream.adapt(drift(1))
    assert (stream.current, stream.session, stream.serving) == (before, session, serving)


def test_a_method_that_changes_nothing_holds(model, drift):
    stream = Stream(model, Method(lambda state: state))
    assert stream.adapt(drift())[0].reason == "the method changed nothing"
    assert_is_source(stream, drift())


def test_memory_alone_is_committed(model, drift):
    method = Method(lambda state: state.child(memory={"seen": np.array(7)}))
    stream = Stream(model, method, governor="always")
    assert stream.adapt(drift())[0].action == "commit"
    assert int(stream.current.memory["seen"]) == 7 and stream.session is model.source


# Restoring


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_restored_state_goes_on_as_if_never_left(model, drift, adapter):
    governor = "always"
    whole = Stream(model, adapter, governor=governor)
    for k in range(2):
        whole.adapt(drift(k))
    rest = Stream(model, adapter, governor=governor, state=whole.current)
    assert rest.serving == whole.serving
    for k in range(2, 4):
        whole.adapt(drift(k)), rest.adapt(drift(k))
    moves = adapter not in STILL
    assert whole.counts.commits == 4 * moves and rest.counts.commits == 2 * moves
    assert rest.current.hash == whole.current.hash and rest.current.step == 4 * moves


def test_a_restored_state_ends_where_the_stream_is_as_the_source(model, drift, origin):
    adapted = adapted_stream(model, drift)
    stream = Stream(model, state=adapted.current)
    assert stream.adapt(origin())[0].action == "reset"
    assert_is_source(stream, origin())


def test_a_jump_after_the_first_batch_drops_even_a_restored_state(model, drift, inputs, clean):
    adapted = adapted_stream(model, drift, "bn_stats")
    stream = Stream(model, "bn_stats", state=adapted.current)
    for k in range(1, 4):
        stream.adapt(drift(k))
    stream.adapt(inputs(255 - clean[:B]))
    assert stream.proposal.step == 1


def test_switched_off_a_restored_state_is_served_as_it_is(model, drift):
    adapted = adapted_stream(model, drift, "tent")
    stream = Stream(model, "nhl", governor="off", state=adapted.current)
    decision, answers = stream.adapt(drift(1))
    assert decision.action == "hold" and stream.current is adapted.current
    want = graph(model, drift(1), adapted.current.slots)
    got = np.array([a.outputs["logits"] for a in answers])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert np.abs(got - served(Stream(model), drift(1))).max() > 0.1


def test_a_state_of_another_bundle_or_method_is_refused(model, drift):
    adapted = adapted_stream(model, drift, "tent")
    foreign = dataclasses.replace(adapted.current, bundle="0" * 64)
    with pytest.raises(StateError, match="another bundle"):
        Stream(model, "tent", state=foreign)
    with pytest.raises(StateError, match="adapter 'tent' made this state, and 'nhl' cannot go on"):
        Stream(model, "nhl", state=adapted.current)


# Refused before the first frame


def test_a_graph_that_the_bundle_lacks_is_named_with_its_cure(model):
    method = Method(lambda state: state)
    method.needs = frozenset({"batch", "step/eata"})
    with pytest.raises(BundleError, match=r"needs step/eata.*--objectives eata"):
        Stream(model, method)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("tnet", "no adapter named 'tnet'; known: tent"),
        ("tent?lrr=1", "'tent' has no option 'lrr'; it has: lr, "),
        ("nhl?eta=x", "option eta of adapter 'nhl' must be a number, but is 'x'"),
        ("nhl?anti=maybe", "option anti .* must be true or false"),
        ("nhl?mode=last", "nhl's mode is one of first, all, but is 'last'"),
        ("bn_stats?alpha=2", "alpha is a share in 0..1"),
        ("os:getcwd", "is no adapter: it has no needs, init, adapt"),
        ("no_such_module:Mine", "cannot load 'no_such_module:Mine'"),
    ],
)
def test_a_bad_adapter_is_refused_in_a_sentence(model, adapter, message):
    with pytest.raises(TtaError, match=message):
        Stream(model, adapter)


def test_unknown_names_are_not_found(model):
    with pytest.raises(NotFoundError, match="known: entropy"):
        Stream(model, metrics=["entropi"])
    with pytest.raises(TtaError, match="one of auto, shadow, always, frozen, off, but is 'on'"):
        Stream(model, governor="on")
    with pytest.raises(TtaError, match="at least one frame, but batch is 0"):
        Stream(model, batch=0)


def test_an_adapter_from_outside(model, drift):
    stream = Stream(model, "tests.runtime.test_stream:Outside?size=0.5", governor="always")
    stream.adapt(drift())
    bias = head_bias(model.bundle)
    assert np.allclose(stream.current.slots[bias] - stream.origin.slots[bias], 0.5)


class Outside(Method):
    def __init__(self, size: float = 0.0):
        super().__init__(lambda s: s.child({"head.bias": s.slots["head.bias"] + np.float32(size)}))


def test_an_adapter_may_change_the_answer(model, inputs, clean):
    class Sure(Method):
        def predict(self, prediction, state):
            return dataclasses.replace(prediction, probabilities=np.eye(10)[3])

    assert Stream(model, Sure(lambda s: s)).predict(inputs(clean[:1])[0]).label == 3


def test_predictions_of_each_task(bundle):
    logits = np.array([1e4, 0, -1e4], np.float32)
    outputs = {"logits": logits}
    sure = prediction(bundle, outputs, 0.5)
    assert sure.label == 0 and sure.confidence == 1 and abs(sure.entropy) < 1e-6
    torn = prediction(bundle, {"logits": np.zeros(4, np.float32)}, 0.5)
    assert abs(torn.entropy - np.log(4)) < 1e-6
    manifest = dataclasses.replace(bundle.manifest, task="regress")
    other = type("Other", (), {"manifest": manifest, "task": tasks.of(manifest, {})})
    plain = prediction(other, outputs, 0.5)
    assert plain.label == -1 and np.isnan(plain.entropy) and plain.outputs is outputs
    assert len(answered(plain)) == 3 and answered(sure) == 0


def test_states_are_values(model, drift):
    stream = Stream(model, "tent")
    source = {k: v.copy() for k, v in stream.origin.slots.items()}
    stream.adapt(drift())
    first = stream.current
    kept = {k: v.copy() for k, v in first.slots.items()}
    stream.adapt(drift(1))
    assert all(np.array_equal(source[k], stream.origin.slots[k]) for k in source)
    assert all(np.array_equal(kept[k], first.slots[k]) for k in kept)
    with pytest.raises(ValueError, match="read-only"):
        stream.current.slots[head_bias(model.bundle)][0] = 1
    assert frozen(first.slots)[head_bias(model.bundle)] is first.slots[head_bias(model.bundle)]


def test_threads_reach_the_sessions(bundle):
    model = Model(bundle, threads=2)
    assert model.source.onnx.get_session_options().intra_op_num_threads == 2

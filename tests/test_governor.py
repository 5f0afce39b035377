"""The governor: holds on a stream like the source, restarts where it leaves or jumps, and vetoes."""

import numpy as np
import pytest

from tta import registry
from tta.errors import TtaError
from tta.evidence import evidence
from tta.governor import COMMIT, Governor, Verdict
from tta.harm import log_odds
from tta.manifest import InputSpec, Manifest
from tta.monitor import Monitor, threshold
from tta.records import Decision, Moments, Prediction, Step

C, N = 16, 16
SOURCE = {
    **{f"mean.{k}": np.zeros(C, np.float32) for k in ("first", "second")},
    **{f"var.{k}": np.ones(C, np.float32) for k in ("first", "second")},
}


def manifest(**thresholds):
    return Manifest(
        name="model",
        task="classify",
        input=InputSpec("x", (None, 3)),
        preprocess={"kind": "none"},
        outputs={"logits": (4,), "features": (8,)},
        primary="logits",
        labels=(),
        slots=(),
        layers={},
        provides=("batch",),
        thresholds={k.replace("_at_", "@"): v for k, v in thresholds.items()},
    )


def view(shift=0.0, spread=1.0, seed=0, n=64, classes=4):
    """What a frozen model says of a batch drawn from N(shift, spread²)."""
    rng = np.random.default_rng(seed)
    found = {}
    for k in ("first", "second"):
        x = rng.normal(shift, spread, (n, C))
        found[k] = Moments(x.mean(0), x.var(0), float(n))
    logits = np.zeros((n, 4), np.float32)
    logits[np.arange(n), rng.integers(0, classes, n)] = 6
    return Step({"logits": logits}, found)


def calibrated(views=40):
    """A threshold of half as much again as the largest of source-like batches, as export sets it."""
    kl = registry.load("tta.drift", "statistics_kl")(manifest(), SOURCE)
    scores = []
    for seed in range(views):
        kl.observe_step(view(seed=1000 + seed))
        scores.append(kl.score())
    return 1.5 * max(scores)


LIMIT = calibrated()


def governor(mode="auto", **thresholds):
    return Governor(manifest(**(thresholds or {"statistics_kl_at_16": LIMIT})), SOURCE, mode, N)


def actions(g, views):
    return [g.plan(v).action for v in views]


def test_it_holds_on_a_stream_like_the_source():
    g = governor()
    assert actions(g, [view(seed=k) for k in range(100)]) == ["hold"] * 100
    assert "as the source" in g.plan(view()).reason


def test_it_restarts_on_leaving_and_adapts_from_then_on():
    g = governor()
    found = actions(g, [view(seed=k) for k in range(5)] + [view(1.0, seed=k) for k in range(40)])
    assert found == ["hold"] * 5 + ["restart"] + ["adapt"] * 39


def test_it_restarts_on_a_jump():
    g = governor()
    views = [view(1.0, seed=k) for k in range(10)] + [view(-1.5, 2.0, seed=k) for k in range(10)]
    found = actions(g, views)
    assert found[10] == "restart" and found.count("restart") == 2
    assert set(found[11:]) == {"adapt"}


def test_frames_chosen_out_of_many_have_a_threshold_of_their_own():
    """Whole batches of a stream show one thing and stray far; frames of a reservoir do not."""
    both = {"statistics_kl@16": 50 * LIMIT, "statistics_kl_mixed@16": LIMIT}
    shift = 2 * np.sqrt(LIMIT)
    assert Governor(manifest(**both), SOURCE, "auto", N).plan(view(shift)).action == "hold"
    assert (
        Governor(manifest(**both), SOURCE, "auto", N).plan(view(shift), N, True).action == "restart"
    )
    old = Governor(manifest(**{"statistics_kl@16": 50 * LIMIT}), SOURCE, "auto", N)
    assert old.plan(view(shift), N, True).action == "hold"  # a bundle from before


def test_a_slow_drift_is_no_jump():
    g = governor()
    found = actions(g, [view(0.5 + 0.02 * k, seed=k) for k in range(60)])
    assert found == ["restart"] + ["adapt"] * 59


def test_it_holds_again_when_the_stream_returns():
    g = governor()
    views = [view(1.0), view(1.0, seed=1), view(seed=2), view(1.0, seed=3)]
    assert actions(g, views) == ["restart", "adapt", "hold", "restart"]


def test_newest_frames_far_from_the_recent_ones_are_a_leap():
    g = governor()
    g.plan(view(2.0))
    assert not any(g.leaps(view(2.0, seed=k), N) for k in range(1, 20))
    assert not g.leaps(view(2.3, seed=20), N)  # as far as classes may be apart
    assert g.leaps(view(4.0), N)
    assert g.plan(view(4.0)).action == "restart"


def test_a_stream_not_yet_away_leaps_from_the_source():
    g = governor()
    assert not any(g.leaps(view(0.0, seed=k), N) for k in range(20))
    assert g.leaps(view(3.0), N)
    assert g.plan(view(3.0)).action == "restart"


def test_a_stream_that_is_always_far_from_itself_does_not_leap_each_time():
    g = governor()
    g.plan(view(2.0))
    leaps = []
    for k in range(30):
        leaps.append(g.leaps(view(4.0 if k % 2 else 0.5, seed=k), N))
        g.plan(view(2.0, spread=1.5, seed=100 + k))
    assert leaps[0] and not any(leaps[8:])


def test_a_far_leap_hides_no_later_one():
    g = governor()
    g.plan(view(2.0))
    assert g.leaps(view(60.0), N)
    for k in range(4):
        g.plan(view(60.0, seed=k))
        assert not g.leaps(view(60.0, seed=10 + k), N)
    assert g.leaps(view(57.0), N)


@pytest.mark.parametrize("mode", ["always", "off", "frozen"])
def test_only_a_governor_that_judges_looks_for_leaps(mode):
    g = governor(mode)
    g.plan(view(2.0))
    assert not g.leaps(view(9.0), N)


def test_a_mild_shift_within_the_noise_of_few_frames_is_no_return():
    g = Governor(
        manifest(**{"statistics_kl@16": LIMIT, "statistics_kl@8": 20 * LIMIT}), SOURCE, "auto", N
    )
    shift = 2 * np.sqrt(LIMIT)
    assert g.plan(view(shift)).action == "restart"
    assert g.returned(view(shift, seed=1), 8) is None
    assert g.returned(view(0.0, seed=2), 8) is not None


def test_half_a_batch_may_tell_that_the_stream_returned():
    g = governor()
    g.plan(view(1.0))
    assert g.returned(view(1.0, seed=1, n=32), 8) is None
    plan = g.returned(view(seed=2, n=32), 8)
    assert plan is not None and plan.action == "hold"
    assert plan.figures["threshold"] == pytest.approx(2 * LIMIT)  # fewer frames, more noise
    assert g.plan(view(1.0)).action == "restart"  # what it knew of the stream is gone


def test_modes():
    far, near = view(2.0), view()
    assert governor("always").plan(near).action == "adapt"
    assert governor("off").plan(far).action == "hold"
    assert "off" in governor("off").plan(far).reason
    with pytest.raises(TtaError, match="one of auto, shadow, always, frozen, off, but is 'never'"):
        governor("never")


def test_without_thresholds_it_adapts_always_and_says_so():
    g = governor(entropy=1.0)
    for v in (view(), view(3.0)):
        plan = g.plan(v)
        assert plan.action == "adapt" and "no calibrated threshold" in plan.reason
    assert g.returned(view(), 8) is None


def test_without_source_statistics_it_adapts_always():
    g = Governor(manifest(statistics_kl_at_16=LIMIT), {}, "auto", N)
    assert g.plan(view()).action == "adapt"


def test_plans_carry_their_figures():
    g = governor()
    plan = g.plan(view(1.0))
    assert plan.figures["from_source"] > plan.figures["threshold"] == LIMIT
    assert g.plan(view(1.0, seed=1)).figures["from_recent"] < plan.figures["from_source"]


def judged(g, after, before, slots=None):
    source = slots or {}
    return g.judge(evidence(manifest(), before, after, slots or {}, source))


def test_a_collapse_is_vetoed():
    verdict = judged(governor(), view(classes=1), view())
    assert "collapse" in verdict.reason and verdict.figures["collapse"] > np.log(2)
    assert not verdict.passes
    verdict = judged(governor(), view(), view())
    assert verdict.reason == "" and abs(verdict.figures["collapse"]) < 0.1


def test_a_batch_of_one_class_is_no_collapse():
    assert judged(governor(), view(classes=1), view(classes=1)).reason == ""


def test_a_check_that_fails_vetoes():
    g = governor()

    class Broken:
        threshold = 1.0

        def figure(self, evidence):
            raise ZeroDivisionError("by zero")

        def says(self, figure):
            return ""

    g._checks["broken"] = Broken()
    assert judged(g, view(), view()).reason == "check broken failed: by zero"


def test_a_check_vetoes_above_its_threshold_and_nan_is_silence():
    class Told:
        threshold = 1.0

        def __init__(self, value):
            self.value = value

        def figure(self, evidence):
            return self.value

        def says(self, figure):
            return f"it is {figure}"

    for value, reason in ((0.9, ""), (1.1, "it is 1.1"), (np.nan, "")):
        g = governor()
        g._checks["told"] = Told(value)
        verdict = judged(g, view(), view())
        assert verdict.reason == reason and ("told" in verdict.figures) == (value == value)


def test_a_proposal_that_is_surer_passes_and_one_that_is_less_sure_does_not():
    sharp, flat = view(), view()
    flat.outputs["logits"][:] *= 0.2
    g = governor()
    good, bad = judged(g, sharp, flat), judged(g, flat, sharp)
    assert good.passes and good.harm < COMMIT
    assert not bad.passes and bad.harm > 0 and "worse than the source" in bad.reason
    same = judged(g, sharp, sharp)
    assert same.harm == 0 and not same.passes


def test_the_state_in_force_is_judged_on_average():
    g = governor()
    g.begin(Verdict("", -3.0, {}))
    assert g.stands(Verdict("probably worse", 1.0, {})) == ""  # -1 on average
    assert g.stands(Verdict("", np.nan, {})) == ""
    assert "worse than the source" in g.stands(Verdict("probably worse", 1.5, {}))
    g.begin(Verdict("", -3.0, {}))
    assert g.stands(Verdict("predictions collapse", -2.0, {})) == "predictions collapse"


def test_log_odds_use_what_there_is():
    figures = {"entropy": -0.1, "residual_shift": -1.0, "alignment": -1.0}
    assert log_odds(figures) == pytest.approx(0.45 - 0.78 - 0.70 - 0.47)
    assert log_odds({"residual_shift": -1.0, "entropy": np.nan}) == pytest.approx(0.68 - 0.79)
    assert np.isnan(log_odds({"agreement": 1.0}))


def test_two_governors_share_nothing():
    a, b = governor(), governor()
    a.plan(view(1.0))
    assert b.plan(view(1.0)).action == "restart"


# --- thresholds and the monitor ---------------------------------------------------------------------


def test_thresholds_by_batch_size():
    known = manifest(kl_at_8=0.8, kl_at_32=0.2)
    assert [threshold(known, "kl", n) for n in (8, 16, 31, 32, 500)] == [0.8, 0.8, 0.8, 0.2, 0.2]
    assert threshold(known, "kl", 4) == pytest.approx(1.6)
    assert threshold(known, "kl", 1) == pytest.approx(6.4)
    assert threshold(known, "other", 8) is None
    assert threshold(manifest(kl=0.5), "kl", 3) == 0.5


def answer(entropy):
    return Prediction({}, np.full(4, 0.25), entropy, 0.0, "")


def test_levels():
    made = manifest(entropy=1.0, statistics_kl_at_16=LIMIT)
    for entropy, level in ((0.5, "ok"), (0.8, "warn"), (1.2, "drift")):
        monitor = Monitor(made, SOURCE, batch=N, block=1)
        assert monitor.report().level == "ok"  # nothing is known yet
        monitor.observe(answer(entropy))
        assert monitor.report().level == level
    monitor.observe_step(view(2.0))
    report = monitor.report(decision := Decision("hold", "", "", 0))
    assert report.level == "drift" and report.decision is decision
    assert set(report.scores) >= {"entropy", "statistics_kl"}
    assert set(report.layers) == {"first", "second"}
    monitor.reset()
    assert monitor.report().level == "ok" and not monitor.report().layers


def test_metrics_may_be_chosen():
    assert set(Monitor(manifest(), SOURCE, ["entropy"]).report().scores) == {"entropy"}
    assert Monitor(manifest(), SOURCE, []).report().scores == {}
    with pytest.raises(TtaError, match="no drift named 'entropi'; known: entropy"):
        Monitor(manifest(), SOURCE, ["entropi"])

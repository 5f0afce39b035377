"""Frames that must not teach, in a stream."""

import numpy as np
import pytest

from tests.runtime.conftest import Images, frames
from tta.errors import NotFoundError, TtaError
from tta.runtime.loop import advance, run
from tta.runtime.stream import Stream


def fed(stream, images):
    return [result for frame in frames(images) for result in advance(stream, frame)]


def test_they_are_answered_and_counted_and_teach_nothing(model, drifted):
    stream = Stream(model, "bn_stats", buffer="batch", governor="always")
    black = np.zeros_like(drifted[:40])
    results = fed(stream, np.concatenate([drifted[:8], black, drifted[8:16]]))
    assert all(r.prediction is not None for r in results) and len(results) == 56
    assert stream.counts.quarantined == 40 and stream.gate.refused["blank"] == 40
    plain = Stream(model, "bn_stats", buffer="batch", governor="always")
    fed(plain, drifted[:16])
    assert stream.current.hash == plain.current.hash != plain.origin.hash


def test_what_begins_is_told_once(model, drifted):
    stream = Stream(model, "none")
    black = np.zeros_like(drifted[:5])
    results = fed(stream, np.concatenate([drifted[:3], black, drifted[3:6], black]))
    told = [(k, r.report.decision) for k, r in enumerate(results) if r.report.decision]
    notes = [(k, d) for k, d in told if d.action == "quarantine"]
    assert notes[0][0] == 3 and "black" in notes[0][1].reason
    assert 2 <= len(notes) <= 4


def test_sampled_frames_are_refused_likewise(bundle, drifted):
    black = np.zeros_like(drifted[:32])
    images = np.concatenate([drifted[:32], black, drifted[32:64]])
    (stream,) = run(bundle, Images(images), "bn_stats", every=1, batch=8)
    assert stream.counts.sampled == 64 and stream.counts.quarantined == 32


def test_rules_may_be_chosen(model, drifted):
    black = np.zeros_like(drifted[:4])
    for rules, count in (("none", 0), ("saturated", 4), ("blank, repeated", 4)):
        stream = Stream(model, "none", quarantine=rules)
        fed(stream, black)
        assert stream.counts.quarantined == count
    with pytest.raises(NotFoundError, match="no quarantine named 'blnk'; known: blank"):
        Stream(model, "none", quarantine="blnk")
    with pytest.raises(TtaError, match="default, none, or names"):
        Stream(model, "none", quarantine="blank,")


def test_a_rule_that_raises_refuses(model, drifted):
    stream = Stream(model, "none")

    class Broken:
        def refuses(self, frame, x, prediction):
            raise RuntimeError("no")

    stream.gate._rules = {"broken": Broken()}
    results = fed(stream, drifted[:2])
    assert stream.counts.quarantined == 2
    assert results[0].report.decision.reason == "rule broken failed: no"

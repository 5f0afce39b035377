"""What the command line says about drift, and what it refuses."""

import argparse
import json

import numpy as np
import pytest

from tta.alarm_arguments import add_export_arguments, add_run_arguments, policy, told
from tta.cli import main
from tta.errors import NotFoundError, TtaError
from tta.records import DriftReport, Frame, Result, Shift
from tta.runtime.result_record import record
from tta.runtime.sinks.stdout import describe
from tta.watch import Watch


def given(*words):
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    return parser.parse_args(words)


def test_the_default_is_the_bundle_s_own():
    found = policy(given())
    assert found.budget is None and found.detector == "cusum" and found.warm_up == 1024


def test_a_budget_reaches_the_policy():
    found = policy(given("--false-alarms", "1/day", "--fps", "15", "--correlation-time", "2"))
    assert 1 / found.budget.per_frame(found.fps) == pytest.approx(86400 * 15)
    assert found.correlation_s == 2


@pytest.mark.parametrize(
    ("words", "says"),
    (
        (("--false-alarms", "1/fortnight", "--fps", "9"), "no unit 'fortnight'"),
        (("--false-alarms", "1/week"), "add --fps"),
        (("--fps", "0"), "above zero"),
        (("--fps", "nan"), "above zero"),
        (("--warm-up", "-1"), "0 for none"),
        (("--correlation-time", "0"), "above zero"),
    ),
)
def test_what_makes_no_sense_is_refused(words, says):
    with pytest.raises(TtaError, match=says):
        policy(given(*words))


def test_an_unknown_detector_names_the_nearest():
    with pytest.raises(NotFoundError, match="kswin"):
        policy(given("--detector", "kswim"))


def test_export_has_a_default_budget_and_detectors():
    parser = argparse.ArgumentParser()
    add_export_arguments(parser)
    found = parser.parse_args([])
    assert found.false_alarms == "1/day" and found.detectors == "cusum,page_hinkley"
    assert not found.ordered and not found.kinds


def test_notes_are_told_line_by_line():
    watch = Watch({}, [])
    watch.notes.append("warm-up of 9 frames")
    assert told(watch) == ["drift: warm-up of 9 frames"]


def test_a_run_refuses_a_bad_budget_before_it_opens_anything(capsys):
    assert main(["run", "none.tta", "none", "--false-alarms", "1/week"]) == 1
    assert "add --fps" in capsys.readouterr().err


SHIFT = Shift("alarm", 900, 320, {"mmd": 1.4}, {"stem": 0.2}, 8e5, 3, (0.1, 0.15, 0.2), "lens_dirt")


def test_a_shift_is_told_in_words():
    text = describe(SHIFT)
    assert "ALARM" in text and "since frame 320" in text and "15 % (10 to 20)" in text
    assert "lens_dirt" in text and "domain 3" in text


def test_a_shift_is_in_the_record():
    frame = Frame(np.zeros(1), 0.0, 0)
    stored = json.loads(json.dumps(record(Result(frame, None, DriftReport({}, shift=SHIFT)))))
    assert stored["drift"]["shift"]["verdict"] == "alarm"
    assert stored["drift"]["shift"]["error"] == [0.1, 0.15, 0.2]
    assert stored["drift"]["shift"]["kind_share"] is None  # nan
    assert "shift" not in record(Result(frame, None, DriftReport({})))["drift"]

"""Figures of hand-made recordings."""

import json

import numpy as np
import pytest

from tests.evaluation.recordings import recording, row
from tta.evaluation.record import Segment, write_rows
from tta.evaluation.summary import summarise, table, to_json
from tta.evaluation.timeline import timeline, verdict

SHIFTS = [("clean", 0.0), ("fog", 5.0), ("clean", 0.0), ("contrast", 2.0), ("fog", 3.0)]


def events(segment, k):
    """A false alarm at 3, fog found 7 rows after it began at 40; the report says drift in 80 to 84."""
    event = {3: "level", 47: "level", 60: "level"}.get(k, "")
    level = "drift" if 47 <= k < 85 or 125 <= k < 200 else "ok"
    return row(segment, k, event=event, level=level, frozen=int(segment == 1), adapted=int(k % 2))


def test_delays_false_alarms_and_what_was_missed():
    found = summarise(recording([40] * 5, events, SHIFTS))
    assert [f.delay for f in found.segments] == [None, 7, None, None, None]
    assert [f.alarms for f in found.segments] == [1, 2, 0, 0, 0]
    assert found.segments[1].delay_s == pytest.approx(0.7)
    assert [f.already for f in found.segments] == [False, False, True, False, True]
    assert found.segments[2].clear == 5
    assert (found.false_alarms, found.clean_frames) == (1, 80)
    assert (found.changes, found.found, found.standing, found.median_delay) == (3, 1, 1, 7)
    assert found.by_level == 1 and found.segments[3].level_delay == 5
    said = verdict(found)
    assert "1 was found (median delay 7 frames), 1 shown by the level alone, 1 came while" in said
    assert "1 false alarm in 80 clean frames" in said
    assert [cells[-1] for cells in table(found)] == [
        "", "7", "clear: 5", "level: 5", "standing", "",
    ]  # fmt: skip


def test_a_watch_finds_first_and_judges_later():
    said = {45: "detected", 60: "alarm", 85: "detected", 90: "recall"}

    def judged(segment, k):
        return row(
            segment, k, event=said.get(k, ""), detail={"kind": "lens_dirt"} if k == 60 else {}
        )

    found = summarise(recording([40, 40, 40], judged, SHIFTS[:3]))
    assert [f.delay for f in found.segments] == [None, 5, 5]
    assert [f.finds for f in found.segments] == [0, 1, 1]
    assert [f.alarms for f in found.segments] == [0, 1, 0]
    assert found.false_alarms == 0 and found.segments[1].kinds == {"lens_dirt": 1}


def test_losses_gains_and_intervals_are_paired():
    found = summarise(recording([40, 40], events, SHIFTS[:2]))
    clean, fog = found.segments
    assert (clean.frozen, clean.adapted, fog.frozen, fog.adapted) == (0, 0.5, 1, 0.5)
    assert clean.gain.mean == -0.5 and clean.gain.sign == -1
    assert fog.gain.mean == 0.5 and fog.gain.sign == 1
    assert (found.frozen, found.adapted, found.gain.mean) == (0.5, 0.5, 0)
    assert "hurts in 1 (clean)" in verdict(found)


@pytest.mark.parametrize(
    ("label", "clean", "measure", "frozen", "adapted"),
    [(1, 0, "error", 1, 1), (None, 2, "disagreement", 1, 1), (None, 0, "disagreement", 0, 0),
     (None, None, "doubt", 0.25, 0.5)],
)  # fmt: skip
def test_the_best_measure_that_the_data_allow(label, clean, measure, frozen, adapted):
    made = recording([30], lambda s, k: row(s, k, label=label, clean=clean))
    found = summarise(made)
    assert (found.measure, found.frozen, found.adapted) == (measure, frozen, adapted)
    assert ("estimate" in to_json(made, found)["meaning"]) == (measure == "doubt")


def test_rows_without_a_label_are_counted_and_count_in_no_error():
    found = summarise(
        recording([40], lambda s, k: row(s, k, label=None if k < 10 else 0, frozen=1))
    )
    assert (found.measure, found.unlabelled, found.frozen) == ("error", 10, 1.0)


def test_json_is_strict(tmp_path):
    made = recording(
        [30], lambda s, k: row(s, k, scores={"entropy": float("nan")}, layers={"stem": np.inf})
    )
    text = json.dumps(to_json(made, summarise(made)), allow_nan=False)
    assert json.loads(text)["segments"][0]["frames"] == 30
    write_rows(tmp_path / "rows.jsonl", made)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(lines) == 30 and lines[0]["scores"] == {"entropy": None}
    assert lines[0]["layers"] == {"stem": None}


def test_a_segment_that_grows_or_mixes_says_so():
    slow, mixed, plain = (Segment("clean", 0.0, 0, 0) for _ in range(3))
    for severity in (0.0, 1.0, 2.5):
        slow.take("lens_dirt" if severity else "clean", severity)
    for name in ("fog", "snow", "fog"):
        mixed.take(name, 5.0)
    plain.take("fog", 5.0)
    plain.take("fog", 5.0)
    assert [s.title for s in (slow, mixed, plain)] == ["lens dirt, up to 2.5", "mixed 5", "fog 5"]
    assert (slow.stop, slow.grows, mixed.grows, plain.grows) == (3, True, False, False)


def test_no_window_spans_a_change():
    view = timeline(*[r := recording([37, 53], events, SHIFTS[:2]), summarise(r)], window=10)
    assert len(view.bins.x) == 4 + 5
    assert set(view.bins.frozen[view.bins.segment == 0]) == {0.0}
    assert set(view.bins.frozen[view.bins.segment == 1]) == {1.0}


def test_time_is_told_in_hours_where_it_is_long():
    made = recording([100], lambda s, k: row(s, k))
    assert timeline(made, summarise(made)).axis == "frame"
    long = recording([100], lambda s, k: row(s, k, label=0))
    long.rows = [row(0, k) for k in range(100)]
    object.__setattr__(long.rows[-1], "t_s", 86400.0)
    assert timeline(long, summarise(long)).axis == "hours"

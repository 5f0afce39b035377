"""Figures of a results folder made by hand: errors, intervals, tests and verdicts, with their edges."""

import itertools
import json

import numpy as np
import pytest

from tta.errors import TtaError
from tta.evaluation.lines import HELPS, HURTS, SAME, hurting, lines
from tta.evaluation.paired import holm, mcnemar, mcnemar_by_unit
from tta.evaluation.results import read
from tta.evaluation.tables import table, where_it_hurts


def cell(
    folder, adapter, label, frozen, adapted, protocol="reset", batch=10, seed=0, visits=1, **more
):
    """Write a finished cell as a sweep does; ``more`` arrays go to its images, other things to its file."""
    label, frozen, adapted = (np.asarray(a) for a in (label, frozen, adapted))
    n = len(label)
    arrays = {k: np.asarray(v) for k, v in more.items() if isinstance(v, (list, np.ndarray))}
    images = {
        "visit": np.arange(n) * visits // max(1, n),
        "item": np.arange(n),
        "label": label,
        "frozen": frozen,
        "pre": adapted,
        "post": np.full(n, -1),
        "frozen_confidence": np.full(n, 0.75, np.float32),
        "pre_confidence": np.full(n, 0.5, np.float32),
        **arrays,
    }
    key = f"{protocol}-{adapter}-b{batch}-s{seed}".replace(":", "_").replace("?", "_")
    np.savez(folder / f"{key}.npz", **images)
    known = np.bincount(images["visit"][label >= 0], minlength=visits)
    rows = [
        {
            "visit": f"shift {k}", "images": int(known[k]), "ms_per_frame": 2.0 + k,
            "model": "Net", "data": "things", "bundle": "b" * 64, "data_hash": "d" * 64,
            "machine": "a machine",
        }
        for k in range(visits)
    ]  # fmt: skip
    about = {k: v for k, v in more.items() if k not in arrays}
    text = {"protocol": protocol, "adapter": adapter, "batch": batch, "seed": seed, **about}
    (folder / f"{key}.json").write_text(json.dumps({**text, "rows": rows}))


def answers(label, wrong):
    """The labels, with those named answered by the next class."""
    found = np.array(label)
    found[wrong] = (found[wrong] + 1) % 3
    return found


def test_a_line_in_figures(tmp_path):
    label = np.arange(40) % 3
    cell(
        tmp_path, "tent", label, answers(label, range(4)), answers(label, range(2, 26)), visits=2,
        post=answers(label, range(20)),
    )  # fmt: skip
    (line,) = lines(read(tmp_path))
    assert (line.frozen_error, line.error, line.post_error) == (10, 60, 50)
    assert line.error_span.mean == pytest.approx(60)
    assert line.gain.mean == pytest.approx(-50) and line.worst == (-70, "shift 0")
    assert (line.broken, line.repaired, line.images) == (22, 2, 40)
    assert line.frozen_ece == pytest.approx(15) and line.ece == pytest.approx(10)
    assert line.ms_per_frame == 2.5 and line.verdict == HURTS
    first, second = label == answers(label, range(4)), label == answers(label, range(2, 26))
    assert line.p == pytest.approx(mcnemar(first, second).exact, rel=1e-9)


def test_frames_of_no_class_count_nowhere(tmp_path):
    label = np.arange(30) % 3
    frozen, adapted = answers(label, range(5)), answers(label, range(10))
    cell(tmp_path, "tent", label, frozen, adapted, visits=3)
    (before,) = lines(read(tmp_path))
    more = np.full(30, -1)
    mixed = [
        np.stack([a, b], 1).ravel()
        for a, b in ((label, more), (frozen, 0 * more), (adapted, 1 + more))
    ]
    cell(tmp_path, "tent", *mixed, visits=3, item=np.repeat(np.arange(30), 2))
    (after,) = lines(read(tmp_path))
    for name in ("images", "error", "frozen_error", "worst", "ece", "broken", "repaired", "p"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.gain.mean == before.gain.mean
    places = read(tmp_path)[0].images["place"]
    assert places[:12].tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 0, 2]


def test_verdicts_hold_together_by_holm(tmp_path):
    label = np.zeros(400, int)
    frozen = answers(label, range(40))
    wrong = {
        "worse": range(80),
        "hardly": range(46),
        "same": range(40),
        "better": range(10),
    }
    for name, some in wrong.items():
        cell(tmp_path, name, label, frozen, answers(label, some))
    cell(tmp_path, "none", label, frozen, frozen)
    found = {line.adapter: line for line in lines(read(tmp_path))}
    assert next(iter(found)) == "none" and found["none"].verdict == SAME
    assert found["worse"].verdict == HURTS and found["better"].verdict == HELPS
    assert found["same"].verdict == SAME and found["same"].p == 1
    assert found["hardly"].p < 0.05 < found["hardly"].p_holm and found["hardly"].verdict == SAME
    tested = [line for line in found.values() if line.adapter != "none"]
    assert [line.p_holm for line in tested] == holm([line.p for line in tested])
    assert [line.adapter for line in hurting(list(found.values()))] == ["worse"]


def test_what_the_world_does_makes_nothing_unsure(tmp_path):
    """Visits differ by 60 points: of one seed the interval is over blocks within them."""
    rng = np.random.default_rng(0)
    label = np.zeros(2000, int)
    wrong = np.where(np.arange(2000) < 1000, rng.random(2000) < 0.8, rng.random(2000) < 0.2)
    cell(tmp_path, "tent", label, answers(label, wrong), label, visits=2)
    (line,) = lines(read(tmp_path))
    exact = 1.96 * 100 * np.sqrt(0.8 * 0.2 / 2000)
    assert line.gain.mean == pytest.approx(100 * wrong.mean())
    assert (line.gain.high - line.gain.low) / 2 == pytest.approx(exact, rel=0.35)


@pytest.mark.parametrize(("visits", "batch", "narrow"), [(10, 60, True), (40, 50, False)])
def test_short_visits_share_their_variance(visits, batch, narrow, tmp_path):
    """Three blocks a visit are enough together; one a visit leaves the whole stream as one stretch."""
    rng = np.random.default_rng(1)
    label, visit = np.zeros(2000, int), np.arange(2000) * visits // 2000
    wrong = rng.random(2000) < np.where(visit < visits // 2, 0.9, 0.1)
    cell(tmp_path, "tent", label, answers(label, wrong), label, visits=visits, batch=batch)
    (line,) = lines(read(tmp_path))
    exact = 1.96 * 100 * np.sqrt(0.9 * 0.1 / 2000)
    half = (line.gain.high - line.gain.low) / 2
    assert half == pytest.approx(exact, rel=0.4) if narrow else half > 5 * exact


def test_answers_that_are_not_finite_are_wrong(tmp_path):
    label = np.zeros(20, int)
    adapted = np.where(np.arange(20) < 5, -1, label)
    sure = np.where(np.arange(20) < 5, np.nan, 0.75)
    cell(tmp_path, "tent", label, label, adapted, pre_confidence=sure)
    (line,) = lines(read(tmp_path))
    assert line.error == 25 and line.broken == 5 and line.ece == pytest.approx(0.75 * 25)


def test_seeds_are_no_new_images_and_clips_stand_together(tmp_path):
    label = np.zeros(60, int)
    frozen, adapted = answers(label, []), answers(label, range(6))
    cell(tmp_path, "tent", label, frozen, adapted)
    (one,) = lines(read(tmp_path))
    cell(tmp_path, "tent", label, frozen, adapted, seed=1)
    cell(tmp_path, "tent", label, frozen, adapted, seed=2)
    (three,) = lines(read(tmp_path))
    assert one.p == three.p == pytest.approx(2 / 2**6)
    assert (one.over, three.over, three.seeds, three.images) == ("blocks", "images", 3, 60)
    (tmp_path / "clips").mkdir()
    cell(tmp_path / "clips", "tent", label, frozen, adapted, clip=np.arange(60) // 6)
    (clips,) = lines(read(tmp_path / "clips"))
    assert clips.over == "clips" and clips.p == 1  # all that broke is one clip


@pytest.mark.parametrize("kind", ["right", "wrong", "one", "few"])
def test_edges(kind, tmp_path):
    n = {"one": 1, "few": 3}.get(kind, 20)
    label = np.zeros(n, int)
    frozen = answers(label, range(n) if kind == "wrong" else [])
    adapted = frozen if kind in ("right", "wrong") else answers(label, [0])
    for seed in range(2):
        cell(tmp_path, "tent", label, frozen, adapted, seed=seed)
    (line,) = found = lines(read(tmp_path))
    assert line.verdict == SAME and line.p == 1
    if n < 5:
        assert line.gain.low is None and line.gain.mean == pytest.approx(-100 / n)
    else:
        assert line.gain.mean == line.gain.low == line.gain.high == 0
    assert "no difference |" in table(found)
    assert (
        where_it_hurts(found) == "None of 1 tested cells is worse than the source model at 5 %.\n"
    )


def test_a_setting_tells_cells_apart(tmp_path):
    label = np.zeros(20, int)
    for k, serve in enumerate(("batch", "stream")):
        cell(tmp_path, "tent", label, label, answers(label, range(k)), batch=10 + k, serve=serve)
    assert [line.method for line in lines(read(tmp_path))] == [
        "tent (serve batch)",
        "tent (serve stream)",
    ]


def test_the_table_marks_where_it_hurts(tmp_path):
    label = np.zeros(400, int)
    cell(tmp_path, "bad", label, label, answers(label, range(50)), visits=2)
    cell(tmp_path, "worse", label, label, answers(label, range(90)), visits=2)
    cell(tmp_path, "fine", label, answers(label, range(50)), label, visits=2)
    found = lines(read(tmp_path))
    text = table(found)
    (row,) = [line for line in text.splitlines() if "**worse**" in line]
    assert (
        "▼ **hurts**" in row and "| **-22.5" in row and "-45.0 shift 0" in row and "< 0.001" in row
    )
    assert "▲ helps" in text and text.count("▼") == 2
    said = where_it_hurts(found)
    assert said.startswith("2 of 3 tested cells") and said.index("worse**") < said.index("bad**")
    assert "90 answers broken, 0 repaired" in said


def test_folders_without_results(tmp_path):
    with pytest.raises(TtaError, match="holds no results: name a folder"):
        read(tmp_path)
    label = np.full(5, -1)
    cell(tmp_path, "tent", label, label + 1, label + 2)
    with pytest.raises(TtaError, match="no frame of the results"):
        read(tmp_path)
    (tmp_path / "reset-tent-b10-s0.json").write_text("{}")
    with pytest.raises(TtaError, match="is no cell of a sweep"):
        read(tmp_path)


def test_units_are_tested_by_the_signs_of_their_sums():
    rng = np.random.default_rng(0)
    for _ in range(4):
        a, b, units = rng.random(40) < 0.6, rng.random(40) < 0.5, rng.integers(0, 9, 40)
        d = np.bincount(units, b.astype(float) - a)
        sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=len(d))]
        expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)
        assert mcnemar_by_unit(a, b, units).exact == pytest.approx(expected, abs=1e-12)
        alone, plain = mcnemar_by_unit(a, b, np.arange(40)), mcnemar(a, b)
        assert (alone.broken, alone.repaired) == (plain.broken, plain.repaired)
        assert alone.exact == pytest.approx(plain.exact) and alone.mid == pytest.approx(plain.mid)
    many = rng.random(20000) < 0.6, rng.random(20000) < 0.62  # long enough for Fourier
    assert mcnemar_by_unit(*many, np.arange(20000)).exact == pytest.approx(
        mcnemar(*many).exact, rel=1e-6
    )
    with pytest.raises(TtaError, match="as many units"):
        mcnemar_by_unit(a, b, np.arange(3))


def test_clustered_answers_do_not_fake_a_difference():
    """Of two equally good methods, whole clips at random: about 5 % of tests are below 5 %."""
    rng = np.random.default_rng(1)
    naive, by_clip = [], []
    for _ in range(300):
        clips = np.repeat(np.arange(30), 10)
        kind = rng.integers(0, 3, 30)[clips]
        a, b = kind != 0, kind != 1
        naive.append(mcnemar(a, b).exact < 0.05)
        by_clip.append(mcnemar_by_unit(a, b, clips).exact < 0.05)
    assert np.mean(by_clip) < 0.08 and np.mean(naive) > 0.3

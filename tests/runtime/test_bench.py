"""The bench counts what it adapts beside what that costs, and says how far its ratios hold."""

import json
from importlib.resources import files

import pytest

from tta.bundle import Bundle
from tta.runtime.bench import COLUMNS, bench

BUNDLE = files("tta.demo") / "fashion.tta"


@pytest.fixture(scope="module")
def found():
    return bench(Bundle(BUNDLE), "bn_stats", batch=8, frames=30)


def test_every_candidate_is_a_ratio_to_plain_onnxruntime(found):
    assert found.candidates["plain onnxruntime"].ratio == 1
    assert {"plain again (A/A)", "tta, frozen", "tta, while adapting"} < set(found.candidates)
    for timing in found.candidates.values():
        assert 0 < timing.p50_ms <= timing.p95_ms <= timing.p99_ms
        assert timing.ratio > 0
    assert all(len(row) == len(COLUMNS) for row in found.rows())


def test_adaptation_is_counted_beside_its_cost(found):
    frames_seen = 30 + 10  # those of the warm-up teach as well
    assert found.steps == found.commits == frames_seen // 8
    assert 0 < found.commit_ms < found.step_ms
    assert 0 < found.throughput < 1
    assert set(found.graphs_ms) == {"infer", "batch", "step/entropy", "step/nhl"}


def test_figures_are_plain_json(found):
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["cold_start_s"] > 0
    assert again["rss_mib"]["after the run, peak"] >= again["rss_mib"]["start"]

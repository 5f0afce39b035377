"""Metrics as Prometheus reads them, with the parser of its own client."""

import json
import re
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.errors import TtaError
from tta.records import Shift
from tta.runtime.loop import advance
from tta.runtime.sink_uri import open_sink
from tta.runtime.stream import Stream

parser = pytest.importorskip("prometheus_client.parser")


def scraped(sink):
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    return {
        (s.name, tuple(v for k, v in sorted(s.labels.items()) if k != "le")): s.value
        for family in parser.text_string_to_metric_families(text)
        for s in family.samples
        if s.labels.get("le", "+Inf") == "+Inf"
    }


def test_a_run_is_counted(model, drifted):
    sink = open_sink("prometheus://:0")
    try:
        stream = Stream(model, "bn_stats", "cam")
        for frame in frames(drifted[:64]):
            for result in advance(stream, frame):
                sink.write(result)
        found = scraped(sink)
    finally:
        sink.close()
    assert found["tta_frames_total", ("ok", "cam")] == 64
    assert found["tta_inference_seconds_count", ("cam",)] == 64
    assert 0 < found["tta_inference_seconds_sum", ("cam",)] < 64
    assert found["tta_adapt_decisions_total", ("commit", "cam")] == stream.counts.commits
    assert found["tta_adapt_seconds_count", ("cam",)] == 4
    assert found["tta_drift_score", ("statistics_kl", "cam")] > 0
    assert found["tta_state_step", ("cam",)] == stream.current.step
    assert ("process_resident_memory_bytes", ()) in found
    assert found["tta_build_info", ("0.1.0",)] == 1


def test_frames_that_never_came_are_counted(model, clean):
    sink = open_sink("prometheus://127.0.0.1:0")
    try:
        stream = Stream(model, "none", "cam")
        for k, frame in enumerate(frames(clean[:9])):
            if k % 3:
                for result in advance(stream, frame):
                    sink.write(result)
        bad = frames(np.zeros((1, 3, 3, 3, 3)))
        for frame in bad:
            for result in advance(stream, frame):
                sink.write(result)
        found = scraped(sink)
    finally:
        sink.close()
    assert (
        found["tta_source_dropped_frames_total", ("cam",)] == 2
    )  # 3 and 6; 0 came before the first
    assert found["tta_frames_total", ("skipped", "cam")] == 1


def test_addresses_that_cannot_be():
    first = open_sink("prometheus://:0")
    try:
        with pytest.raises(TtaError, match="nothing can listen on"):
            open_sink(f"prometheus://:{first.port}")
    finally:
        first.close()
    with pytest.raises(TtaError, match="is no address"):
        open_sink("prometheus://:port")
    with pytest.raises(TtaError, match="leave it out"):
        open_sink("prometheus://:9108/metrics")


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_rules_and_dashboard_name_metrics_that_are_served(name, model, drifted):
    text = (Path(__file__).parents[2] / "docs/grafana" / name).read_text()
    asked = set(re.findall(r"\b(?:tta|process)_[a-z0-9_]+", text))
    sink = open_sink("prometheus://:0")
    try:
        stream = Stream(model, "bn_stats", "cam")
        for frame in frames(drifted[:64]):
            for result in advance(stream, frame):
                sink.write(result)
        decision = result.report
        shifted = replace(decision, shift=Shift("alarm", 1, 1, {}, {}, 1.0))
        sink.write(replace(result, report=shifted))
        sink.write(replace(result, frame=replace(result.frame, seq=result.frame.seq + 3)))
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=5) as reply:
            served = set(re.findall(r"^([a-z0-9_]+)[{ ]", reply.read().decode(), re.MULTILINE))
    finally:
        sink.close()
    assert asked and asked <= served, asked - served
    if name.endswith("json"):
        panels = json.loads(text)["panels"]
        assert len({p["id"] for p in panels}) == len(panels) == 8
    else:
        for action in re.findall(r'action="(\w+)"', text):
            assert action in (
                "commit",
                "reset",
                "hold",
                "rollback",
                "propose",
                "reject",
                "quarantine",
            )
        assert set(re.findall(r'verdict="(\w+)"', text)) <= {"detected", "recall", "learn", "alarm"}

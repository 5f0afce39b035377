"""The bench: candidates in processes of their own, what they learned beside what it cost, and pacing."""

import json
from importlib.resources import files

import pytest

from tta.bundle import Bundle
from tta.errors import TtaError
from tta.runtime.bench import Setting, bench
from tta.runtime.bench_pace import pace
from tta.runtime.bench_process import Candidate
from tta.runtime.bench_turns import Tally

BUNDLE = Bundle(files("tta.demo") / "fashion.tta")
SMALL = {"rounds": 1, "block_s": 0.3, "steps": 2, "swaps": 4, "threads": 2}


@pytest.fixture(scope="module")
def found():
    setting = Setting("tent", batch=8, duty=0.5, fps=40.0, pace_s=1.0, **SMALL)
    return bench(BUNDLE, setting)


def test_every_candidate_is_a_ratio_to_plain_onnxruntime(found):
    for title in ("1 inference thread", "2 inference threads"):
        figures = found.figures[title]
        assert figures["plain"]["fps_ratio"] == figures["plain"]["cpu_ratio"] == 1
        assert "plain (A/A)" in figures
        for f in figures.values():
            assert 0 < f["p50_ms"] <= f["p95_ms"] <= f["p99_ms"]
            assert f["fps_ratio"] > 0 and f["cpu_ratio"] > 0


def test_adaptation_is_counted_beside_its_cost(found):
    one, every_core = (found.figures[f"{t}"] for t in ("1 inference thread", "2 inference threads"))
    for f in (one["loop, worker"], one["loop, every 8"], every_core["loop, duty 0.5"]):
        assert f["rounds"] > 0 and f["adapted_fps"] > 0 and f["commits_h"] > 0
    assert one["plain"]["adapted_fps"] == one["loop"]["commits_h"] == 0
    assert every_core["loop, duty 0.5"]["duty"] > 0


def test_steps_memory_and_pace_are_there(found):
    steps = found.figures["steps"]
    assert {name.rpartition(" ")[2] for name in steps if ", " in name} == {
        "tent",
        "bn_stats",
        "nhl",
    }
    memory = found.figures["memory"]
    assert memory["plain"]["peak_mib"] > 0 and len(memory["swapping"]["resident_mib"]) == 5
    paced = found.figures["paced"]
    assert {"plain", "plain (A/A)", "worker"} < set(paced)
    assert paced["worker"]["frames"] == 40 and "missed_share" in paced["worker"]


def test_figures_are_plain_json_and_tables_are_even(found):
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["setting"]["batch"] == 8
    for table in found.tables:
        assert table.rows and all(len(row) == len(table.columns) for row in table.rows)


def test_the_same_in_eager_torch_in_turn(tmp_path):
    from tta.runtime.bench_cost import eager, torch
    from tta.runtime.bench_report import Bench

    setting = Setting("tent", batch=4, steps=1, starts=1, vs="tests.models.mlp:factory")
    original = eager(setting, str(tmp_path))
    report = Bench("fashion", setting)
    from tests.bundles import bundle

    torch(report, bundle("mlp:factory"), original, setting, [])
    (pair,) = report.figures["torch"].values()
    assert pair["layers"] == len(bundle("mlp:factory").manifest.named("scale"))
    assert all(
        pair[side][k] > 0 for side in ("tta", "torch") for k in ("step_ms", "peak_mib", "start_s")
    )
    with Candidate("original", original) as candidate:
        assert candidate.ask("frames", seconds=0.1)["frames"] > 0


def test_a_candidate_that_cannot_run_says_why(tmp_path):
    with pytest.raises(TtaError, match=r"candidate 'gone' ended: .*no bundle at"):
        Candidate("gone", {"kind": "tta", "bundle": str(tmp_path / "none.tta")})


def test_a_pace_that_plain_inference_cannot_keep_is_refused(tmp_path):
    from tta.runtime.bench_report import Bench
    from tta.runtime.bench_speed import paced
    from tta.runtime.fold import fold

    plain = {"kind": "plain", "model": str(fold(BUNDLE, None, tmp_path / "m.onnx"))}
    with pytest.raises(TtaError, match="choose fewer --fps"):
        paced(Bench("", Setting()), BUNDLE, plain, Setting(fps=1e5))


class Time:
    """A clock that work and waiting move."""

    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


def test_pace_counts_what_comes_too_late():
    clock = Time()
    slow = {3: 0.15, 7: 0.06}  # frame 3 takes 1.5 periods beyond its work, so 4 begins late

    def frame(k, now):
        clock.pass_(slow.get(k, 0.02))

    found = pace(frame, 10.0, 30.0, 10, clock, clock.pass_, clock.pass_)
    assert found["missed"] == 2  # frame 3, and 4 which waited for it
    assert found["longest_wait_ms"] == pytest.approx(80)
    assert found["longest_ms"] == pytest.approx(180)
    assert found["seconds"] == pytest.approx(0.95) and found["frames"] == 10


def test_a_tally_sums_blocks():
    base, ours = Tally(), Tally()
    for tally, ms, rounds in ((base, 1.0, 0), (ours, 2.0, 3)):
        for _ in range(2):
            tally.add(
                {"frames": 10, "wall_s": 0.01 * ms, "cpu_s": 0.02 * ms, "ms": [ms] * 10,
                 "rounds": rounds, "commits": rounds, "worked_s": 0.02 * ms}
            )  # fmt: skip
    f = ours.figures(base, 8)
    assert f["fps_ratio"] == 0.5 and f["cpu_ratio"] == 2 and f["p99_ratio"] == 2
    assert f["adapted_fps"] == pytest.approx(3 * 8 / 0.04)
    assert f["commits_h"] == pytest.approx(3600 * 3 / 0.04)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"duty": 0.0}, "--duty is a share of the time above 0 and at most 1, but is 0"),
        ({"duty": 2.0}, "--duty is a share"),
        ({"duty": float("nan")}, "--duty is a share"),
        ({"block_s": 0.0}, "--block-s is above 0 s"),
        ({"commit_s": -1.0}, "--commit-s is at least 0 s"),
        ({"fps": -15.0}, "--fps is above 0"),
        ({"load": 1.5}, "--load is a share of the period"),
        ({"fps": 1.0, "pace_s": 0.5}, "less than one frame"),
        ({"fps": 15.0, "cpus": (4096,)}, "--cpus names core 4096, but this process may run on"),
    ],
)
def test_a_setting_that_nothing_can_be_measured_with(wrong, said):
    with pytest.raises(TtaError, match=said):
        Setting(**wrong)


def test_what_a_candidate_would_refuse_after_minutes_is_refused_at_once():
    with pytest.raises(TtaError, match="eager torch has tent and bn_stats, but not 'nhl'"):
        bench(BUNDLE, Setting("nhl", vs="tests.models.mlp:factory"))
    with pytest.raises(TtaError, match="no adapter"):
        bench(BUNDLE, Setting("tnet"))
    with pytest.raises(TtaError, match="two bundles are called 'fashion'"):
        bench(BUNDLE, Setting("tent"), [BUNDLE])


def test_a_candidate_that_was_killed_is_told():
    candidate = Candidate("gone", {"kind": "tta", "bundle": str(BUNDLE.path)})
    candidate._process.kill()
    candidate._process.wait()
    with pytest.raises(TtaError, match="candidate 'gone' ended: signal 9 ended it"):
        candidate.ask("memory")


LOUD = """
import sys
from tta.adapters.bn_stats import BnStats

print("hello from a module")


class Loud(BnStats):
    def adapt(self, state, batch, run):
        print("hello from a step")
        sys.stderr.write("x" * 300_000)
        return super().adapt(state, batch, run)
"""


def test_what_a_method_prints_is_no_answer(tmp_path, monkeypatch):
    (tmp_path / "loud_method.py").write_text(LOUD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    spec = {"kind": "tta", "bundle": str(BUNDLE.path), "adapter": "loud_method:Loud", "batch": 4}
    with Candidate("loud", spec) as candidate:
        assert len(candidate.ask("steps", n=1)["cpu_ms"]) == 1


def test_what_was_learned_before_the_blocks_does_not_count():
    tally = Tally(before={"rounds": 5, "commits": 5, "worked_s": 1.0})
    tally.add(
        {"frames": 10, "wall_s": 1.0, "cpu_s": 1.0, "ms": [1.0] * 10, "rounds": 5, "commits": 5,
         "worked_s": 2.0}
    )  # fmt: skip
    assert tally.figures(tally, 8)["adapted_fps"] == tally.figures(tally, 8)["commits_h"] == 0


def test_torch_must_have_the_layers_that_the_bundle_adapts(tmp_path):
    from tta.runtime.bench_cost import eager
    from tta.runtime.bench_process import EAGER

    setting = Setting("tent", batch=4, vs="tests.models.mlp:factory")
    spec = {"model": eager(setting, str(tmp_path))["torch"], "layers": ["layers.77"]}
    with pytest.raises(TtaError, match=r"ended: eager torch has no norm layer 'layers\.77'"):
        Candidate("torch", spec, EAGER)

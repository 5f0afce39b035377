"""Recordings: bounded, even or newest, whole files, and read back as they were served."""

import dataclasses
import json
import os
import threading

import numpy as np
import pytest

from tests.runtime.conftest import Images
from tta.bundle import Bundle
from tta.cli import main
from tta.errors import TtaError
from tta.runtime.loop import run
from tta.runtime.recorder import Recorder
from tta.runtime.recording import Recording

URI = "synthetic://?shape=28x28&frames={}&dtype=uint8&seed=2"


class Seen:
    def __init__(self):
        self.results = []

    def write(self, result):
        self.results.append(result)

    def close(self):
        pass


def recorded(bundle, folder, frames=40, sources=None, adapter="none", serve="stream", **options):
    recorder, seen = Recorder(folder, wait_s=60, **options), Seen()
    run(bundle, sources or URI.format(frames), adapter, [recorder, seen], serve=serve, batch=8)
    return recorder, seen.results


@pytest.mark.parametrize("serve", ["stream", "batch"])
def test_what_was_served_is_read_back(bundle, tmp_path, serve):
    _, results = recorded(bundle, tmp_path, adapter="bn_stats", serve=serve)
    recording = Recording(tmp_path)
    frames = recording.frames()
    assert [f.seq for f in frames] == list(range(40)) and recording.bundle.hash == bundle.hash
    for frame, result in zip(frames, results):
        answer = result.prediction
        assert np.array_equal(frame.answer, answer.probabilities)
        assert np.array_equal(frame.about["features"], answer.outputs["features"])
        assert (frame.state, frame.entropy, frame.confidence) == (
            answer.state, answer.entropy, answer.confidence,
        )  # fmt: skip
        assert np.array_equal(frame.reading(), result.frame.data) and frame.t_s == result.frame.t_s
        assert np.array_equal(recording.input(frame), result.x)  # made again from the reading
        assert frame.frame().meta == {
            k: v for k, v in result.frame.meta.items() if not isinstance(v, np.ndarray)
        }


def test_windows_are_kept_as_inputs(tmp_path):
    """A reading alone does not make them."""
    from importlib.resources import files

    bundle = Bundle(files("tta.demo") / "watch.tta")
    channels = bundle.manifest.preprocess["channels"]
    length = bundle.manifest.preprocess["length"]
    _, results = recorded(
        bundle, tmp_path, sources=f"synthetic://?shape={channels}&frames={4 * length}"
    )
    recording = Recording(tmp_path)
    frames = recording.frames()
    assert len(frames) == len(results) > 0
    for frame, result in zip(frames, results):
        assert np.array_equal(recording.input(frame), result.x) and frame.seq == result.frame.seq


def test_the_newest_are_kept(bundle, tmp_path):
    recorded(bundle, tmp_path, 30, keep=7, choose="last")
    assert [f.seq for f in Recording(tmp_path).frames()] == list(range(23, 30))


def test_a_sample_is_even(tmp_path, bundle):
    """Each of 40 frames is kept in about a quarter of the runs, the first as the last."""
    counts = np.zeros(40)
    given = Images(np.zeros((40, 28, 28), np.uint8))
    for seed in range(60):
        recorder = Recorder(tmp_path / str(seed), 10, seed=seed, wait_s=60)
        run(bundle, given, "none", recorder)
        names = [int(p.stem) for p in (tmp_path / str(seed) / "stream").glob("*.npz")]
        assert len(names) == 10
        counts[names] += 1
    halves = counts[:20].sum(), counts[20:].sum()
    assert abs(halves[0] - halves[1]) < 4 * np.sqrt(600 * 0.25)  # four standard deviations
    assert counts.min() > 0


def test_a_folder_goes_on_and_stays_bounded(bundle, tmp_path):
    recorded(bundle, tmp_path, 30, keep=12)
    recorded(bundle, tmp_path, 30, keep=12)
    recording = Recording(tmp_path)
    frames = recording.frames()
    assert (
        len(frames) == 12 and recording.about["runs"] == 2 and recording.about["seen"] == {"": 60}
    )
    assert {int(f.about["run"]) for f in frames} == {1, 2}
    recorded(bundle, tmp_path, 1, keep=5)
    assert len(Recording(tmp_path).frames()) == 5


def test_streams_have_folders_of_their_own(bundle, tmp_path):
    recorded(bundle, tmp_path, sources=[URI.format(9), URI.format(5)], keep=6)
    recording = Recording(tmp_path)
    assert recording.streams() == ["stream-0", "stream-1"]
    assert len(recording.frames("stream-0")) == 6 and len(recording.frames("stream-1")) == 5
    assert recording.frames("stream-1")[2].name == "stream-1/0000000002"


def test_another_bundles_recording_is_refused(bundle, tmp_path):
    recorded(bundle, tmp_path, 3)
    path = tmp_path / "recording.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "bundle": "0" * 64}))
    with pytest.raises(TtaError, match=r"records bundle 000000000000 .*: name another folder"):
        recorded(bundle, tmp_path, 3)
    with pytest.raises(
        TtaError, match=r"was recorded with bundle 0000.*say which it was with --bundle"
    ):
        Recording(tmp_path)
    path.write_text(json.dumps({**about, "bundle_path": "nowhere"}))
    with pytest.raises(TtaError, match=r"no bundle at nowhere.*--bundle"):
        Recording(tmp_path)
    assert len(Recording(tmp_path, str(bundle.path)).frames()) == 3
    newer = json.dumps({**about, "schema": 2})
    for text, said in (("{", "no readable recording"), (newer, "newer schema")):
        path.write_text(text)
        with pytest.raises(TtaError, match=said):
            Recording(tmp_path)
    with pytest.raises(TtaError, match=r"is no recording: tta run --record"):
        Recording(tmp_path / "stream")


def test_damaged_frames_are_left_out_and_named(bundle, tmp_path):
    recorded(bundle, tmp_path, 5)
    files = sorted((tmp_path / "stream").glob("*.npz"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:200])
    np.savez(files[2], data=np.zeros(3))
    recording = Recording(tmp_path)
    assert [f.seq for f in recording.frames()] == [3, 4]
    assert recording.damaged == [f.name for f in files[:3]]


def test_a_full_disk_stops_no_run(bundle, tmp_path, monkeypatch):
    real = os.replace

    def full(source, target):
        if str(target).endswith(".npz") and "0000000003" not in str(target):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    recorder, results = recorded(bundle, tmp_path, 10)
    assert len(results) == 10 and recorder.lost == 9
    assert "No space left" in recorder.said[0] and "9 frames were not recorded" in recorder.said[1]
    assert [f.seq for f in Recording(tmp_path).frames()] == [3]
    assert not list((tmp_path / "stream").glob(".*"))


def test_a_disk_that_does_not_keep_up_costs_frames_and_no_time(bundle, tmp_path, monkeypatch):
    block, real = threading.Event(), np.savez

    def slow(*args, **named):
        block.wait(60)
        real(*args, **named)

    monkeypatch.setattr(np, "savez", slow)
    recorder = Recorder(tmp_path, choose="last", wait_s=0)

    class Opener(Seen):
        def write(self, result):
            super().write(result)
            if len(self.results) == 40:
                block.set()

    seen = Opener()
    run(bundle, URI.format(40), "none", [recorder, seen])
    kept = len(Recording(tmp_path).frames())
    assert len(seen.results) == 40 and recorder.lost == 40 - kept > 0
    assert f"{recorder.lost} frames were not recorded" in recorder.said[0]


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(TtaError, match="keeps 1 frame or more, uniform, last or all"):
        Recorder(tmp_path, 0)
    with pytest.raises(TtaError, match="'some'"):
        Recorder(tmp_path, 1, "some")


def test_the_command_records(bundle, tmp_path, capsys):
    call = ["run", str(bundle.path), URI.format(20), "--adapter", "none", "--sink", "null"]
    assert main([*call, "--record", str(tmp_path / "r"), "--record-keep", "8"]) == 0
    assert len(Recording(tmp_path / "r").frames()) == 8
    assert main(call) == 0 and not (tmp_path / "stream").exists()
    capsys.readouterr()


def test_recorded_frames_are_values(bundle, tmp_path):
    recorded(bundle, tmp_path, 1)
    [frame] = Recording(tmp_path).frames()
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.stream = "other"

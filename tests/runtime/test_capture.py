"""A captured source whose process is killed, hangs, dies at import, refuses, floods or changes size."""

import itertools
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tta.errors import MissingExtraError, SourceError
from tta.records import Frame
from tta.runtime.backoff import Backoff
from tta.runtime.capture import Capture
from tta.runtime.newest_frame import NewestFrame
from tta.runtime.source_uri import open_source

MODULE = """
import pathlib, time
import numpy as np
from tta.errors import MissingExtraError, SourceError
from tta.records import Frame

class Fake:
    live = True
    captured = True
    errors, last_error = 0, ""

    def __init__(self, rest="", *, mode="plain", pace=0.002, count=0, mark=""):
        self.mode, self.pace, self.count, self.mark = mode, float(pace), int(count), mark

    def __enter__(self):
        path = pathlib.Path(self.mark) if self.mark else None
        again = path is not None and path.exists()
        if path is not None:
            path.touch()
        if self.mode == "refuse":
            raise SourceError("there is no camera here")
        if self.mode == "refuse-once" and not again:
            raise SourceError("not yet")
        if self.mode == "extra":
            raise MissingExtraError("camera", "fake://", "cv2")
        if self.mode == "slow-open":
            time.sleep(60)
        self.hang = self.mode == "hang" or (self.mode == "hang-once" and not again)
        return self

    def __exit__(self, *_): ...

    def __iter__(self):
        n = 0
        while not self.count or n < self.count:
            if self.hang and n == 3:
                time.sleep(60)
            if self.mode == "bug" and n == 2:
                raise RuntimeError("a driver's own")
            if self.mode == "bad":
                self.errors, self.last_error = n, f"part {n} is cut off"
            size = 4 if self.mode != "grow" or n < 3 else 6
            data = np.full((size, 5, 3), n % 250, np.uint8)
            yield Frame(data, time.monotonic(), n, "fake", {"gain": np.float32(2)})
            n += 1
            time.sleep(self.pace)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake_camera.py").write_text(MODULE)
    (tmp_path / "broken_camera.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def make(mode="plain", **options):
        source = open_source("fake_camera:Fake", mode=mode, **options)
        if isinstance(source, Capture):
            source.backoff = Backoff(0.01, 0.02)
        return source

    return make


def take(source, count):
    return list(itertools.islice(source, count))


def test_frames_come_whole_and_the_dropped_ones_are_counted(fake):
    with fake(pace=0.001) as source:
        frames = []
        for frame in itertools.islice(source, 20):
            frames.append(frame)
            time.sleep(0.01)
        assert source.pid != os.getpid()
    seqs = [frame.seq for frame in frames]
    assert seqs == sorted(set(seqs)) and frames[-1].meta == {"gain": 2.0}
    for frame in frames:
        assert frame.data.shape == (4, 5, 3) and (frame.data == frame.seq % 250).all()
    missed = seqs[-1] - seqs[0] + 1 - len(seqs)
    assert 0 < missed <= source.counts.dropped and source.counts.frames == 20


def test_a_killed_process_is_replaced(fake, caplog):
    with fake() as source:
        before = take(source, 3)
        os.kill(source.pid, signal.SIGKILL)
        after = next(f for f in source if source.counts.deaths)
        first_after = source.counts.connections
    assert first_after == 2 and source.counts.deaths == 1
    assert after.seq > before[-1].seq + 1  # a gap, so that no window spans it
    assert "ended by SIGKILL" in caplog.text and "frames again after" in caplog.text


def test_a_stopped_process_is_killed_at_the_deadline(fake):
    with fake(deadline_s=0.3) as source:
        take(source, 2)
        stopped = source.pid
        os.kill(stopped, signal.SIGSTOP)
        next(f for f in source if source.counts.hangs)
        assert source.pid != stopped and source.counts.hangs == 1
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)


def test_a_source_that_hangs_is_killed_and_comes_back(fake, tmp_path):
    told = []
    with fake("hang-once", mark=str(tmp_path / "m"), deadline_s=0.3) as source:
        source.log.tell = told.append
        next(f for f in source if source.counts.hangs)
    assert source.counts.hangs == 1 and source.counts.connections == 2
    assert any("gave no frame for 0.3 s: its capture process is killed" in text for text in told)


def test_a_source_that_does_not_open_in_time(fake):
    source = fake("slow-open", open_s=2.0)
    with pytest.raises(SourceError, match="did not open for 2 s"):
        source.__enter__()
    assert source.counts.hangs == 1 and source.pid is None


def test_a_process_that_dies_at_import(fake, tmp_path):
    source = open_source("broken_camera:Fake")
    (tmp_path / "broken_camera.py").write_text(
        "import os, sys\nsys.stderr.write('no driver\\n')\nos._exit(7)\n"
    )
    with pytest.raises(
        SourceError, match=r"capture process of .* ended with status 7 \(no driver\)"
    ):
        source.__enter__()
    assert source.counts.deaths == 1


def test_a_refusal_is_the_error_that_the_source_raised(fake):
    with pytest.raises(SourceError, match="there is no camera here"):
        fake("refuse").__enter__()
    with pytest.raises(MissingExtraError, match=r"tta-edge\[camera\]"):
        fake("extra").__enter__()


def test_insisting_on_the_first_opening(fake, tmp_path):
    with fake("refuse-once", mark=str(tmp_path / "m"), insist=True) as source:
        assert len(take(source, 2)) == 2
    assert source.counts.errors == 1 and source.counts.frames == 2


def test_an_error_in_mid_stream(fake):
    with (
        fake("bug", reconnect=False) as source,
        pytest.raises(SourceError, match="RuntimeError: a driver's own"),
    ):
        take(source, 9)
    with fake("bug") as source:
        next(f for f in source if source.counts.errors == 3)
    assert source.counts.connections == 4


def test_giving_up(fake, tmp_path):
    with fake("refuse", insist=True, give_up_s=0.2) as source:
        with pytest.raises(
            SourceError, match=r"gave no frame for 0.2 s; the last try: there is no camera"
        ):
            next(iter(source))
        assert source.counts.errors >= 2


def test_a_source_that_ends(fake):
    with fake(count=3, reconnect=False) as source:
        assert [f.seq for f in source][-1] == 2
    assert source.counts.ends == 1


def test_a_change_of_size_and_bad_readings_are_said(fake, caplog):
    with fake("grow", pace=0.01) as source:
        next(f for f in source if f.data.shape[0] == 6)
    assert source.counts.resized == 1 and "frames are ((6, 5, 3)" in caplog.text
    with fake("bad") as source:
        next(f for f in source if source.errors)
    assert "is cut off" in caplog.text and source.tally()["bad"] == source.errors


def test_messages_that_repeat_are_told_at_powers_of_two(fake, caplog):
    source = fake()
    with caplog.at_level(logging.WARNING, "tta.sources"):
        for _ in range(9):
            source.log.say("the same")
    assert [r.getMessage().rpartition("the same")[2] for r in caplog.records] == [
        "",
        " (2 times)",
        " (4 times)",
        " (8 times)",
    ]


def test_closing_from_outside_ends_the_frames(fake):
    with fake() as source:
        frames = iter(source)
        next(frames)
        source.close()
        assert len(list(frames)) <= 1


def test_the_process_ends_with_its_parent(fake, tmp_path):
    code = (
        "import os\nfrom tta.runtime.source_uri import open_source\n"
        "s = open_source('fake_camera:Fake', mode='hang').__enter__()\n"
        "print(s.pid, flush=True)\nos._exit(0)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    pid = int(done.stdout)
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                gone = stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            gone = True
        if gone:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the capture process outlived the loop")


def test_a_wall_clock_that_starts_in_1970_and_jumps_back_changes_nothing(fake, monkeypatch):
    walls = itertools.cycle([600.0, 2.0, 1e9, -5.0])
    monkeypatch.setattr(time, "time", lambda: next(walls))
    with fake(process=False) as source:
        times = [frame.t_s for frame in take(source, 8)]
    with fake() as captured:
        times += [frame.t_s for frame in take(captured, 8)]
    assert times == sorted(times) and 0 < times[-1] - times[0] < 60


def test_process_false_stays_here(fake):
    assert type(fake(process=False)).__name__ == "Fake"
    assert type(open_source("fake_camera:Fake?process=false&mode=bad")).__name__ == "Fake"


def test_options_of_both_are_typed(fake):
    source = open_source("fake_camera:Fake?deadline_s=2.5&insist=true&count=3")
    assert source._deadline_s == 2.5 and source._insist and source.opener.options["count"] == 3
    with pytest.raises(SourceError, match="deadline_s, open_s and give_up_s must be positive"):
        open_source("fake_camera:Fake?deadline_s=0")


def test_no_descriptor_is_left(fake):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with fake() as source:
            take(source, 2)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_frame_is_torn_while_the_writer_races():
    memory = NewestFrame()
    code = (
        "import sys, numpy as np\nfrom tta.records import Frame\n"
        "from tta.runtime.newest_frame import NewestFrame\n"
        "m = NewestFrame(int(sys.argv[1]))\n"
        "for n in range(1500): m.put(Frame(np.full((90, 100, 3), n % 256, np.uint8), 0.0, n))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(memory.fd)], pass_fds=(memory.fd,), cwd=os.getcwd()
    )
    numbers = []
    while writer.poll() is None or memory.newer():
        if (taken := memory.take()) is not None:
            assert (taken.frame.data == taken.frame.seq % 256).all()
            numbers.append(taken.number)
    assert writer.returncode == 0 and numbers == sorted(numbers) and numbers[-1] == 1500
    memory.close()


def test_backoff_grows_is_bounded_and_jitters():
    low, high = Backoff(uniform=lambda: 0.0), Backoff(uniform=lambda: 1.0)
    assert [low.next_s() for _ in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert [high.next_s() for _ in range(70)][-1] == 30
    assert len({Backoff().next_s() for _ in range(9)}) > 1


def test_a_frame_without_numbers_is_refused():
    memory = NewestFrame()
    with pytest.raises(Exception, match="holds <U1 values; expected numbers"):
        memory.put(Frame(np.array(["a"]), 0.0, 0))
    memory.close()

"""Signals, the configuration that changes while a run goes on, and what systemd hears of it."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import Images
from tta.commands.log import decisions, opened
from tta.errors import TtaError
from tta.runtime import steward as module
from tta.runtime.durable import Durable
from tta.runtime.journal import Journal
from tta.runtime.live import LIVE
from tta.runtime.loop import run
from tta.runtime.notify import Notifier
from tta.runtime.steward import Steward
from tta.watch import AlarmPolicy

BUNDLE = str(files("tta.demo") / "fashion.tta")
TOLD = {
    "governor": "auto", "every": 0, "commit_s": 0.0, "duty": None, "false_alarms": None,
    "durable_s": 60.0, "batch": 16, "serve": "stream", "sink": ["null"],
}  # fmt: skip


class Acting(Images):
    """Images before some of which something happens; live, so that Ctrl-C is their end."""

    def __init__(self, images, acts):
        super().__init__(images, live=True)
        self.acts = acts

    def __iter__(self):
        for k, frame in enumerate(super().__iter__()):
            self.acts.get(k, lambda: None)()
            yield frame


def hang_up():
    signal.raise_signal(signal.SIGHUP)


def end():
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def steered(bundle, clean):
    """A run whose configuration becomes another at frame 5: what was said, and its stream."""

    def call(told=(), new=(), keepers=(), frames=12, **options):
        said, before = [], argparse.Namespace(**{**TOLD, **dict(told)})

        def again():
            if isinstance(new, Exception):
                raise new
            return argparse.Namespace(**{**vars(before), **dict(new)})

        with Steward(before, again, say=said.append) as steward:
            steward.keepers = keepers
            options.setdefault("adapt", "inline")
            source = Acting(clean[:frames], {5: hang_up})
            (stream,) = run(
                bundle, source, "bn_stats", list(keepers), beside=steward.beside, **options
            )
        return said, stream, steward

    return call


def test_keys_that_can_change_are_changed_and_others_are_named(steered):
    said, stream, steward = steered(new={"governor": "shadow", "commit_s": 5.0, "batch": 32})
    assert said == [
        "the configuration was read again: changed governor auto → shadow, commit_s 0 → 5; "
        "a restart is needed for batch 16 → 32"
    ]
    assert (stream.guard.mode, stream.commit_s, stream.batch) == ("shadow", 5.0, 16)
    assert (steward.told.commit_s, steward.told.batch) == (5.0, 16)


def test_nothing_new(steered):
    assert steered()[0] == ["the configuration was read again: nothing changed"]


def test_a_broken_file_changes_nothing_and_is_said(steered):
    said, stream, _ = steered(new=TtaError("tta.toml: there is no key comit_s (= 3)"))
    assert said == ["the configuration is as it was: tta.toml: there is no key comit_s (= 3)"]
    assert stream.counts.frames == 12


def test_one_value_that_cannot_be_changes_nothing_at_all(steered):
    said, stream, _ = steered(new={"commit_s": 5.0, "false_alarms": "1/fortnight"})
    assert said[0].startswith("the configuration is as it was: no unit 'fortnight'")
    assert stream.commit_s == 0.0


@pytest.mark.parametrize(
    ("told", "new", "options", "why"),
    [
        ({}, {"every": 4}, {}, "every 0 → 4 (to or from 0)"),
        ({}, {"duty": 0.5}, {}, "duty none → 0.5 (to or from none)"),
        ({"serve": "batch"}, {"commit_s": 2.0}, {"serve": "batch"}, "(batches are served)"),
        ({"record": "d", "record_choose": "all"}, {"commit_s": 2.0}, {}, "recorded for tta replay"),
        ({}, {"source": ["rtsp://me:secret@x/"]}, {}, "source none → [rtsp://***@x/]"),
    ],
)
def test_what_needs_a_restart_is_said_with_its_reason(steered, told, new, options, why):
    said, stream, _ = steered(told, new, **options)
    assert "a restart is needed for" in said[0] and why in said[0], said
    assert stream.commit_s == 0.0 and stream.every == 0


def test_every_key_of_the_list_changes_something(steered, tmp_path):
    durable = Durable(tmp_path / "states")
    said, stream, _ = steered(
        {"every": 4, "duty": 1.0},
        {"every": 8, "duty": 0.9, "durable_s": 5.0, "false_alarms": "1/500 frames",
         "governor": "frozen", "commit_s": 1.5},
        [durable], every=4, duty=1.0, adapt="auto", alarms=AlarmPolicy(warm_up=0),
    )  # fmt: skip
    assert all(f"{key} " in said[0] for key in LIVE) and "restart" not in said[0]
    assert (stream.every, stream.commit_s, stream.guard.mode) == (8, 1.5, "frozen")
    assert durable.every_s == 5.0 and stream.monitor.watch.rate == 1 / 500


def test_a_budget_moves_the_thresholds_and_none_is_the_bundle_s(bundle, model):
    from tta.budget import Budget
    from tta.runtime.stream import Stream

    watch = Stream(model, "none", alarms=AlarmPolicy(warm_up=0)).monitor.watch
    at_first = {name: gauge.threshold for name, gauge in watch.gauges.items()}
    watch.tolerate(Budget.parse("1/50 frames"))
    assert any(g.threshold < at_first[n] for n, g in watch.gauges.items())
    watch.tolerate(None)
    assert {name: gauge.threshold for name, gauge in watch.gauges.items()} == at_first


def test_the_audit_log_has_it(steered, tmp_path):
    journal = Journal(tmp_path / "a.db")
    steered(new={"commit_s": 5.0}, keepers=[journal])
    db = opened(str(tmp_path / "a.db"))
    (row,) = decisions(db, None, None, "configure")
    db.close()
    assert "changed commit_s 0 → 5" in row["reason"] and row["seq"] == 5
    assert row["before"] == row["after"]


def test_a_worker_s_round_is_settled_before_and_logged(bundle, drifted, tmp_path):
    journal, said = Journal(tmp_path / "a.db"), []
    told = argparse.Namespace(**TOLD)
    again = lambda: argparse.Namespace(**{**TOLD, "governor": "off"})  # noqa: E731
    acts = {k: hang_up for k in (16, 17)}
    with Steward(told, again, say=said.append) as steward:
        steward.keepers = [journal]
        (stream,) = run(
            bundle, Acting(drifted[:18], acts), "tent", [journal], adapt="worker",
            governor="always", buffer="batch", beside=steward.beside,
        )  # fmt: skip
    db = opened(str(tmp_path / "a.db"))
    rows = [row["action"] for row in decisions(db, None, None, None)]
    db.close()
    assert rows == ["commit", "configure", "configure"] and stream.counts.commits == 1
    assert stream.guard.mode == "off" and "nothing changed" in said[1]


# SIGTERM


def test_sigterm_ends_the_run_between_two_frames(bundle, clean):
    before = signal.getsignal(signal.SIGTERM)
    with Steward(argparse.Namespace(**TOLD), None) as steward:
        source = Acting(clean[:40], {9: end, 10: end})
        (stream,) = run(bundle, source, "none", beside=steward.beside)
    assert steward.stopped and stream.counts.frames == 10 and source.closed
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_source_that_waits_without_beating_is_interrupted(bundle, clean, monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    acts = {3: lambda: (end(), time.sleep(60))}
    with Steward(argparse.Namespace(**TOLD), None) as steward:
        (stream,) = run(bundle, Acting(clean[:9], acts), "none", beside=steward.beside)
    assert steward.stopped and stream.counts.frames == 3


def test_while_it_ends_a_signal_changes_nothing(bundle, clean):
    class Late(Images):
        def __exit__(self, *error):
            end()
            super().__exit__(*error)

    with Steward(argparse.Namespace(**TOLD), None) as steward:
        source = Late(clean[:5])
        (stream,) = run(bundle, source, "none", beside=steward.beside)
    assert stream.counts.frames == 5 and source.closed and not steward.stopped


def test_before_the_run_began_it_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt), Steward(argparse.Namespace(**TOLD), None):
        end()


def test_without_a_file_a_hang_up_is_what_it_was():
    before = signal.getsignal(signal.SIGHUP)
    with Steward(argparse.Namespace(**TOLD), None):
        assert signal.getsignal(signal.SIGHUP) is before


def test_a_terminal_that_went_ends_the_run(bundle, clean, monkeypatch):
    there = [True, False]
    monkeypatch.setattr(module, "_has_terminal", lambda: there.pop(0))
    with Steward(argparse.Namespace(**TOLD), lambda: None) as steward:
        (stream,) = run(bundle, Acting(clean[:20], {5: hang_up}), "none", beside=steward.beside)
    assert steward.stopped and stream.counts.frames == 6


# As a process


def wait_for(path, what):
    until = time.monotonic() + 60
    while not (path.exists() and what in path.read_text()):
        assert time.monotonic() < until, path.exists() and path.read_text()
        time.sleep(0.02)


def test_a_run_is_steered_from_outside(tmp_path):
    with np.load(files("tta.demo") / "fashion_test.npz") as data:
        np.savez(tmp_path / "data.npz", images=data["images"][:2000])
    file, err = tmp_path / "tta.toml", tmp_path / "err"
    text = (
        f'bundle = "{BUNDLE}"\nsource = "slow_source:Slow"\nsink = "jsonl:out.jsonl"\n'
        'state_dir = "states"\nsave_state = "end"\nlog = "a.db"\nadapt = "inline"\n'
        'adapter = "tent"\ngovernor = "always"\nbuffer = "batch"\n'
    )
    (tmp_path / "slow_source.py").write_text(
        "import itertools, time\nimport numpy as np\nfrom tta.records import Frame\n"
        "class Slow:\n    live = True\n    def __enter__(self): return self\n"
        "    def __exit__(self, *_): ...\n    def __iter__(self):\n"
        "        images = np.load('data.npz')['images']\n"
        "        for k in itertools.count():\n"
        "            yield Frame(images[k % 2000], k / 100, k, 'slow')\n"
        "            time.sleep(0.002)\n"
    )
    file.write_text(text)
    with err.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tta", "run", "--config", str(file), "--commit-s", "0.1"],
            cwd=tmp_path, stderr=stderr, stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    try:
        wait_for(tmp_path / "out.jsonl", '"seq": 31')
        file.write_text(text + "durable_s = 1\ncommit_s = 9\n")
        process.send_signal(signal.SIGHUP)
        wait_for(err, "changed durable_s 60 → 1")
        file.write_text(text + "durable_s = -1\n")
        process.send_signal(signal.SIGHUP)
        wait_for(err, "as it was")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    said = err.read_text()
    assert "commit_s" not in said  # the command line's wins, as before
    assert "durable_s must be a number of at least 0, but is -1" in said
    assert "commits" in said and (tmp_path / "end").is_file()
    assert list((tmp_path / "states" / "stream").glob("*.safetensors"))


# systemd


@pytest.fixture
def systemd(tmp_path):
    """A stand-in for the end of NOTIFY_SOCKET: the datagrams that came."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)

        def datagrams():
            found = []
            while True:
                try:
                    found.append(heard.recv(4096).decode().splitlines())
                except BlockingIOError:
                    return found

        yield str(tmp_path / "notify"), datagrams


def test_systemd_hears_ready_watchdog_reload_and_stopping(systemd, bundle, clean):
    path, datagrams = systemd
    told = argparse.Namespace(**TOLD)
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "4"})
    with Steward(told, lambda: told, notifier=notifier, say=lambda s: None) as steward:
        run(bundle, Acting(clean[:6], {3: hang_up}), "none", beside=steward.beside)
    found = datagrams()
    assert found[0] == ["READY=1", "STATUS=0 frames, 0 commits, governor auto"]
    pings = [lines for lines in found if lines[0] == "WATCHDOG=1"]
    assert len(pings) == 7 and pings[-1][1] == "STATUS=6 frames, 0 commits, governor auto"
    (again,) = [k for k, lines in enumerate(found) if lines[0] == "RELOADING=1"]
    assert found[again][1].startswith("MONOTONIC_USEC=") and found[again + 1][0] == "READY=1"
    assert found[-1][0] == "STOPPING=1" and found[-1][1].startswith("STATUS=6 frames")


def test_the_status_says_that_no_frame_comes():
    now = [0.0]
    with Steward(argparse.Namespace(**TOLD), None, clock=lambda: now[0]) as steward:
        assert steward.status() == "0 frames, 0 commits, governor "
        now[0] = 70.4
        assert steward.status().endswith("governor ; no frame for 70 s")


def test_a_loop_that_hangs_does_not_ping(systemd, bundle, clean):
    path, datagrams = systemd
    counted = []
    acts = {4: lambda: (datagrams(), time.sleep(0.05), counted.extend(datagrams()))}
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "4"})
    with Steward(argparse.Namespace(**TOLD), None, notifier=notifier) as steward:
        run(bundle, Acting(clean[:6], acts), "none", beside=steward.beside)
    assert counted == [] and len(datagrams()) > 0


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 5.0),
        ({"WATCHDOG_USEC": "600000000"}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({}, 10.0),
    ],
)
def test_how_often_it_pings(systemd, environment, every_s):
    notifier = Notifier({"NOTIFY_SOCKET": systemd[0], **environment})
    assert notifier.every_s == every_s and notifier.due
    notifier.ping("x")
    assert not notifier.due
    notifier.close()


def test_an_abstract_address_is_one():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0tta-test-{os.getpid()}")
        notifier = Notifier({"NOTIFY_SOCKET": f"@tta-test-{os.getpid()}"})
        notifier.tell("READY=1")
        assert heard.recv(100) == b"READY=1"
        notifier.close()


def test_nobody_listens(capsys, tmp_path):
    silent = Notifier({})
    assert not silent.due
    silent.tell("READY=1")
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.ping("x")
    gone.ping("y")
    gone.close()
    assert capsys.readouterr().err.count("systemd does not hear from this run") == 1

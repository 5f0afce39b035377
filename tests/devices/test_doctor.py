"""The doctor: each fault is named by the right line at the right level, and its cure heals the board."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.boards import BUNDLE, Board
from tests.devices.faults import CPU, CUDA, FAULTS, broken_cuda, jetson, session
from tta import registry
from tta.cli import main
from tta.commands.doctor import examination
from tta.devices.doctor import packages
from tta.devices.examination import examine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def board(tmp_path, monkeypatch):
    return Board(tmp_path, monkeypatch)


def test_a_healthy_board_has_nothing_to_complain_of(board):
    found = list(examination(board.subject()))
    assert [(name, f.level, f.fact) for name, f in found if f.level != "ok"] == []
    checks = {
        *registry.names("tta.devices.doctor"),
        *registry.names("tta.runtime.doctor"),
    }
    assert {name for name, _ in found} >= checks - {"power"}  # it has no say on a Pi 4
    assert any("rpi4" in f.fact for name, f in found if name == "device")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_its_cure_heals(board, name):
    fault = FAULTS[name]
    fault.breaks(board)
    found = board.findings(fault.check)
    wrong = [f for f in found if f.level != "ok"]
    named = [f for f in wrong if re.search(fault.fact, f.fact)]
    assert [f.level for f in named] == [fault.level], found
    assert re.search(fault.cure, named[0].cure), named[0].cure
    assert all(f.cure for f in wrong)
    fault.heals(board)
    assert [f for f in board.findings(fault.check) if f.level != "ok"] == []


def test_there_are_faults_for_every_check():
    checks = {*registry.names("tta.devices.doctor"), *registry.names("tta.runtime.doctor")}
    assert {fault.check for fault in FAULTS.values()} == checks
    assert len(FAULTS) >= 25


def test_a_broken_provider_leaves_frames_served_by_the_cpu(board):
    broken_cuda(board, fails=[CUDA])
    levels = {f.fact.split()[0]: f.level for f in board.findings("placement")}
    assert levels == {"cuda": "fail", "cpu": "ok"}


def test_nodes_are_counted_where_onnxruntime_does_not_say(board, monkeypatch):
    from tta.runtime.doctor import placement

    (told,) = board.findings("placement")
    assert re.fullmatch(r"cpu runs (\d+) of \1 nodes", told.fact)
    name = "get_provider_graph_assignment_info"
    for owner in placement.ort.InferenceSession.__mro__:  # as in an older onnxruntime
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
    (profiled,) = board.findings("placement")
    assert re.fullmatch(r"cpu runs (\d+) of \1 nodes", profiled.fact)
    monkeypatch.setattr(placement, "_profiled", lambda session: {})
    (unknown,) = board.findings("placement")
    assert unknown.level == "ok" and "is not known" in unknown.fact


def test_nodes_that_a_provider_leaves_to_the_cpu_are_told(board, monkeypatch):
    from collections import Counter

    from tta.runtime.doctor import placement

    jetson(board)
    session(board)
    nodes = {CUDA: Counter(Conv=9), CPU: Counter(Shape=2, Gather=1)}
    monkeypatch.setattr(placement, "_assigned", lambda session: nodes)
    cuda = board.findings("placement")[0]
    assert (cuda.level, cuda.fact) == (
        "ok",
        "cuda runs 9 of 12 nodes, the CPU runs 2 Shape, 1 Gather",
    )
    nodes[CPU]["Resize"] = 30
    cuda = board.findings("placement")[0]
    assert cuda.level == "warn" and "9 of 42 nodes, the CPU runs 30 Resize" in cuda.fact


def test_a_check_that_breaks_is_a_finding(board, monkeypatch):
    monkeypatch.setattr("tta.devices.doctor.disk.check", lambda subject: 1 / 0)
    found = dict(examine("tta.devices.doctor", board.subject()))
    assert found["disk"].level == "warn" and "ZeroDivisionError" in found["disk"].fact


def test_an_empty_root_is_survived(board, tmp_path):
    """No /proc, no /sys, no /dev, no programs: said, and never an exception."""
    board.set(root=tmp_path / "nothing", path=str(tmp_path / "nothing"))
    board.device = "rpi4"
    found = list(examine("tta.devices.doctor", board.subject()))
    assert not [f.fact for _, f in found if "this check broke" in f.fact]
    assert {"memory", "temperature", "throttling"} <= {n for n, f in found if f.level == "warn"}


def test_trips_of_the_kernel_count_before_the_profile(board):
    zone = "/sys/class/thermal/thermal_zone0"
    board.write(f"{zone}/trip_point_0_type", "passive")
    board.write(f"{zone}/trip_point_0_temp", "50000")
    (found,) = board.findings("temperature")
    assert found.level == "fail" and "from 50 °C on" in found.fact


def test_the_firmware_tells_through_the_kernel_where_vcgencmd_is_absent(board):
    board.remove("/bin/vcgencmd")
    board.write("/sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    assert {f.level for f in board.findings("throttling")} == {"fail"}


def test_floors_are_those_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    for name, oldest in packages.NEEDED.items():
        assert f'"{name}>={".".join(map(str, oldest))}"' in text


def test_the_command_prints_json_and_its_status_says_whether_all_is_well(capsys):
    status = main(["doctor", BUNDLE, "--json"])
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert status == (1 if report["failed"] else 0)
    assert {"check", "level", "fact", "cure"} == set(report["findings"][0])
    assert [f["fact"] for f in report["findings"] if f["check"] == "bundle"]
    assert ("level fail" in err) == bool(report["failed"])


def test_a_bad_bundle_fails_the_command(capsys, tmp_path):
    assert main(["doctor", str(tmp_path / "none.tta")]) == 1
    out, err = capsys.readouterr()
    assert "fail bundle" in out and "-> name the folder" in out
    assert err.startswith("tta: ") and "bundle" in err and err.count("\n") == 1


def test_an_unknown_device_is_refused(capsys):
    assert main(["doctor", "--device", "rpi44"]) == 1
    assert "known: rpi4" in capsys.readouterr().err


def test_without_numpy_the_doctor_runs_and_other_commands_say_so(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ModuleNotFoundError(\"No module named 'numpy'\")")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    def tta(*words):
        command = [sys.executable, "-m", "tta", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    done = tta("doctor", BUNDLE)
    assert done.returncode == 1
    assert "fail packages    numpy is not installed" in done.stdout
    assert "-> pip install 'numpy>=1.24'" in done.stdout
    assert "providers and bundle were not examined" in done.stdout
    done = tta("run", BUNDLE, "0", "--adapter", "none")
    assert done.returncode == 1 and "tta doctor says what cures it" in done.stderr

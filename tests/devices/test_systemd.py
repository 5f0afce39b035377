"""The unit of a run: what it may touch follows from what the run is told."""

import shutil
import subprocess
import sys

import pytest

from tta import registry
from tta.devices.systemd import LOCAL, Needs, needs, quoted, unit

ANALYZE = shutil.which("systemd-analyze")
installed = pytest.mark.skipif(
    ANALYZE is None, reason="no systemd-analyze: tests/recipes/service-tools.sh"
)


def lines(text, name):
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


@pytest.mark.parametrize(
    ("source", "devices", "groups", "modules"),
    [
        ("0", ["char-video4linux rw"], ["video"], ["videodev"]),
        ("camera://1?fps=5", ["char-video4linux rw"], ["video"], ["videodev"]),
        ("/dev/video2", ["char-video4linux rw"], ["video"], ["videodev"]),
        ("v4l2:///dev/video0?width=64", ["char-video4linux rw"], ["video"], ["videodev"]),
        ("serial:///dev/ttyACM0?baud=9600", ["char-ttyACM rw"], ["dialout"], ["cdc_acm"]),
        ("serial:///dev/ttyUSB1", ["char-ttyUSB rw"], ["dialout"], ["usbserial"]),
        ("serial:///dev/ttyAMA0", ["char-ttyAMA rw"], ["dialout"], []),
        ("serial:///dev/ttyTHS1", ["/dev/ttyTHS1 rw"], ["dialout"], []),
        (
            "serial:///dev/serial/by-id/usb-Arduino-if00",
            ["char-ttyACM rw", "char-ttyUSB rw"], ["dialout"], ["cdc_acm", "usbserial"],
        ),
        ("dir:///srv/photos?watch=true", [], [], []),
        ("rtsp://10.0.0.7/live", [], [], []),
    ],
)  # fmt: skip
def test_a_source_opens_its_own_devices_and_no_more(source, devices, groups, modules):
    found = needs([source], ["CPUExecutionProvider"])
    assert (found.devices, found.groups, found.modules) == (devices, groups, modules)
    assert not found.open and not found.compiles


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("rtsp://10.0.0.7/live", True), ("https://cam/x", True), ("mqtt://host/t", True),
        ("serial://socket://10.0.0.7:99", True), ("my_pkg.cam:Mine", True), ("0", False),
        ("serial:///dev/ttyACM0", False), ("sim://fashion", False),
    ],
)  # fmt: skip
def test_who_stays_here_gets_no_network(source, network):
    text = unit("tta", ["/bin/true"], needs([source], ["cpu"], ["jsonl:/var/lib/tta/o", "null"]))
    assert needs([source], ["cpu"]).network is network
    assert ("AF_INET" in text) is network and ("IPAddressDeny=any" in text) is not network
    assert ("network-online.target" in text) is network


@pytest.mark.parametrize(
    ("sink", "network"),
    [("my_pkg.out:Sink", True), ("mqtt://10.0.0.2/tta", True), ("prometheus", True),
     ("prometheus:9100", True), ("live?every_s=60", False), ("jsonl:/var/lib/tta/o", False)],
)  # fmt: skip
def test_a_sink_that_talks_gets_the_network(sink, network):
    assert needs(["0"], ["cpu"], [sink]).network is network


def test_the_list_of_sinks_that_stay_here_is_of_sinks_that_there_are():
    assert set(LOCAL) <= set(registry.names("tta.runtime.sinks"))


def test_no_device_at_all_is_private():
    assert lines(unit("tta", ["/bin/true"], needs(["sim://fashion"], [])), "PrivateDevices") == [
        "yes"
    ]
    text = unit("tta", ["/bin/true"], needs(["0"], []))
    assert "PrivateDevices" not in text and lines(text, "DevicePolicy") == ["closed"]


@pytest.mark.parametrize(
    ("sources", "providers"), [(["csi://0"], ["cpu"]), (["0"], ["cuda", "cpu"])]
)
def test_what_cannot_be_listed_is_left_open_and_says_why(sources, providers):
    text = unit("tta", ["/bin/true"], needs(sources, providers))
    assert "# Devices are left open: " in text and "DevicePolicy" not in text
    assert "MemoryDenyWriteExecute" not in text


def test_the_loop_is_watched_and_nobody_is_root():
    text = unit("cam", ["/opt/tta/bin/tta", "run", "--config", "/etc/t ta.toml"], needs(["0"], []))
    for name, value in {
        "Type": "notify", "Restart": "on-failure", "KillMode": "mixed", "DynamicUser": "yes",
        "StateDirectory": "cam", "ProtectSystem": "strict", "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "", "WatchdogSec": "60", "StartLimitIntervalSec": "0",
        "ExecReload": "/bin/kill -HUP $MAINPID", "ProtectHome": "yes",
        "ExecStart": '/opt/tta/bin/tta run --config "/etc/t ta.toml"',
    }.items():  # fmt: skip
        assert lines(text, name) == [value], name
    assert lines(text, "Environment") == [
        "MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536", "ORT_DISABLE_TELEMETRY=1",
    ]  # fmt: skip
    assert "User=root" not in text


def test_a_named_user_and_his_folders():
    text = unit("tta", ["x"], Needs(), user="ann", written=["/srv/my data"], home=True)
    assert lines(text, "User") == ["ann"] and "DynamicUser" not in text
    assert lines(text, "ReadWritePaths") == ['"/srv/my data"']
    assert lines(text, "ProtectHome") == ["read-only"]


@pytest.mark.parametrize("word", ['a "b"', "50%", "$HOME", "a\\b", "it's; x"])
@installed
def test_words_come_back_as_they_were(word, tmp_path):
    """systemd itself reads the quoted word; what it would run must be that file."""
    program = tmp_path / f"run {word}".replace("/", "")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = tmp_path / "one.service"
    word = quoted(str(program)).replace("$$", "$")  # of the program itself, none is a variable
    path.write_text(f"[Service]\nExecStart={word}\n")
    done = subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True)
    assert "not executable" not in done.stderr and "Failed" not in done.stderr, done.stderr


KINDS = {
    "camera": needs(["0"], ["cpu"]),
    "network": needs(["rtsp://10.0.0.7/x"], ["cpu"]),
    "ribbon": needs(["csi://0"], ["cpu"]),
    "files": needs(["sim://fashion"], ["cpu"]),
}


@pytest.mark.parametrize("kind", KINDS)
@installed
def test_systemd_takes_it_and_finds_it_closed(kind, tmp_path):
    path = tmp_path / "tta.service"
    path.write_text(unit("tta", [sys.executable, "-m", "tta"], KINDS[kind]))
    done = subprocess.run([ANALYZE, "verify", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    most = {"network": "16"}.get(kind, "15")  # tenths of its exposure, which is 0 to 10
    command = [ANALYZE, "security", "--offline=yes", f"--threshold={most}", "--no-pager", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:]

"""``tta service``: what it writes, what it refuses, and what it asks systemctl."""

import getpass
import grp
import os
import pwd
import tempfile
from importlib.resources import files
from pathlib import Path

import pytest

from tta.cli import main
from tta.commands import service

BUNDLE = str(files("tta.demo") / "fashion.tta")
PLAIN = f'bundle = "{BUNDLE}"\nsource = "0"\nsink = "null"\nstate-dir = "/var/lib/tta/states"\n'


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Configurations; a systemctl that writes down what it is asked; a folder of units."""
    monkeypatch.setattr(service, "_check_readable", lambda *_: None)
    (tmp_path / "bin").mkdir()
    (tmp_path / "units").mkdir()
    fake = tmp_path / "bin" / "systemctl"
    fake.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/answer 2> /dev/null\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "answer").write_text("")

    def write(text=PLAIN, name="tta.toml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def asked(tmp_path):
    return (tmp_path / "asked").read_text().splitlines()


def call(capsys, *words):
    status = main(["service", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *words):
    status, out, err = call(capsys, *words)
    assert (status, out) == (1, "") and err.startswith("tta: ") and err.count("\n") == 1
    return err


def test_print_writes_nothing(site, tmp_path, capsys):
    status, out, _ = call(
        capsys, "install", "--config", site(), "--print", "--units", tmp_path / "units"
    )
    assert status == 0 and f"run --config {tmp_path}/tta.toml\n" in out
    assert "DeviceAllow=char-video4linux rw\n" in out and "SupplementaryGroups=video\n" in out
    assert "Description=tta: fashion, 1 source(s)\n" in out
    assert list((tmp_path / "units").iterdir()) == [] and not (tmp_path / "asked").exists()


def test_install_uninstall(site, tmp_path, capsys):
    units = ["--units", tmp_path / "units", "--name", "cam-1"]
    text = PLAIN.replace("/var/lib/tta/", "/var/lib/cam-1/")
    status, out, _ = call(capsys, "install", "--config", site(text), *units)
    path = tmp_path / "units" / "cam-1.service"
    assert status == 0 and "systemctl enable --now cam-1" in out
    assert "StateDirectory=cam-1\n" in path.read_text()
    status, out, _ = call(capsys, "uninstall", *units)
    assert status == 0 and "stay in /var/lib/cam-1" in out and not path.exists()
    assert asked(tmp_path) == ["daemon-reload", "disable --now cam-1.service", "daemon-reload"]
    assert "nothing to remove" in refused(capsys, "uninstall", *units)


def test_status(site, tmp_path, capsys):
    (tmp_path / "answer").write_text(
        "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=2\n"
        "StatusText=7 frames, 1 commits, governor auto\nActiveEnterTimestamp=Fri 2026\n"
    )
    status, out, _ = call(capsys, "status")
    assert status == 0 and out.splitlines() == [
        "tta: active (running), since Fri 2026",
        "  7 frames, 1 commits, governor auto",
        "  restarts: 2; messages: journalctl -u tta",
    ]
    (tmp_path / "answer").write_text("LoadState=not-found\nActiveState=inactive\n")
    assert "there is no service tta: tta service install" in refused(capsys, "status")


def test_systemctl_that_fails_or_is_absent(site, tmp_path, capsys, monkeypatch):
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho 'no bus' >&2\nexit 1\n")
    assert "systemctl show" in (err := refused(capsys, "status")) and "no bus" in err
    monkeypatch.setenv("PATH", "")
    assert "there is no systemctl here" in refused(capsys, "status")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PLAIN + "batch = 0\n", "batch must be a whole number of at least 1, but is 0"),
        (PLAIN.replace('sink = "null"\n', ""), "say where results go"),
        (PLAIN + 'log = "audit.db"\n', "put it into /var/lib/tta, or name a --user"),
        (PLAIN + 'record = "/srv/frames"\n', "record = /srv/frames cannot be written"),
        (PLAIN.replace('"null"', '"jsonl:out.jsonl"'), "sink = jsonl:/"),
    ],
)
def test_a_configuration_that_is_not_for_a_service(site, capsys, text, says):
    assert says in refused(capsys, "install", "--config", site(text), "--print")


def test_an_address_is_no_path(site, capsys):
    text = PLAIN.replace('"null"', '["mqtt://10.0.0.2/tta", "csv:/var/lib/tta/o.csv"]')
    status, out, _ = call(capsys, "install", "--config", site(text), "--print")
    assert status == 0 and "AF_INET " in out and "ReadWritePaths" not in out


def test_no_configuration(site, capsys):
    assert "tta config example" in refused(capsys, "install", "--config", "gone.toml")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--user", "root"], "needs no root"),
        (["--user", "no-such-user"], "there is no user 'no-such-user': sudo useradd"),
        (["--name", "../x"], "letters, digits"),
    ],
)
def test_who_and_what_it_is_called(site, capsys, words, says):
    assert says in refused(capsys, "install", "--config", site(), "--print", *words)


def somebody():
    return next(u.pw_name for u in pwd.getpwall() if u.pw_uid and u.pw_name == "nobody")


def test_a_named_user_may_write_elsewhere(site, tmp_path, capsys):
    text = PLAIN + 'log = "audit.db"\nrecord = "/gone/frames"\n'
    err = refused(capsys, "install", "--config", site(text), "--print", "--user", somebody())
    assert "there is no folder /gone: mkdir -p /gone" in err
    text = PLAIN + 'log = "audit.db"\n'
    status, out, _ = call(
        capsys, "install", "--config", site(text), "--print", "--user", somebody()
    )
    assert status == 0 and f"User={somebody()}\n" in out and "DynamicUser" not in out
    assert f"ReadWritePaths={tmp_path}\n" in out


def test_units_that_cannot_be_written(site, capsys):
    err = refused(capsys, "install", "--config", site(), "--units", "/gone")
    assert "cannot be written" in err and "--print" in err


def test_what_its_user_cannot_read_is_refused():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder, file = Path(name), Path(name) / "tta.toml"
        file.write_text("")
        folder.chmod(0o755)
        file.chmod(0o644)
        service._check_readable(str(file), None, [])
        file.chmod(0o640)
        with pytest.raises(service.TtaError, match=r"cannot be read by the user that systemd"):
            service._check_readable(str(file), None, [])
        service._check_readable(str(file), None, [grp.getgrgid(file.stat().st_gid).gr_name])
        service._check_readable(str(file), getpass.getuser(), [])
        file.chmod(0o644)
        folder.chmod(0o700)
        with pytest.raises(service.TtaError, match=rf"because of {name}: put it into /opt"):
            service._check_readable(str(file), None, [])

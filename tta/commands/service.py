"""``tta service``: a run that systemd starts, watches and restarts."""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from tta.arguments import Located
from tta.commands.config import faults
from tta.commands.run import flags
from tta.configuration import keys, settled
from tta.errors import TtaError

HELP = "have systemd start, watch and restart a run"
UNITS = "/etc/systemd/system"
CONFIG = "/etc/tta/tta.toml"
SHOWN = ("LoadState", "ActiveState", "SubState", "StatusText", "NRestarts", "ActiveEnterTimestamp")


def arguments(p: argparse.ArgumentParser) -> None:
    """Its subcommands, each with what it may be told."""
    commands = p.add_subparsers(required=True, metavar="COMMAND")
    install = commands.add_parser("install", help="write the unit of a configuration")
    install.add_argument("--config", default=CONFIG, help=f"of the run (default {CONFIG})")
    install.add_argument("--user", help="who it runs as (default: one that systemd makes)")
    install.add_argument("--print", action="store_true", help="print the unit, and write nothing")
    install.set_defaults(what=_install)
    remove = commands.add_parser("uninstall", help="stop it and remove its unit; states stay")
    remove.set_defaults(what=_uninstall)
    status = commands.add_parser("status", help="how it is")
    status.set_defaults(what=_status)
    for one in (install, remove, status):
        one.add_argument("--name", default="tta", help="of the service (default tta)")
        one.add_argument("--units", default=UNITS, metavar="DIR", help=argparse.SUPPRESS)


def command(given: argparse.Namespace) -> None:
    """Run it."""
    if not given.name.replace("-", "").replace("_", "").isalnum():
        raise TtaError(f"a service has a name of letters, digits, - and _, not {given.name!r}")
    given.what(given)


def _install(given: argparse.Namespace) -> None:
    text = unit_of(given.config, given.name, given.user)
    if given.print:
        print(text, end="")
        return
    path = _unit(given)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TtaError(f"{path} cannot be written ({error.strerror}): {_as_root()}") from error
    _systemctl("daemon-reload")
    print(f"{path} is written. Start it now and at each boot: systemctl enable --now {given.name}")


def _uninstall(given: argparse.Namespace) -> None:
    path = _unit(given)
    if not path.is_file():
        raise TtaError(f"there is no {path}: nothing to remove")
    if not os.access(path.parent, os.W_OK):
        raise TtaError(f"{path} cannot be removed: {_as_root()}")
    _systemctl("disable", "--now", path.name)
    path.unlink()
    _systemctl("daemon-reload")
    print(f"{path} is gone. States and logs stay in /var/lib/{given.name}: rm -r to be rid of them")


def _status(given: argparse.Namespace) -> None:
    told = _systemctl("show", f"{given.name}.service", f"--property={','.join(SHOWN)}")
    found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        raise TtaError(f"there is no service {given.name}: tta service install writes it")
    print(f"{given.name}: {found.get('ActiveState')} ({found.get('SubState')})", end="")
    print(f", since {found['ActiveEnterTimestamp']}" if found.get("ActiveEnterTimestamp") else "")
    print(f"  {found['StatusText']}" if found.get("StatusText") else "  it has said nothing yet")
    print(f"  restarts: {found.get('NRestarts', '?')}; messages: journalctl -u {given.name}")


def unit_of(config: str, name: str, user: str | None) -> str:
    """The unit of a configuration.

    Raises:
        TtaError: the configuration is not right, or not for a service.
    """
    from tta.devices.recognition import resolve
    from tta.devices.systemd import needs, unit
    from tta.runtime.provider import present

    path = Path(config).expanduser().absolute()
    if wrong := faults(str(path)):
        raise TtaError(f"{wrong[0]}; tta config check {path} says all")
    run = settled(argparse.Namespace(config=str(path)), flags)
    if not run.sink:
        raise TtaError(
            f'sink is missing in {path}: say where results go, "null" for nowhere; "stdout" would put each '
            "frame into the journal"
        )
    command = _executable()
    listed = present(run.provider or list(resolve(run.device)[0].providers))
    providers = [one if isinstance(one, str) else one[0] for one in listed]
    found = needs(run.source, providers, run.sink)
    found.groups = [group for group in found.groups if _is_group(group)]
    read = [str(path), run.bundle, command[0], os.path.realpath(sys.executable)]
    _check_user(user)
    for each in read:
        _check_readable(each, user, found.groups)
    return unit(
        name,
        [*command, "run", "--config", str(path)],
        found,
        user=user,
        written=_written(run, name, user),
        home=any(Path(each).is_relative_to(home) for each in read for home in ("/home", "/root")),
        about=f"{Path(run.bundle).stem}, {len(run.source)} source(s)",
    )


def _executable() -> list[str]:
    """How this tta is started: its script, else its Python."""
    script = Path(sys.executable).parent / "tta"
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "tta"]


def _written(run: argparse.Namespace, name: str, user: str | None) -> list[str]:
    """Folders that a run writes to, beside its own."""
    from tta.runtime.located import sink_path

    own, found = f"/var/lib/{name}", list[str]()
    for key, action in keys(flags).items():
        if not (isinstance(action.type, Located) and action.type.written):
            continue
        values = getattr(run, key) or []
        for value in [values] if isinstance(values, str) else values:
            text = sink_path(value) if key == "sink" else value
            place = Path(text).expanduser()
            if not text or place.is_relative_to(own):
                continue
            if user is None:
                raise TtaError(
                    f"{key} = {value} cannot be written by the user that systemd makes for each start: "
                    f"put it into {own}, or name a --user"
                )
            folder = str(place if place.is_dir() else place.parent)
            if not os.path.isdir(folder):
                raise TtaError(f"{key} = {value}: there is no folder {folder}: mkdir -p {folder}")
            found += [folder] if folder not in found else []
    return found


def _check_user(user: str | None) -> None:
    if user is None:
        return
    try:
        if pwd.getpwnam(user).pw_uid == 0:
            raise TtaError("the service needs no root: name another --user, or leave it out")
    except KeyError:
        raise TtaError(
            f"there is no user {user!r}: sudo useradd --system {user}, or leave --user out"
        ) from None


def _check_readable(path: str, user: str | None, groups: list[str]) -> None:
    """Refuse what the service's user could not read."""
    whole = Path(path).absolute()
    uid = pwd.getpwnam(user).pw_uid if user else -1
    gids = {grp.getgrnam(group).gr_gid for group in groups}
    if user:
        gids |= set(os.getgrouplist(user, pwd.getpwnam(user).pw_gid))
    for place in [whole, *whole.parents]:
        told = place.stat()
        bit = stat.S_IXOTH if place.is_dir() else stat.S_IROTH
        if told.st_uid == uid:
            bit <<= 6
        elif told.st_gid in gids:
            bit <<= 3
        if not told.st_mode & bit:
            who = f"user {user}" if user else "the user that systemd makes for each start"
            raise TtaError(
                f"{whole} cannot be read by {who}, because of {place}: put it into /opt or /etc, change its "
                "permissions, or name another --user"
            )


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _unit(given: argparse.Namespace) -> Path:
    return Path(given.units) / f"{given.name}.service"


def _as_root() -> str:
    return f"use sudo {_executable()[0]} service …, or --print to see it"


def _systemctl(*words: str) -> str:
    """What systemctl prints."""
    if shutil.which("systemctl") is None:
        raise TtaError(f"there is no systemctl here: {' '.join(words)} is left to be done")
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines()
        raise TtaError(f"systemctl {' '.join(words)} failed: {why[-1] if why else done.returncode}")
    return done.stdout

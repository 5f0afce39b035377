"""Writes a run as a systemd service: what it may see and touch is what its settings name, and no more.

What each line is for is in ``systemd.exec(5)``, ``systemd.resource-control(5)`` and ``systemd.service(5)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

WATCHDOG_S = 60
LOCAL = ("csv", "jsonl", "live", "null", "stdout", "video")  # sinks that talk to no other machine
_DEVICE = re.compile(r"/dev/[^?&\s]+")
_CAMERA = re.compile(r"\d+|camera://.*")
_REMOTE = re.compile(r"(https?|rtsps?|mqtt|serial://(socket|rfc2217))://")
_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # a class of the user's, which may do anything
_DRIVERS = {  # of a device's name: its group of devices, its group of users, its kernel module
    "video": ("char-video4linux", "video", "videodev"),
    "ttyACM": ("char-ttyACM", "dialout", "cdc_acm"),
    "ttyUSB": ("char-ttyUSB", "dialout", "usbserial"),
    "ttyAMA": ("char-ttyAMA", "dialout", ""),
    "ttyS": ("char-ttyS", "dialout", ""),
}


@dataclass
class Needs:
    """What a run needs of the machine.

    Attributes:
        devices: lines of ``DeviceAllow``.
        groups: of users that may use them.
        modules: of the kernel, which must be loaded for a group of devices to have a number.
        network: whether it talks to other machines.
        open: why the devices cannot be listed, empty where they can.
        compiles: whether code is made while it runs, as GPU libraries do.
    """

    devices: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    network: bool = False
    open: str = ""
    compiles: bool = False


def needs(sources: Sequence[str], providers: Sequence[str], sinks: Sequence[str] = ()) -> Needs:
    """What sources, execution providers and sinks need.

    >>> found = needs(["v4l2:///dev/video0?width=640", "serial:///dev/ttyACM0"], [])
    >>> found.devices, found.groups, found.network
    (['char-video4linux rw', 'char-ttyACM rw'], ['video', 'dialout'], False)
    """
    found = Needs()
    for source in sources:
        if source.startswith("csi://"):
            found.open = "a camera on the ribbon connector has many, other ones on each board"
            _add(found.groups, "video")
            found.compiles = True  # not tried: libcamera and nvargus come with the board
        elif path := _DEVICE.search(source):
            _add_device(found, path[0])
        elif _CAMERA.fullmatch(source):
            _add_device(found, "/dev/video0")
        found.network = found.network or bool(_REMOTE.match(source) or _OWN.match(source))
    found.network = found.network or any(
        s.partition(":")[0].partition("?")[0] not in LOCAL for s in sinks
    )
    others = [name for name in providers if not name.lower().startswith("cpu")]
    if others:
        found.open, found.compiles = f"provider {', '.join(others)} has some of its own", True
        _add(found.groups, "video")
        _add(found.groups, "render")
    return found


def _add_device(found: Needs, path: str) -> None:
    name = path.rpartition("/")[2]
    drivers = [d for prefix, d in _DRIVERS.items() if re.fullmatch(rf"{prefix}\d+", name)]
    if path.startswith("/dev/serial/"):  # a link to one of them
        drivers = [_DRIVERS["ttyACM"], _DRIVERS["ttyUSB"]]
    if not drivers:
        _add(found.devices, f"{path} rw")
        _add(found.groups, "dialout" if name.startswith("tty") else "video")
    for devices, group, module in drivers:
        _add(found.devices, f"{devices} rw")
        _add(found.groups, group)
        if module:
            _add(found.modules, module)


def _add(held: list[str], one: str) -> None:
    if one not in held:
        held.append(one)


def unit(
    name: str,
    command: Sequence[str],
    wanted: Needs,
    *,
    user: str | None = None,
    written: Sequence[str] = (),
    home: bool = False,
    about: str = "test-time adaptation on live input",
) -> str:
    """The text of ``<name>.service``.

    Args:
        name: of the service, and of its folder in ``/var/lib``.
        command: what it runs, each word as it is.
        wanted: see ``needs``.
        user: who it runs as; None for a user that systemd makes for each start.
        written: folders beside ``/var/lib/<name>`` that it writes.
        home: whether something that it reads lies in a home folder.
        about: in a line.
    """
    sections = {
        "Unit": _start(wanted, about),
        "Service": [
            *_service(command),
            *_who(name, user, wanted),
            *_walls(wanted, written, home),
        ],
        "Install": ["WantedBy=multi-user.target"],
    }
    return "\n".join(f"[{title}]\n" + "\n".join(lines) + "\n" for title, lines in sections.items())


def _start(wanted: Needs, about: str) -> Iterator[str]:
    yield f"Description=tta: {about}".replace("%", "%%")
    if wanted.network:
        yield "Wants=network-online.target"
        yield "After=network-online.target"
    for module in wanted.modules:  # else DeviceAllow has no number to allow
        yield f"Wants=modprobe@{module}.service"
        yield f"After=modprobe@{module}.service"
    yield "# It never gives up: a camera may come back after a week."
    yield "StartLimitIntervalSec=0"


def _service(command: Sequence[str]) -> Iterator[str]:
    yield "Type=notify"
    yield "NotifyAccess=main"
    yield f"ExecStart={' '.join(map(quoted, command))}"
    yield "ExecReload=/bin/kill -HUP $MAINPID"
    yield "# SIGTERM to the loop alone: it saves its states, and ends its capture processes itself."
    yield "KillMode=mixed"
    yield "TimeoutStopSec=90"
    yield "# Some providers compile a model for minutes before the first frame."
    yield "TimeoutStartSec=900"
    yield "Restart=on-failure"
    yield "RestartSec=10"
    yield "# Pinged by the frame loop itself, so a loop that hangs is started again."
    yield f"WatchdogSec={WATCHDOG_S}"
    yield "LimitCORE=0"
    yield "# One heap, and freed memory goes back: sessions are rebuilt at each commit."
    yield "Environment=MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536"
    yield "# onnxruntime's wheels collect usage, to be uploaded."
    yield "Environment=ORT_DISABLE_TELEMETRY=1"


def _who(name: str, user: str | None, wanted: Needs) -> Iterator[str]:
    yield f"User={user}" if user else "DynamicUser=yes"
    if wanted.groups:
        yield f"SupplementaryGroups={' '.join(wanted.groups)}"
    yield f"StateDirectory={name}"
    yield "StateDirectoryMode=0750"
    yield f"WorkingDirectory=%S/{name}"
    yield "UMask=0027"


def _walls(wanted: Needs, written: Sequence[str], home: bool) -> Iterator[str]:
    yield "NoNewPrivileges=yes"
    yield "CapabilityBoundingSet="
    yield "AmbientCapabilities="
    yield "ProtectSystem=strict"
    yield f"ProtectHome={'read-only' if home else 'yes'}"
    for folder in written:
        yield f"ReadWritePaths={quoted(folder)}"
    yield "PrivateTmp=yes"
    if wanted.open:
        yield f"# Devices are left open: {wanted.open}."
    elif wanted.devices:
        yield "DevicePolicy=closed"
        yield from (f"DeviceAllow={line}" for line in wanted.devices)
    else:
        yield "PrivateDevices=yes"
        yield "DevicePolicy=closed"
    families = ["AF_UNIX"]
    if wanted.network:
        families += ["AF_INET", "AF_INET6"]
    else:
        yield "IPAddressDeny=any"
    if wanted.open:
        families.append("AF_NETLINK")  # udev, which tells libcamera of its devices
    yield f"RestrictAddressFamilies={' '.join(families)}"
    if not wanted.compiles:
        yield "MemoryDenyWriteExecute=yes"
    for what in (
        "KernelTunables", "KernelModules", "KernelLogs", "ControlGroups", "Clock", "Hostname",
    ):  # fmt: skip
        yield f"Protect{what}=yes"
    yield "ProtectProc=invisible"
    for what in ("Namespaces", "Realtime", "SUIDSGID"):
        yield f"Restrict{what}=yes"
    yield "LockPersonality=yes"
    yield "RemoveIPC=yes"
    yield "KeyringMode=private"
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service"
    yield "SystemCallFilter=~@privileged"
    yield "SystemCallErrorNumber=EPERM"


def quoted(word: str) -> str:
    r"""A word as systemd reads it back.

    >>> print(quoted("/opt/my tta/100%"), quoted("a=$b"))
    "/opt/my tta/100%%" a=$$b
    """
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$"), ("\n", "\\n")):
        word = word.replace(sign, written)
    return f'"{word}"' if re.search(r"[\s\"';\\]", word) else word

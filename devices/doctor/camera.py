"""Cameras: devices, permissions, and what the ribbon connector needs."""

from __future__ import annotations

from collections.abc import Iterator

from tta.devices.doctor.extras import installed
from tta.devices.finding import Finding, Subject, fail, ok, warn

# Drivers of the Raspberry Pi that own /dev/video* nodes without being a camera.
_NO_CAMERA = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc", "rpivid", "rp1-cfe-fe")


def check(subject: Subject) -> Iterator[Finding]:
    """Nodes that this user may open; picamera2 or Argus behind csi://."""
    machine, wanted = subject.machine, subject.profile.camera
    csi = wanted.startswith("csi:")
    nodes = machine.found("/dev/video*")
    named = {
        node: machine.text(f"/sys/class/video4linux/{node[5:]}/name") or "unnamed" for node in nodes
    }
    cameras = {n: name for n, name in named.items() if not name.startswith(_NO_CAMERA)}
    if not cameras:
        seen = f"{len(nodes)} video devices, none of them a camera" if nodes else "no /dev/video*"
        if csi:
            yield warn(
                f"{seen}",
                "switch off, seat the ribbon on both ends, and see whether the system finds it: "
                + ("rpicam-hello --list-cameras" if _pi(subject) else "sudo dmesg | grep -i imx"),
            )
        else:
            yield ok(f"{seen}: sources of files, network and serial ports work without")
    for node, name in cameras.items():
        group = machine.group_of(node)
        if machine.may_use(node):
            yield ok(f"{node} ({name})")
        elif group.isdigit() or group in ("root", "?"):
            yield fail(
                f"{node} ({name}) belongs to group {group}, and this user may not open it",
                f"sudo chgrp video {node} && sudo chmod 660 {node} && sudo usermod -aG video $USER, then log "
                "in anew",
            )
        else:
            yield fail(
                f"{node} ({name}): this user is not in group {group}",
                f"sudo usermod -aG {group} $USER, then log in anew",
            )
    if csi and _pi(subject) and cameras and not installed("picamera2"):
        yield warn(
            "picamera2 is not importable here, which csi:// needs",
            "sudo apt install python3-picamera2, and make the environment with python3 -m venv "
            "--system-site-packages",
        )
    if csi and not _pi(subject) and cameras and not machine.exists("/tmp/argus_socket"):
        yield warn(
            "nvargus-daemon does not listen at /tmp/argus_socket, which csi:// needs",
            "sudo systemctl restart nvargus-daemon; in a container add "
            "-v /tmp/argus_socket:/tmp/argus_socket",
        )


def _pi(subject: Subject) -> bool:
    return subject.profile.name.startswith("rpi")

"""Boards that are a folder: files as a Raspberry Pi 4 has them, and whatever a test breaks."""

import importlib
import os
from pathlib import Path

from tta.devices.finding import Subject
from tta.devices.machine import Machine
from tta.devices.recognition import resolve

MIB, GIB = 2**20, 2**30
BUNDLE = str(Path(__file__).parents[2] / "tta" / "demo" / "fashion.tta")
NOW_S = 1_795_000_000.0
PACKAGE = {"bundle", "fit", "model", "placement", "providers"}  # checks that need onnxruntime


class Board:
    """A healthy Raspberry Pi 4 below ``root``; ``set`` changes what the machine says of itself."""

    def __init__(self, root, patch):
        self.root, self.patch = root / "board", patch
        self.packages, self.imports = root / "packages", root / "imports"
        self.packages.mkdir()  # what this process finds
        self.imports.mkdir()  # what an interpreter imports for a test: empty modules load fast
        patch.syspath_prepend(str(self.packages))
        patch.setenv("PYTHONPATH", str(self.imports))
        for name in ("numpy", "onnxruntime", "safetensors", "cv2", "PIL", "serial"):
            self.write_package(name, "")
        (self.imports / "paho").mkdir()
        (self.imports / "paho" / "mqtt.py").write_text("")
        self.device, self.bundle = "auto", BUNDLE
        self.tree("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711")
        for path, text in {
            "/etc/group": f"video:x:{self.group}:pi\n",
            "/proc/cmdline": "console=tty1 root=/dev/mmcblk0p2 rootwait",
            "/proc/meminfo": "MemTotal: 3884000 kB\nMemAvailable: 3400000 kB\n",
            "/proc/mounts": "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw 0 0\n",
            "/proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 1942000 0 100\n",
            "/proc/1/comm": "systemd",
            "/sys/block/mmcblk0/device/type": "SD",
            "/sys/fs/ext4/mmcblk0p2/errors_count": "0",
            "/sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "/sys/class/thermal/thermal_zone0/temp": "52000",
            "/sys/class/video4linux/video0/name": "unicam",
            "/sys/class/video4linux/video10/name": "bcm2835-codec-decode",
            "/sys/devices/system/cpu/offline": "",
            "/run/systemd/timesync/synchronized": "",
        }.items():
            self.write(path, text)
        for core in range(4):
            folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
            self.write(f"{folder}/scaling_governor", "ondemand")
            self.write(f"{folder}/scaling_max_freq", "1800000")
            self.write(f"{folder}/cpuinfo_max_freq", "1800000")
        for node in ("/dev/video0", "/dev/video10", "/dev/ttyACM0"):
            self.node(node)
        self.program("vcgencmd", "echo throttled=0x0")
        (self.packages / "picamera2.py").write_text("")
        self.says = {
            "root": self.root,
            "folder": "/home/pi",
            "architecture": "aarch64",
            "system": "Linux",
            "bits": 64,
            "python": (3, 11),
            "libc": ("glibc", "2.36"),
            "uid": os.getuid() + 1,  # not who owns the files, and not root
            "groups": frozenset({self.group}),
            "path": str(self.root / "bin"),
            "wall": lambda: NOW_S,
            "steady": lambda: 100.0,
            "usage": lambda path: (32 * GIB, 20 * GIB),
        }

    group = os.getgid()

    def set(self, **says):
        self.says |= says

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def remove(self, path):
        (self.root / path.lstrip("/")).unlink()

    def node(self, path, mode=0o660):
        self.write(path, "")
        (self.root / path.lstrip("/")).chmod(mode)

    def tree(self, model, *compatible):
        self.write("/proc/device-tree/model", model + "\0")
        self.write("/proc/device-tree/compatible", "".join(name + "\0" for name in compatible))

    def program(self, name, script):
        self.write(f"/bin/{name}", f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def write_package(self, name, text):
        (self.imports / f"{name}.py").write_text(text)

    def distribution(self, name, version):
        """What ``pip`` leaves of a package, found before the real one."""
        folder = self.packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        importlib.invalidate_caches()
        return folder

    def subject(self):
        machine = Machine(**self.says)
        profile, recognised = resolve(self.device, machine)
        return Subject(machine, profile, recognised, self.bundle)

    def findings(self, check):
        """What one check finds."""
        package = "tta.runtime.doctor" if check in PACKAGE else "tta.devices.doctor"
        name = f"{check}_" if check == "serial" else check
        return list(importlib.import_module(f"{package}.{name}").check(self.subject()))

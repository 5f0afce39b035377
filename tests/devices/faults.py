"""Faults by name: how each one breaks a board, which line must name it, and how its cure heals the board."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from tests.devices.boards import BUNDLE, GIB, MIB, NOW_S, Board

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
RIGHT_GROUP = frozenset({Board.group})


@dataclass(frozen=True)
class Fault:
    check: str
    level: str
    fact: str
    cure: str
    breaks: Callable
    heals: Callable


def jetson(board, providers=(CUDA, CPU)):
    board.tree(
        "NVIDIA Jetson Orin Nano Developer Kit",
        "nvidia,p3768-0000+p3767-0005",
        "nvidia,p3767-0005",
        "nvidia,tegra234",
    )
    board.write("/etc/nv_tegra_release", "# R36 (release), REVISION: 3.0")
    has(board, *providers)


def has(board, *providers):
    board.patch.setattr(ort, "get_available_providers", lambda: list(providers))


def session(board, fails=(), falls_back=()):
    """Onnxruntime whose CUDA is the CPU in disguise, with the faults that CUDA has."""
    real = getattr(ort.InferenceSession, "__wrapped__", ort.InferenceSession)

    class Session(real):
        __wrapped__ = real

        def __init__(self, path, options, providers):
            self._asked = providers
            super().__init__(path, options, providers=[CPU])

        def get_providers(self):
            return [CPU] if self._asked[0] in falls_back else self._asked

        def run(self, *given):
            if self._asked[0] in fails:
                raise RuntimeError("CUDNN_STATUS_NOT_INITIALIZED: cudnnCreate(&handle)")
            return super().run(*given)

    board.patch.setattr(ort, "InferenceSession", Session)


def broken_cuda(board, **faults):
    jetson(board)
    session(board, **faults)


def profile(board, **changes):
    """A profile of the user's own, from a file: the Jetson's with other values."""
    keys = {"providers": [CUDA, CPU], "ep_profile": "refold"} | changes
    path = Path(board.root) / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "mine"\nmemory_mib = 8192\ncores = 6\n'
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        + "[threads]\ninference = 4\nadaptation = 2\n[budget]\nadapt_ms_per_s = 200\n"
    )
    board.device = str(path)


def slow_to_build(board):
    has(board, TENSORRT, CPU)
    profile(board, providers=[TENSORRT, CPU])


def graph_missing(board):
    has(board, CUDA, CPU)
    profile(board, ep_profile="affine")


def copied(board):
    board.bundle = str(Path(board.root) / "copy.tta")
    shutil.copytree(BUNDLE, board.bundle)
    return Path(board.bundle)


def tampered(board):
    with (copied(board) / "weights.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def newer(board):
    path = copied(board) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


def whole(board):
    board.bundle = BUNDLE


def no_memory(board, available_mib):
    board.write(
        "/proc/meminfo", f"MemTotal: 3884000 kB\nMemAvailable: {int(available_mib * 1024)} kB\n"
    )


def governors(board, name):
    for core in range(4):
        board.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", name)


def caps(board, khz):
    for core in range(4):
        board.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_max_freq", str(khz))


def heat(board, celsius):
    board.write("/sys/class/thermal/thermal_zone0/temp", str(int(celsius * 1000)))


def emmc(board, life, end="0x01"):
    board.write("/sys/block/mmcblk0/device/type", "MMC")
    board.write("/sys/block/mmcblk0/device/life_time", f"{life} 0x01")
    board.write("/sys/block/mmcblk0/device/pre_eol_info", end)


def jumping(board):
    """A wall clock that moves by three seconds each time it is read, while the steady one stands."""
    times = iter(range(1000))
    board.set(wall=lambda: NOW_S + 3 * next(times))


def unsynchronised(board):
    board.remove("/run/systemd/timesync/synchronized")
    board.program("timedatectl", "echo no")


def behind(board):
    board.write("/var/lib/systemd/timesync/clock", "")
    os.utime(board.root / "var/lib/systemd/timesync/clock", (NOW_S + 86_400, NOW_S + 86_400))


def power_modes(board, mode):
    jetson(board)
    board.write(
        "/etc/nvpmodel.conf",
        "".join(
            f"< POWER_MODEL ID={n} NAME={m} >\n" for n, m in enumerate(("15W", "25W", "MAXN_SUPER"))
        ),
    )
    board.program("nvpmodel", f"echo 'NV Power Mode: {mode}'; echo 0")


def pi5(board, milliamperes):
    board.tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712")
    board.write("/proc/device-tree/chosen/power/max_current", milliamperes.to_bytes(4, "big"))


def serial_group(board, groups):
    board.write("/etc/group", f"dialout:x:{board.group}:pi\n")
    board.set(groups=groups)


def absent(board, module, yes=True):
    from tta.devices.doctor import camera, extras

    known = extras.installed if not yes else (lambda name: name != module)
    for place in (extras, camera):
        board.patch.setattr(place, "installed", known if yes else lambda name: True)


def rival(board):
    board.gpu = board.distribution("onnxruntime-gpu", "1.20.0")


def old(board):
    board.old = board.distribution("onnxruntime", "1.16.3")


FAULTS = {
    "Python too old": Fault(
        "python", "fail", "Python 3.9 is older", "Python 3.11",
        lambda b: b.set(python=(3, 9)), lambda b: b.set(python=(3, 11)),
    ),
    "32-bit system on a 64-bit kernel": Fault(
        "python", "fail", "32-bit Python on aarch64: onnxruntime has no wheel", "64-bit image",
        lambda b: b.set(bits=32), lambda b: b.set(bits=64),
    ),
    "32-bit processor": Fault(
        "python", "fail", "armv7l: onnxruntime has no wheel", "64-bit image",
        lambda b: b.set(architecture="armv7l"), lambda b: b.set(architecture="aarch64"),
    ),
    "musl": Fault(
        "python", "fail", "C library is not glibc: .* no onnxruntime wheel", "glibc .Debian",
        lambda b: b.set(libc=("", "")), lambda b: b.set(libc=("glibc", "2.36")),
    ),
    "glibc too old": Fault(
        "python", "fail", "glibc 2.26 is older than 2.27", "upgrade the system",
        lambda b: b.set(libc=("glibc", "2.26")), lambda b: b.set(libc=("glibc", "2.36")),
    ),
    "glibc too old for new wheels": Fault(
        "python", "warn", "needs glibc 2.28", r"pip install 'onnxruntime<1\.29'",
        lambda b: b.set(libc=("glibc", "2.27")), lambda b: b.set(libc=("glibc", "2.28")),
    ),
    "package absent": Fault(
        "packages", "fail", "^safetensors is not installed", r"^pip install 'safetensors>=0\.4'$",
        lambda b: b.write_package(
            "safetensors",
            "raise ModuleNotFoundError(\"No module named 'safetensors'\", name='safetensors')",
        ),
        lambda b: b.write_package("safetensors", ""),
    ),
    "system library absent": Fault(
        "packages", "fail", "numpy .*does not load: .*libopenblas", "--force-reinstall .*'numpy>=1.24'",
        lambda b: b.write_package("numpy", "raise ImportError('libopenblas.so.0: cannot open')"),
        lambda b: b.write_package("numpy", ""),
    ),
    "wheel for another processor": Fault(
        "packages", "fail", "onnxruntime .*illegal instruction", "--force-reinstall .*from PyPI",
        lambda b: b.write_package(
            "onnxruntime", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)"
        ),
        lambda b: b.write_package("onnxruntime", ""),
    ),
    "built for numpy 1": Fault(
        "packages", "fail", "onnxruntime .*was built for numpy 1", "pip install 'numpy<2'",
        lambda b: b.write_package(
            "onnxruntime", "raise ImportError('AttributeError: _ARRAY_API not found')"
        ),
        lambda b: b.write_package("onnxruntime", ""),
    ),
    "package too old": Fault(
        "packages", "fail", r"onnxruntime 1\.16\.3 is older than 1\.18",
        r"pip install -U 'onnxruntime>=1\.18'",
        old, lambda b: shutil.rmtree(b.old),
    ),
    "two onnxruntimes": Fault(
        "packages", "fail", "onnxruntime and onnxruntime-gpu are both installed",
        "pip uninstall -y onnxruntime onnxruntime-gpu",
        rival, lambda b: shutil.rmtree(b.gpu),
    ),
    "port without pyserial": Fault(
        "extras", "warn", "serial is not installed, but there is /dev/ttyACM0",
        r"pip install 'tta-edge\[serial\]'",
        lambda b: absent(b, "serial"), lambda b: absent(b, "serial", False),
    ),
    "OpenCV without libGL": Fault(
        "extras", "warn", "cv2 is installed but does not load: .*libGL", r"uninstall .*tta-edge\[camera\]",
        lambda b: b.write_package("cv2", "raise ImportError('libGL.so.1: cannot open')"),
        lambda b: b.write_package("cv2", ""),
    ),
    "not in group video": Fault(
        "camera", "fail", "/dev/video0 .unicam.: this user is not in group video",
        r"usermod -aG video \$USER",
        lambda b: b.set(groups=frozenset()), lambda b: b.set(groups=RIGHT_GROUP),
    ),
    "camera of root alone": Fault(
        "camera", "fail", "belongs to group root", "chgrp video /dev/video0 && sudo chmod 660",
        lambda b: (b.write("/etc/group", f"root:x:{b.group}:\n"), b.node("/dev/video0", 0o600)),
        lambda b: (b.write("/etc/group", f"video:x:{b.group}:\n"), b.node("/dev/video0", 0o660)),
    ),
    "ribbon loose": Fault(
        "camera", "warn", "1 video devices, none of them a camera", "rpicam-hello --list-cameras",
        lambda b: b.remove("/dev/video0"), lambda b: b.node("/dev/video0"),
    ),
    "no picamera2": Fault(
        "camera", "warn", "picamera2 is not importable", "apt install python3-picamera2",
        lambda b: absent(b, "picamera2"), lambda b: absent(b, "picamera2", False),
    ),
    "Argus does not listen": Fault(
        "camera", "warn", "nvargus-daemon does not listen", "systemctl restart nvargus-daemon",
        jetson, lambda b: b.write("/tmp/argus_socket", ""),
    ),
    "not in group dialout": Fault(
        "serial", "fail", "/dev/ttyACM0: this user is not in group dialout",
        r"usermod -aG dialout \$USER",
        lambda b: serial_group(b, frozenset()), lambda b: serial_group(b, RIGHT_GROUP),
    ),
    "ModemManager": Fault(
        "serial", "warn", "ModemManager runs", "systemctl disable --now ModemManager",
        lambda b: b.write("/proc/812/comm", "ModemManager\n"), lambda b: b.remove("/proc/812/comm"),
    ),
    "brltty": Fault(
        "serial", "warn", "CH340 adapter .*no /dev/ttyUSB.*brltty", "apt remove brltty",
        lambda b: (
            b.write("/sys/bus/usb/devices/1-1/idVendor", "1a86"),
            b.write("/usr/lib/udev/rules.d/90-brltty-device.rules", ""),
        ),
        lambda b: (b.remove("/usr/lib/udev/rules.d/90-brltty-device.rules"), b.node("/dev/ttyUSB0")),
    ),
    "console on the pin header": Fault(
        "serial", "warn", "console is on /dev/serial0", "raspi-config nonint do_serial_cons 1",
        lambda b: (b.node("/dev/serial0"), b.write("/proc/cmdline", "console=serial0,115200 rootwait")),
        lambda b: b.write("/proc/cmdline", "console=tty1 rootwait"),
    ),
    "clock in 1970": Fault(
        "clock", "fail", "1970-01-01", "timedatectl set-ntp true",
        lambda b: b.set(wall=lambda: 90.0), lambda b: b.set(wall=lambda: NOW_S),
    ),
    "clock behind": Fault(
        "clock", "fail", "24.0 hours before .*timesync/clock", "timedatectl set-ntp true",
        behind, lambda b: b.set(wall=lambda: NOW_S + 90_000),
    ),
    "clock not synchronised": Fault(
        "clock", "warn", "not synchronised, and there is no battery clock", "timedatectl set-ntp true",
        unsynchronised, lambda b: b.program("timedatectl", "echo yes"),
    ),
    "clock jumps": Fault(
        "clock", "warn", r"jumped by \+3\.00 s", "NTPSynchronized",
        jumping, lambda b: b.set(wall=lambda: NOW_S),
    ),
    "disk full": Fault(
        "disk", "fail", "10 MiB of .*the disk is full", "apt clean",
        lambda b: b.set(usage=lambda path: (32 * GIB, 10 * MIB)),
        lambda b: b.set(usage=lambda path: (32 * GIB, 2 * GIB)),
    ),
    "disk short": Fault(
        "disk", "warn", "recordings and logs will fill it", "--log-mib 16",
        lambda b: b.set(usage=lambda path: (32 * GIB, 300 * MIB)),
        lambda b: b.set(usage=lambda path: (32 * GIB, 2 * GIB)),
    ),
    "card read-only": Fault(
        "disk", "fail", "/ .*is mounted read-only", "mount -o remount,rw /",
        lambda b: b.write("/proc/mounts", "/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n"),
        lambda b: b.write("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n"),
    ),
    "states in memory": Fault(
        "disk", "warn", "/home/pi lies on tmpfs", "--state-dir",
        lambda b: b.write("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\ntmpfs /home tmpfs rw 0 0\n"),
        lambda b: b.set(folder="/var/lib/tta"),
    ),
    "eMMC at its end": Fault(
        "card", "fail", "mmcblk0 .MMC. is at the end of its life", "copy it to a new one",
        lambda b: emmc(b, "0x0b", "0x03"), lambda b: emmc(b, "0x01"),
    ),
    "eMMC worn": Fault(
        "card", "warn", "80 to 90 % of its life is spent", "copy it to a new one",
        lambda b: emmc(b, "0x09"), lambda b: emmc(b, "0x02"),
    ),
    "errors on the card": Fault(
        "card", "fail", "mmcblk0p2 counted 7 errors", "fsck",
        lambda b: b.write("/sys/fs/ext4/mmcblk0p2/errors_count", "7"),
        lambda b: b.write("/sys/fs/ext4/mmcblk0p2/errors_count", "0"),
    ),
    "hot": Fault(
        "temperature", "fail", "82 °C: clocks fall from 80 °C on", "heat sink or a fan",
        lambda b: heat(b, 82), lambda b: heat(b, 60),
    ),
    "at the limit": Fault(
        "temperature", "fail", "86 °C: at the board's limit of 85 °C", "stop the load",
        lambda b: heat(b, 86), lambda b: heat(b, 60),
    ),
    "nearly hot": Fault(
        "temperature", "warn", "77 °C: close to 80 °C", "heat sink or a fan",
        lambda b: heat(b, 77), lambda b: heat(b, 60),
    ),
    "no temperature": Fault(
        "temperature", "warn", "no temperature is readable", "-v /sys:/sys:ro",
        lambda b: b.remove("/sys/class/thermal/thermal_zone0/temp"), lambda b: heat(b, 52),
    ),
    "under-voltage": Fault(
        "throttling", "fail", "under-voltage now", "supply of 5 V",
        lambda b: b.program("vcgencmd", "echo throttled=0x50001"),
        lambda b: b.program("vcgencmd", "echo throttled=0x0"),
    ),
    "throttled": Fault(
        "throttling", "fail", "cores are throttled now", "fan",
        lambda b: b.program("vcgencmd", "echo throttled=0xe0006"),
        lambda b: b.program("vcgencmd", "echo throttled=0x0"),
    ),
    "throttled before": Fault(
        "throttling", "warn", "throttled since the start", "a restart clears",
        lambda b: b.program("vcgencmd", "echo throttled=0x40000"),
        lambda b: b.program("vcgencmd", "echo throttled=0x0"),
    ),
    "firmware may not be asked": Fault(
        "throttling", "warn", "may not ask the firmware: .*vcio", r"usermod -aG video \$USER",
        lambda b: b.program("vcgencmd", "echo \"Can't open device file: /dev/vcio\" >&2; exit 255"),
        lambda b: b.program("vcgencmd", "echo throttled=0x0"),
    ),
    "no vcgencmd": Fault(
        "throttling", "warn", "vcgencmd is absent", "apt install raspi-utils",
        lambda b: b.remove("/bin/vcgencmd"), lambda b: b.program("vcgencmd", "echo throttled=0x0"),
    ),
    "clock capped": Fault(
        "throttling", "warn", "4 cores may run at 0.60 GHz only, of 1.80", "scaling_max_freq",
        lambda b: caps(b, 600_000), lambda b: caps(b, 1_800_000),
    ),
    "lowest power mode": Fault(
        "power", "warn", "power mode 15W is the lowest", r"nvpmodel -m 2 \(MAXN_SUPER\)",
        lambda b: power_modes(b, "15W"), lambda b: power_modes(b, "MAXN_SUPER"),
    ),
    "cores off": Fault(
        "power", "warn", "cores 4-5 are switched off", "nvpmodel -m 0",
        lambda b: (power_modes(b, "25W"), b.write("/sys/devices/system/cpu/offline", "4-5\n")),
        lambda b: b.write("/sys/devices/system/cpu/offline", "\n"),
    ),
    "weak supply": Fault(
        "power", "warn", "supply gives 3000 mA", "5 V 5 A supply",
        lambda b: pi5(b, 3000), lambda b: pi5(b, 5000),
    ),
    "slow governor": Fault(
        "governor", "warn", "governor powersave on 4 of 4 cores", "echo ondemand",
        lambda b: governors(b, "powersave"), lambda b: governors(b, "ondemand"),
    ),
    "no memory": Fault(
        "memory", "fail", "120 of .*too little for onnxruntime", "ps aux --sort=-rss",
        lambda b: no_memory(b, 120), lambda b: no_memory(b, 2000),
    ),
    "little memory": Fault(
        "memory", "warn", "little beside onnxruntime", "ps aux --sort=-rss",
        lambda b: no_memory(b, 200), lambda b: no_memory(b, 2000),
    ),
    "memory unreadable": Fault(
        "memory", "warn", "/proc/meminfo is unreadable", "--memory-mib",
        lambda b: b.remove("/proc/meminfo"), lambda b: no_memory(b, 2000),
    ),
    "no swap on a small board": Fault(
        "swap", "warn", "no swap beside 427 MiB", "apt install zram-tools",
        lambda b: (
            b.write("/proc/swaps", "Filename Type Size Used Priority\n"),
            b.write("/proc/meminfo", "MemTotal: 437000 kB\nMemAvailable: 300000 kB\n"),
        ),
        lambda b: b.write("/proc/swaps", "Filename Type\n/dev/zram0 partition\n"),
    ),
    "swap on the card": Fault(
        "swap", "warn", "swap on /var/swap wears the card", "zram",
        lambda b: b.write("/proc/swaps", "Filename Type\n/var/swap file 102396 0 -2\n"),
        lambda b: b.write("/proc/swaps", "Filename Type\n/dev/zram0 partition\n"),
    ),
    "unknown board": Fault(
        "device", "warn", "no profile for Radxa ROCK 5B .*served as generic-arm64",
        "copy devices/generic-arm64.toml",
        lambda b: b.tree("Radxa ROCK 5B", "radxa,rock-5b", "rockchip,rk3588"),
        lambda b: profile(b),
    ),
    "board not supported": Fault(
        "device", "warn", "Jetson Nano.* is not supported: .*Python 3.6", "use a board of docs/devices.md",
        lambda b: b.tree("NVIDIA Jetson Nano Developer Kit", "nvidia,p3450-0000", "nvidia,tegra210"),
        lambda b: b.tree("Raspberry Pi 5 Model B", "raspberrypi,5-model-b"),
    ),
    "bundle damaged": Fault(
        "bundle", "fail", "weights.safetensors is not the file .*sha256 differs", "copy the bundle again",
        tampered, whole,
    ),
    "bundle of a newer schema": Fault(
        "bundle", "fail", "schema 99, this tta reads up to", "pip install -U tta-edge",
        newer, whole,
    ),
    "no bundle": Fault(
        "bundle", "fail", "no bundle at", "name the folder or zip",
        lambda b: setattr(b, "bundle", str(b.root / "none.tta")), whole,
    ),
    "provider absent": Fault(
        "providers", "warn", f"not {CUDA}: {CPU} serves", "onnxruntime-gpu wheel for this JetPack",
        lambda b: jetson(b, (CPU,)), lambda b: has(b, CUDA, CPU),
    ),
    "no CPU provider": Fault(
        "providers", "fail", f"has no {CPU}", "pip install onnxruntime",
        lambda b: has(b, "AzureExecutionProvider"), lambda b: has(b, CPU),
    ),
    "provider does not load": Fault(
        "placement", "fail", "cuda does not load here: onnxruntime fell back", "--provider cpu",
        lambda b: broken_cuda(b, falls_back=[CUDA]), lambda b: has(b, CPU),
    ),
    "provider fails at its first frame": Fault(
        "placement", "fail", "cuda loads, and fails at its first frame: CUDNN_STATUS", "--provider cpu",
        lambda b: broken_cuda(b, fails=[CUDA]), lambda b: has(b, CPU),
    ),
    "bundle too large": Fault(
        "fit", "fail", "the bundle does not fit: 16 MiB to serve", "--memory-mib",
        lambda b: no_memory(b, 12), lambda b: no_memory(b, 2000),
    ),
    "commits too large": Fault(
        "fit", "warn", "commits do not fit", "--ep cpu:inputs.*--adapter none",
        lambda b: no_memory(b, 20), lambda b: no_memory(b, 2000),
    ),
    "model slow to build for its provider": Fault(
        "model", "warn", "tensorrt builds an engine for each session", "--ep tensorrt:affine",
        slow_to_build, lambda b: profile(b),
    ),
    "model lacks its provider's graph": Fault(
        "model", "fail", "cuda is served by the profile affine, .*no graph", "--ep cuda:affine",
        graph_missing, lambda b: profile(b),
    ),
}  # fmt: skip

"""Optional packages: what each serves, and the pip line; absent is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from tta.devices.finding import Finding, Subject, ok, warn

EXTRAS = {  # module: extra, what it serves, devices that would need it
    "cv2": ("camera", "cameras and video files", "/dev/video*"),
    "PIL": ("images", "image files", ""),
    "serial": ("serial", "boards on serial ports", "/dev/tty[AU][CS][MB]*"),
    "paho.mqtt": ("mqtt", "MQTT", ""),
}


def check(subject: Subject) -> Iterator[Finding]:
    """One line an extra; a device that is there without its package is a warning."""
    for module, (extra, serves, devices) in EXTRAS.items():
        pip = f"pip install 'tta-edge[{extra}]'"
        if not installed(module):
            there = subject.machine.found(devices) if devices else []
            if there and not (module == "cv2" and subject.profile.camera.startswith("csi:")):
                yield warn(f"{module} is not installed, but there is {there[0]}: no {serves}", pip)
            else:
                yield ok(f"{module} is not installed, which {serves} would need", pip)
            continue
        tried = subject.machine.try_import(module)
        if tried.status:
            why = (tried.text.splitlines() or ["no message"])[-1]
            cure = f"{pip} in a fresh environment"
            if "libGL" in why or "libgthread" in why:
                cure = "pip uninstall -y opencv-python opencv-python-headless && " + pip
            yield warn(f"{module} is installed but does not load: {why}", cure)
        else:
            yield ok(f"{module}: {serves}")


def installed(module: str) -> bool:
    """Whether a module is there, without loading more than its package."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False

"""The execution providers of this onnxruntime, against those that the device's profile would use."""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime as ort

from tta.devices.finding import Finding, Subject, fail, ok, warn

CPU = "CPUExecutionProvider"


def check(subject: Subject) -> Iterator[Finding]:
    """Those there are, and those that are missing."""
    have = ort.get_available_providers()
    if CPU not in have:
        yield fail(
            f"onnxruntime {ort.__version__} has no {CPU}, only {', '.join(have) or 'none'}",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime",
        )
        return
    wanted = subject.profile.providers
    missing = [name for name in wanted if name not in have]
    served = next(name for name in (*wanted, CPU) if name in have)
    fact = f"onnxruntime {ort.__version__} has {', '.join(have)}"
    if not missing:
        yield ok(f"{fact}; {served} serves")
    elif subject.profile.name.startswith("jetson"):
        yield warn(
            f"{fact}, not {', '.join(missing)}: {served} serves",
            "pip uninstall -y onnxruntime && pip install the onnxruntime-gpu wheel for this JetPack "
            "(https://elinux.org/Jetson_Zoo, PyPI has none for aarch64)",
        )
    else:
        yield warn(
            f"{fact}, not {', '.join(missing)}: {served} serves",
            "pip uninstall -y onnxruntime && pip install onnxruntime-gpu (or the onnxruntime package that "
            "brings it)",
        )

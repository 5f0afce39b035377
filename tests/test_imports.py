"""What an import brings in: a device has no torch, and `import tta` costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD_TIME = {"torch", "onnx", "onnx_ir", "onnxscript"}
EXTRAS = {"cv2", "PIL", "serial", "rich"}


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def imported_by(module):
    result = python(f"import sys, {module}; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_tta_alone_brings_in_nothing():
    assert not imported_by("tta") & {"numpy", "onnxruntime", *BUILD_TIME, *EXTRAS}


@pytest.mark.parametrize("module", ["tta.runtime", "tta.runtime.session", "tta.runtime.loop"])
def test_the_runtime_brings_in_no_extra(module):
    assert not imported_by(module) & (BUILD_TIME | EXTRAS)


@pytest.mark.parametrize("folder", ["export", "runtime", "devices", "firmware_bridge"])
def test_a_folder_is_reached_through_tta_only(folder):
    result = python(f"import {folder}")
    assert result.stderr.splitlines()[-1] == f"ImportError: import tta.{folder}, not {folder}"

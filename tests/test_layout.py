"""The package list, the links and what is built agree with the tree."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
LINKED = ["export", "runtime", "devices", "firmware_bridge"]


def checkout():
    """Files of this checkout, tracked or about to be, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in names.splitlines() if (ROOT / name).exists()]


def packaged():
    """What a wheel must hold: each file below the package folders, at its place below tta/."""
    places = {path: Path("tta") / path for path in checkout() if path.parts[0] in LINKED}
    places |= {path: path for path in checkout() if path.parts[0] == "tta"}
    return {str(new) for old, new in places.items() if not (ROOT / old).is_symlink()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist, and the wheel built from it, of a copy of the checkout."""
    copy = tmp_path_factory.mktemp("copy")
    for path in checkout():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / path, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


def test_package_list_is_the_tree():
    inits = [PurePosixPath(name) for name in packaged() if name.endswith("__init__.py")]
    assert sorted(SETUPTOOLS["packages"]) == sorted(".".join(p.parent.parts) for p in inits)


@pytest.mark.parametrize("folder", LINKED)
def test_link_leads_to_the_folder(folder):
    link = ROOT / "tta" / folder
    assert os.readlink(link) == f"../{folder}"
    assert link.resolve() == ROOT / folder


def test_wheel_holds_tta_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {name for name in names if ".dist-info/" not in name} == packaged()
    assert "tta/py.typed" in names


def test_sdist_holds_the_folders_themselves(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {m.name.split("/", 1)[1] for m in archive if m.isfile()}
    assert {f"{folder}/__init__.py" for folder in LINKED} <= files

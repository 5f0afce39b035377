"""House rules that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ["tta", "export", "runtime", "devices", "firmware_bridge"]
WRITTEN = {".py", ".toml", ".c", ".h", ".cpp", ".ino"}
MOST_LINES = 400  # past this a file holds two ideas
# The device's library is one source file on purpose: a sketch takes it and its header, and no build system.
LONGER = {"firmware_bridge/firmware/tta_bridge.c": 600}

# Written in pieces, so that this file passes its own test.
FORBIDDEN = re.compile(r"(?<![\w.~-])/(?:work|root|home/\w+)" + r"/|\b(?:TO" + r"DO|FIX" + r"ME)\b")


def tracked(*folders):
    names = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = [ROOT / name for name in names.splitlines()]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def test_no_leftovers():
    found = []
    for path in tracked():
        if b"\0" in (data := path.read_bytes()):
            continue
        for number, line in enumerate(data.decode().splitlines(), 1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_a_file_holds_one_idea():
    lines = {
        str(path.relative_to(ROOT)): path.read_text().count("\n")
        for path in tracked(*CODE)
        if path.suffix in WRITTEN
    }
    assert {name: n for name, n in lines.items() if n >= LONGER.get(name, MOST_LINES)} == {}


def test_no_module_hides_a_standard_one():
    """A script run from inside a folder would import ours instead."""
    hiding = [
        str(path.relative_to(ROOT))
        for path in tracked(*CODE)
        if path.suffix == ".py" and path.stem in sys.stdlib_module_names
    ]
    assert hiding == []


def test_ci_is_executable():
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_one_version_everywhere():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert f'__version__ = "{version}"' in (ROOT / "tta" / "__init__.py").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version


def test_links_of_documents_lead_somewhere():
    for name in ("CHANGELOG.md", "SECURITY.md", "docs/devices.md"):
        page = ROOT / name
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
        local = [link for link in links if not link.startswith("http")]
        assert [link for link in local if not (page.parent / link).exists()] == []

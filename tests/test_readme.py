"""The README's shell commands run as they stand; its Python snippets run as doctests."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "torch", reason="the README exports a torch model: pip install 'tta-edge[export]'"
)
ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """Lines of the README's ``sh`` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_shell_commands_run_in_order(tmp_path: Path) -> None:
    lines = commands()
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "tta", line
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    names = {p.name for p in tmp_path.iterdir()}
    assert {"mlp.tta", "out.jsonl", "adapted.safetensors", "adapted.onnx"} <= names


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert not missing

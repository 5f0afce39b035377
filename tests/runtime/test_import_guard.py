"""The folders at the top level are reached through tta only."""

import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize("folder", ["runtime", "devices", "firmware_bridge"])
def test_a_bare_import_says_what_to_import(folder, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    with pytest.raises(ImportError, match=f"import tta.{folder}, not {folder}"):
        importlib.import_module(folder)

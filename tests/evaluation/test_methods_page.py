"""The page on the methods: written from docstrings, results and a measurement, with nothing left out."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tests.bench import methods_page
from tests.bench.method_costs import measured, size
from tests.bench.method_texts import method_text, paper
from tests.evaluation.test_lines import answers, cell
from tta import registry
from tta.records import State

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"
NAMES = registry.names("tta.adapters")


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_all_that_the_page_needs(name):
    text = method_text(name)
    assert text.sentence.endswith((".", ":")) and text.cost.startswith("Cost:")
    assert Path(__file__).parents[2].joinpath(text.file).is_file()
    assert text.batch_one and text.needs
    if name != "none":
        assert text.paper, 'cite it as: Author et al., "Title", VENUE YEAR'


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ('By Lee and Ek, "A b: c, d", NeurIPS\n2021, the e.', 'Lee and Ek, "A b: c, d", NeurIPS 2021'),
        ('De Brébisson & Vincent, "The Z-loss", 2016 (arXiv 1604.08859). The',
         'De Brébisson & Vincent, "The Z-loss", 2016 (arXiv 1604.08859)'),
        ("Tang et al., CVPR 2023.", "Tang et al., CVPR 2023"),
        ("In 2021, nothing.", ""),
    ],
)  # fmt: skip
def test_papers_are_found_however_they_are_cited(doc, expected):
    assert paper(doc) == expected


def test_a_state_counts_each_array_once():
    a, b = np.zeros(10, np.float32), np.zeros(3, np.float64)
    state = State("hash", "x", {"w": a}, {"source.w": a, "m": b})
    assert size(state) == 40 + 24


def test_costs_are_of_every_method_that_runs(monkeypatch):
    @dataclass
    class Absent:
        needs: frozenset = field(default_factory=lambda: frozenset({"step/none_such"}))

        def init(self, manifest, slots):
            raise AssertionError

        adapt = init

    import tests.bench.method_costs as costs

    real = costs.make_adapter
    monkeypatch.setattr(costs, "make_adapter", lambda n: Absent() if n == "absent" else real(n))
    model, found = measured(str(BUNDLE), "fashion", 8, 2, ["none", "tent", "absent"])
    assert model == "FashionNet" and found["tent"].ratio > found["none"].ratio > 0
    assert found["tent"].state_kib > found["none"].state_kib > 1
    assert "step/none_such" in found["absent"]


def test_the_page(tmp_path, monkeypatch):
    results = tmp_path / "results"
    results.mkdir()
    label = np.zeros(400, int)
    for batch in (1, 10):
        for protocol, visits in (("reset", 2), ("recurring:3", 6), ("clean", 1)):
            for name, wrong in (
                ("none", range(0)),
                ("tent?lr=1", range(90)),
                ("bn_stats", range(0)),
            ):
                about = {"protocol": protocol, "batch": batch, "visits": visits}
                cell(results, name, label, label, answers(label, wrong), **about)
    out = tmp_path / "docs" / "methods.md"
    out.parent.mkdir()
    monkeypatch.setattr(sys, "argv", ["methods_page", str(results), "--out", str(out)])
    methods_page.main()
    text = out.read_text()
    assert "6 of 12 tested cells are worse" in text and text.count("▼ **hurts**") == 6
    for name in NAMES:
        assert f"[`{name}`](../tta/adapters/" in text
    for kind in ("gain", "batch", "recurring-3"):
        file = f"methods-net-on-things-{kind}.svg"
        assert f"](img/{file})" in text and (out.parent / "img" / file).is_file()
    tent = text[text.index("### `tent`") :]
    assert "| things | reset | `tent?lr=1` | 10 | 0.0 | 22.5 [" in tent
    assert "Cost: one forward and one backward" in tent and "Wang et al." in tent
    assert "Not evaluated here." in text[text.index("### `t3a`") :]

"""The report of a small folder: whole, readable as XML, made again from its files alone."""

import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tests.evaluation.test_lines import answers, cell
from tta.bundle import Bundle
from tta.cli import main
from tta.evaluation.label_report import audited, labels_text, rankings
from tta.evaluation.lines import lines
from tta.evaluation.material import Material
from tta.evaluation.plots import COLOURS, HELPED, HURT, apart, pens, round_values, shade
from tta.evaluation.plots.classes import classes
from tta.evaluation.plots.gain_heat import gain_heat
from tta.evaluation.plots.visits import visits
from tta.evaluation.report import report
from tta.evaluation.results import read
from tta.evaluation.source_answers import SourceAnswers, source_answers
from tta.evaluation.thumbnails import Shot, Thumbnails

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"
SVG = "{http://www.w3.org/2000/svg}"


def golden(folder):
    """Two protocols, two batch sizes, three methods; ``bad`` hurts under one of them."""
    label = np.arange(60) % 3
    frozen = answers(label, range(0, 60, 4))
    for protocol, visits_, wrong in (("reset", 1, range(5)), ("continual", 3, range(50))):
        for batch in (1, 10):
            for name, some in (("none", range(0, 60, 4)), ("good", range(3)), ("bad<&>", wrong)):
                about = {"protocol": protocol, "batch": batch, "visits": visits_}
                cell(folder, name, label, frozen, answers(label, some), **about)
    return label


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_folder_becomes_a_report_again_and_again(tmp_path, capsys):
    golden(tmp_path)
    found = report(tmp_path)
    text = (tmp_path / "results.md").read_text()
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    drawn = {str(p.relative_to(tmp_path)) for p in (tmp_path / "plots").glob("*.svg")}
    assert set(shown) == drawn and len(shown) == len(drawn)
    for kind in ("gain.svg", "visits-continual-10.svg", "batches-reset.svg", "classes-reset-1.svg",
                 "reliability-continual-1.svg", "broken.svg"):  # fmt: skip
        assert f"plots/{kind}" in drawn, kind
    for path in drawn:
        ET.fromstring((tmp_path / path).read_text())
    assert text.index("Where it hurts") < text.index("All cells")
    assert "2 of 8 tested cells are worse" in text and "repeats nothing" in text
    with open(tmp_path / "summary.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [line.verdict for line in found]
    (tmp_path / "plots" / "old.svg").write_text("what is no longer there")
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "results.md").read_text() == text
    assert not (tmp_path / "plots" / "old.svg").exists()
    assert "2 of 8 tested cells" in capsys.readouterr().out


def test_a_folder_that_is_none(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none")]) == 1
    assert "holds no results" in capsys.readouterr().err


def test_broken_answers_are_listed_surest_first(tmp_path):
    label = np.zeros(12, int)
    sure = np.linspace(0.3, 0.9, 12).astype(np.float32)
    adapted = answers(label, [2, 5, 7])
    cell(tmp_path, "tent", label, answers(label, [7]), adapted, visits=2, pre_confidence=sure)
    report(tmp_path)
    with open(tmp_path / "broken.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(r["item"], r["label"], r["frozen"], r["adapted"]) for r in rows] == [
        ("5", "0", "0", "1"),
        ("2", "0", "0", "1"),
    ]
    assert [(r["visit"], r["place"]) for r in rows] == [("shift 0", "5"), ("shift 0", "2")]
    assert float(rows[0]["confidence"]) == pytest.approx(sure[5], abs=1e-4)


def test_a_real_sweep_shows_the_frames_that_were_met(tmp_path):
    words = [
        *("evaluate", str(BUNDLE), "fashion", "--out", str(tmp_path), "--limit", "40"),
        *("--adapter", "bn_stats,tent", "--protocol", "mixed,correlated:sorted", "--batch", "8"),
        *("--corruptions", "fog,contrast"),
    ]
    assert main(words) == 0
    assert (tmp_path / "labels.csv").exists() and "Confident learning" in (
        tmp_path / "results.md"
    ).read_text()
    material = Material(Bundle(BUNDLE), "fashion", 40)
    pictures, group = Thumbnails(tmp_path, material), read(tmp_path)[-1]
    images = group.images
    at = int(np.flatnonzero(images["visit"] == 0)[7])
    item, place = int(images["item"][at]), int(images["place"][at])
    there = pictures.get(Shot(item, group.protocol, 0, 0, place))
    number = np.searchsorted(material.chosen, [item])
    met = [material.shown(number, name, 5)[0] for name in ("fog", "contrast")]
    assert any(np.array_equal(there, each) for each in met)
    other = int(images["item"][at + 1])
    assert pictures.get(Shot(other, group.protocol, 0, 0, place)) is None  # another order
    clean = material.data.read(np.array([item]), np.zeros(1, int))[0]
    assert np.array_equal(pictures.get(Shot(item)), clean) and not np.array_equal(there, clean)
    sheet = (tmp_path / "plots" / "broken.svg").read_text()
    assert "not kept" not in texts(sheet) and sheet.count("data:image/png") >= 1
    before = sheet, (tmp_path / "results.md").read_text()
    report(tmp_path)  # without the data
    assert ((tmp_path / "plots" / "broken.svg").read_text(), before[1]) == before


def test_source_answers_are_the_models(tmp_path):
    material = Material(Bundle(BUNDLE), "fashion", 30)
    assert source_answers(tmp_path, None) is None
    made = source_answers(tmp_path, material)
    found, confidence = material.frozen(np.arange(30), "none", 0)
    assert made.probabilities.argmax(1).tolist() == found.tolist()
    assert made.probabilities.max(1) == pytest.approx(confidence, abs=1e-3)
    assert made.probabilities.sum(1) == pytest.approx(1)
    assert made.name(9) == "Ankle boot" and made.name(11) == "11"
    again = source_answers(tmp_path, None)
    assert np.array_equal(again.probabilities, made.probabilities) and again.names == made.names
    assert again.items.tolist() == material.chosen.tolist()
    few = Material(Bundle(BUNDLE), "fashion", 30)
    few.answers.keeps = False
    (tmp_path / "many").mkdir()
    assert source_answers(tmp_path / "many", few) is None


def test_two_methods_change_places_where_labels_are_wrong(tmp_path):
    """40 items: 8 have a wrong label, which the source model sees; B answers those by the true class."""
    true = np.arange(40) % 4
    given = true.copy()
    given[:8] = (true[:8] + 1) % 4
    p = np.full((40, 4), 0.02)
    p[np.arange(40), true] = 0.94
    frozen = answers(given, [])
    a = given.copy()
    a[8:12] = (given[8:12] + 1) % 4  # right on all 8 wrong labels, wrong on 4 of 32 right ones
    b = true.copy()
    b[8:18] = (true[8:18] + 1) % 4  # the true class on the 8, wrong on 10 of 32
    for name, adapted in (("a", a), ("b", b)):
        cell(tmp_path, name, given, frozen, adapted, item=100 + 2 * np.arange(40))
    items = 100 + 2 * np.arange(40)  # numbers in a data set of which every second item is used
    groups, audit = read(tmp_path), audited(SourceAnswers(items, p, given, ()))
    assert sorted(audit.suspects) == items[:8].tolist()
    (found,) = rankings(groups, audit)
    assert (found.first, found.second, found.errors) == ("a", "b", (10, 45))
    assert found.kept_errors == pytest.approx((12.5, 31.25))
    better, worse = 0.3125 - 0.125, 1.0
    assert found.flips == pytest.approx(better / (better + worse))
    text = labels_text(groups, audit, 0)
    assert "8 suspicious labels among 40 (20.0 %)" in text
    assert "15.8 % wrong labels (fewer than estimated here: the order is open)" in text
    clean = audited(SourceAnswers(items, np.eye(4)[true], true, ()))
    assert rankings(groups, clean)[0].flips is None
    assert labels_text(groups, clean, 0).count("never") == 1


def test_the_heat_map_has_every_number_and_marks_harm(tmp_path):
    golden(tmp_path)
    found = lines(read(tmp_path))
    said = texts(gain_heat(found))
    hurt = [line for line in found if line.verdict == "hurts"]
    assert len(hurt) == 2 and sum(text.startswith("▼ -") for text in said) == 2
    assert "bad<&>, batch 1" in said and "continual" in said
    some = [line for line in found if (line.protocol, line.adapter) != ("reset", "good")]
    assert texts(gain_heat(some)).count("·") == 2
    assert shade(10, 10)[0] == f"rgb{HELPED}".replace(" ", "")
    assert shade(-10, 10) == (f"rgb{HURT}".replace(" ", ""), True)
    assert shade(0.0, 0.0) == ("rgb(247,247,247)", False)


def test_curves_have_all_visits_and_classes_all_errors(tmp_path):
    label = golden(tmp_path)
    groups = [g for g in read(tmp_path) if g.protocol == "continual" and g.batch == 10]
    svg = visits(groups, pens([g.method for g in groups]))
    assert {"shift 0", "shift 1", "shift 2", "source", "good", "bad<&>"} <= set(texts(svg))
    curve = next(e for e in ET.fromstring(svg).iter(f"{SVG}path") if e.get("stroke") == COLOURS[1])
    assert len(curve.get("d").replace("M", "").split()) == 2 * 3
    said = texts(classes(groups, ("cat", "dog", "cow")))
    assert {"cat", "dog", "cow"} <= set(said)
    good = next(g for g in groups if g.adapter == "good").images["pre"]
    for k in range(3):
        assert f"{100 * (good != label)[label == k].mean():.1f}" in said
    assert {"0", "1", "2"} <= set(texts(classes(groups, ())))


def test_only_the_classes_that_change_most_are_drawn(tmp_path):
    label = np.arange(90) % 30
    adapted = label.copy()
    adapted[label >= 28] = 0
    cell(tmp_path, "tent", label, label, adapted)
    said = texts(classes(read(tmp_path), ()))
    assert {"28", "29", "0"} <= set(said) and "25" not in said
    assert any("the 20 of 30 that change most" in text for text in said)


def test_names_at_the_ends_of_curves_stay_apart():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = sorted(rng.uniform(0, 100, 6))
        places = apart(wanted, 15, 0, 100)
        assert np.diff(places).min() >= 15 - 1e-9 and places[0] >= 0 and places[-1] <= 100
    for low, high in ((0, 7.3), (-12, 0.4), (0, 0.02), (-1e-3, 1e3)):
        values = round_values(low, high)
        assert 2 <= len(values) <= 9 and min(values) >= low and max(values) <= high + 1e-9

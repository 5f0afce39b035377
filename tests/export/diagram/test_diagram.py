"""The diagram of a bundle: well-formed, complete, the same each time."""

import re
import xml.etree.ElementTree as ET
from importlib.resources import files

import pytest

from tests.bundles import bundle
from tta import inspection
from tta.bundle import Bundle
from tta.cli import main
from tta.errors import MissingExtraError, TtaError
from tta.export.coupling import labels, read
from tta.export.diagram import diagram
from tta.export.diagram.columns import columns
from tta.export.diagram.layout import lay_out

DEMO = files("tta.demo") / "fashion.tta"
MODELS = (
    *("fashion:factory", "mlp:factory", "sensor_cnn:factory", "resnet20:factory", "wrn:factory"),
    *("norms:group", "norms:rms", "mobilenet_v2:factory", "vit:factory", "vit:mean_pool"),
)


def words(text):
    return [e.text for e in ET.fromstring(text).iter() if e.tag.endswith("text")]


@pytest.mark.parametrize("name", MODELS)
def test_it_is_svg_and_names_every_adaptable_layer(name):
    opened = bundle(name)
    text = diagram(opened)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    named = [layer for word in words(text) for layer in word.split(" + ")]
    assert set(opened.manifest.layers) <= set(named)
    assert opened.manifest.primary in words(text) and "features" in words(text)
    assert "nan" not in text and "inf" not in re.sub("infer.onnx|information", "", text)


@pytest.mark.parametrize("name", MODELS)
def test_the_batch_wire_tells_what_the_batch_graph_does(name):
    opened = bundle(name)
    found, given = labels(read(opened.graph("batch"))), columns(opened)
    for output in given.outputs:
        assert (output in given.mixed) == (found[output].state == "mixed")
    assert given.inputs[0] not in given.mixed
    drawing = next(e for e in ET.fromstring(diagram(opened)) if e.get("transform"))
    colours = {e.get("stroke") for e in drawing}
    assert "#2f6fd0" in colours and ("#e2571e" in colours) == bool(opened.manifest.batch_coupled)


@pytest.mark.parametrize("name", MODELS)
def test_lanes_hold_what_operations_take(name):
    given = columns(bundle(name))
    seen = []
    for row in lay_out(given):
        for column in row.columns:
            if column.operation is None:
                assert column.after[column.targets[0]] == column.before[column.sources[0]]
                continue
            op = column.operation
            assert [column.before[k] for k in column.sources] == list(dict.fromkeys(op.inputs))
            assert [column.after[k] for k in column.targets] == op.outputs
            seen.append(op)
        rights = [c.x + c.width + c.data for c in row.columns]
        assert all(c.x >= end for c, end in zip(row.columns[1:], rights))
        assert rights[-1] < 1600
    assert seen == given.operations


def test_words_do_not_cover_one_another():
    """No two texts of the largest diagram meet, at the mean width of a letter."""
    root = ET.fromstring(diagram(bundle("mobilenet_v2:factory")))
    drawing = next(e for e in root if e.get("transform"))
    boxes = []
    for e in drawing.iter("{http://www.w3.org/2000/svg}text"):
        size, x, y = (float(e.get(k)) for k in ("font-size", "x", "y"))
        width = 0.58 * size * len(e.text)
        left = x - width / 2 if e.get("text-anchor") == "middle" else x
        boxes.append((left, left + width, y - 0.72 * size, y, e.text))
    boxes.sort()
    met = [
        (a[4], b[4])
        for k, a in enumerate(boxes)
        for b in boxes[k + 1 :]
        if b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]
    assert len(boxes) > 200 and not met


def test_what_the_demo_shows():
    opened = Bundle(DEMO)
    given = columns(opened)
    texts = [op.text for op in given.operations]
    assert texts.count("batch norm") == 6 and texts.count("relu") == 5 and texts.count("+") == 3
    hebbian, depth = given.operations[0], [w.text for w in given.wires["features"]]
    assert hebbian.layers == ("stem", "norm") and hebbian.mixes and hebbian.learned
    assert depth == ["N", "C 64"]
    assert [w.text for w in given.wires["input"]] == ["N", "C 1", "H 28", "W 28"]


def test_operations_of_a_transformer_are_told_together():
    texts = [op.text for op in columns(bundle("vit:factory")).operations]
    assert texts.count("gelu") == 3 and texts.count("softmax") == 3
    assert texts.count("pick") == 10  # query, key and value of three blocks, and the class token
    assert "erf" not in texts and texts.count("linear") == 3 * 4 + 1


def test_the_same_bundle_gives_the_same_text(tmp_path):
    assert diagram(Bundle(DEMO)) == diagram(Bundle(DEMO))


def test_the_command_writes_it(tmp_path, capsys):
    target = tmp_path / "out.svg"
    assert main(["inspect", str(DEMO), "--diagram", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: FashionNet as a diagram\n"
    assert target.read_text(encoding="utf-8") == diagram(Bundle(DEMO))


@pytest.mark.parametrize(
    ("name", "said"),
    [("out.png", "ends in .svg"), ("no/out.svg", "there is no folder"), ("d.svg", "cannot write")],
)
def test_a_place_that_does_not_do(tmp_path, capsys, name, said):
    (tmp_path / "d.svg").mkdir()
    assert main(["inspect", str(DEMO), "--diagram", str(tmp_path / name)]) == 1
    assert said in capsys.readouterr().err


def test_a_device_is_told_what_it_lacks(tmp_path, monkeypatch):
    def missing(extra, what, module):
        raise MissingExtraError(extra, what, module)

    monkeypatch.setattr(inspection, "load_extra", missing)
    with pytest.raises(TtaError, match=r"a diagram needs onnx, .*'tta-edge\[export\]'"):
        inspection.draw(Bundle(DEMO), tmp_path / "out.svg")

"""The page and the chart: whole, self-contained, readable by those who do not see them."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.recordings import recording, row
from tta.evaluation.chart import write_chart
from tta.evaluation.page import page
from tta.evaluation.panels import scaled
from tta.evaluation.picture import pixels, png, viridis
from tta.evaluation.summary import summarise
from tta.evaluation.timeline import timeline

SHIFTS = [("clean", 0.0), ("fog", 5.0), ("clean", 0.0), ("<b>dirt</b> & co", 2.5)]


def lively(segment, k):
    """A run in which everything happens at least once."""
    batch = k % 4 == 3
    return row(
        segment,
        k,
        frozen=int(segment % 2 == 1 and k % 3 != 0),
        adapted=int(k % 5 == 0),
        level="drift" if segment == 1 else "ok",
        event={3: "level", 47: "detected", 55: "alarm", 90: "detected"}.get(k, ""),
        detail={"kind": "lens_dirt"} if k == 55 else {},
        scores={"entropy": 0.1 + 0.02 * (k % 50), "shape_of_it": -float(k), "estimated_error": 0.3},
        layers={"stem": 0.1 * k, "head": float("nan") if k < 20 else 0.2} if batch else {},
        action=("commit", "hold", "reset", "rollback")[k // 4 % 4] if batch else "",
    )


def made(make=lively, picture=None, lengths=(40, 40, 40, 40), **about):
    found = recording(lengths, make, SHIFTS[: len(lengths)], **about)
    rng = np.random.default_rng(0)
    for segment in found.segments:
        segment.after = rng.integers(0, 255, (32, 32, 3), np.uint8) if picture is None else picture
        segment.before = None if segment.clean else segment.after // 2
    return found


def drawn(found):
    summary = summarise(found)
    return page(found, summary, timeline(found, summary))


class Elements(HTMLParser):
    """All elements with their attributes; balanced, or it fails."""

    EMPTY = ("meta", "img", "link", "br", "rect", "path", "line", "image")

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_asks_nothing_of_a_network():
    text = drawn(made())
    elements = Elements(text)
    addresses = [a[key] for _, a in elements.found for key in ("src", "href") if key in a]
    assert addresses and all(a.startswith("data:image/png;base64,") for a in addresses)
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not elements.all("link") and "@import" not in text and "url(" not in text
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon", text)


def test_the_page_is_for_phones_dark_rooms_and_screen_readers():
    text = drawn(made())
    elements = Elements(text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in elements.all(
        "meta"
    )
    assert "prefers-color-scheme: dark" in text and "color-scheme: light dark" in text
    assert elements.all("html") == [{"lang": "en"}] and len(elements.all("title")) > 1
    assert all(a.get("alt") for a in elements.all("img")) and elements.all("img")
    charts = [a for a in elements.all("svg") if "panel" in a.get("class", "")]
    assert len(charts) == 8 and all(
        a["role"] == "img" and len(a["aria-label"]) > 20 for a in charts
    )
    assert sorted(a["class"] for a in charts) == ["panel narrow"] * 4 + ["panel wide"] * 4
    for chart in charts:
        assert int(chart["viewbox"].split()[2]) == (380 if "narrow" in chart["class"] else 980)


def test_the_page_says_what_the_summary_says():
    found = made()
    text, summary = drawn(found), summarise(found)
    for figures in summary.segments:
        assert f"{100 * figures.frozen:.1f} %" in text and f"{100 * figures.adapted:.1f} %" in text
    assert "estimated without labels" in text and "shape of it" in text and "lens dirt" in text
    assert "There is no error curve" not in text


def test_names_cannot_break_the_page():
    text = drawn(made(model="</script><script>alert(1)</script>"))
    assert "<script>alert" not in text and "<b>dirt" not in text and "&lt;b&gt;dirt" in text
    assert text.count("</script>") == 2
    Elements(text)


@pytest.mark.parametrize(
    ("clean", "phrase"), [(0, "own answer to the clean frame"), (None, "can be far off")]
)
def test_without_labels_the_page_says_that_there_is_no_error(clean, phrase):
    text = drawn(made(lambda s, k: row(s, k, label=None, clean=clean)))
    assert "There is no error curve" in text and phrase in text and "<h2>Error</h2>" not in text


def test_little_to_draw_is_drawn_too(tmp_path):
    found = recording((1,), lambda s, k: row(s, k), [("clean", 0.0)])
    found.thresholds.clear()
    Elements(drawn(found))
    assert "no calibrated thresholds" in drawn(found)
    write_chart(tmp_path / "t.png", timeline(found, summarise(found)))


@pytest.mark.parametrize(
    "picture", [None, np.ones((6, 50), np.float32), np.zeros((224, 300), np.uint8)]
)
def test_the_chart_is_drawn(tmp_path, picture):
    found = made(picture=picture)
    write_chart(tmp_path / "t.png", timeline(found, summarise(found)))
    with Image.open(tmp_path / "t.png") as image:
        image.load()
        assert image.width == 1440 and 900 < image.height < 2000
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 3), (1, 1)])
def test_png_is_read_back_as_it_was(shape, rng):
    image = rng.integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png(image))) as read:
        assert np.array_equal(np.asarray(read), image)


def test_pictures_are_made_small_and_keep_their_shape(rng):
    assert pixels(np.full((300, 600, 3), 7, np.uint8), 100).shape == (50, 100, 3)
    assert np.array_equal(pixels(np.full((8, 8), 0.5, np.float32)[..., None]), np.full((8, 8), 128))
    small = rng.integers(0, 256, (28, 28), np.uint8)
    assert np.array_equal(pixels(small), small)


def test_colours_go_from_dark_to_light_and_gaps_are_gray():
    colours = viridis(np.array([0.0, 0.5, 1.0, np.nan])).astype(float)
    light = colours @ [0.299, 0.587, 0.114]
    assert light[0] < light[1] < light[2] and set(colours[3]) == {221.0}


def test_the_scale_of_layers_is_logarithmic():
    shares, low, high = scaled(np.array([[0.01, 0.1, 1.0, np.nan, 0.0]]))
    assert (low, high) == (0.01, 1.0)
    assert (
        shares[0, :3] == pytest.approx([0, 0.5, 1]) and np.isnan(shares[0, 3]) and shares[0, 4] == 0
    )

"""The ways to serve a cell against the run loop itself."""

from pathlib import Path

import numpy as np
import pytest

import tta.demo
from tta.bundle import Bundle
from tta.corruptions import corrupt
from tta.errors import TtaError
from tta.evaluation.cell import evaluate
from tta.evaluation.material import Material
from tta.evaluation.protocols import visit
from tta.evaluation.serving import answers
from tta.records import Frame
from tta.runtime.loop import run

BUNDLE = Path(tta.demo.__file__).parent / "fashion.tta"


@pytest.fixture(scope="module")
def material():
    return Material(Bundle(BUNDLE), "fashion", 192)


class Pairs:
    """Fog, then the source's own data, from the source for each pair."""

    resets = "before each pair"

    def __init__(self, pairs=1):
        self.pairs = pairs

    def visits(self, setting):
        for k in range(self.pairs):
            yield visit(setting.items(2 * k), "fog", 5, True)
            yield visit(setting.items(2 * k + 1), "none", 0, False)


class Given:
    """A source of the frames that ``Pairs`` shows first."""

    live = False

    def __init__(self, material, length=192):
        self.frames = []
        for k, name in enumerate(("fog", "none")):
            items = material.chosen[np.random.default_rng([0, k]).permutation(192)[:length]]
            images = material.data.read(items, 0 * items)
            images = corrupt(images, "fog", 5, 0, first=items) if name == "fog" else images
            self.frames += list(images)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for seq, image in enumerate(self.frames):
            yield Frame(image, seq / 30, seq)


class Kept(list):
    """A sink."""

    def write(self, result):
        self.append((result.prediction.label, result.prediction.confidence))

    def close(self):
        pass


@pytest.mark.parametrize("adapter", ["tent", "t3a"])
@pytest.mark.parametrize(
    ("serve", "governor"),
    [("stream", "always"), ("stream", "auto"), ("batch", "auto"), ("batch", "always")],
)
def test_it_is_what_the_run_loop_does(material, adapter, serve, governor):
    found = evaluate(material, Pairs(), adapter, batch=32, serve=serve, governor=governor)
    kept = Kept()
    (stream,) = run(
        material.bundle, Given(material), adapter, kept, serve=serve, batch=32, governor=governor
    )
    assert found.images["pre"].tolist() == [label for label, _ in kept]
    np.testing.assert_allclose(
        found.images["pre_confidence"], [sure for _, sure in kept], atol=1e-5
    )
    counted = {k: sum(row[k] for row in found.rows) for k in ("commits", "rollbacks", "holds")}
    assert counted == {k: getattr(stream.counts, k) for k in counted}
    assert sum(row["returns"] for row in found.rows) == stream.counts.resets
    assert found.rows[-1]["steps"] == stream.current.step
    assert all(row["governor"] == governor for row in found.rows)
    assert found.rows[0]["serve"] == {"batch": "batch-pre", "stream": "stream"}[serve]
    assert counted["commits"] == 12 or governor == "auto"
    if governor == "auto" and adapter == "tent":  # fog is adapted to, and given up when it ends
        fog, clean = found.rows
        assert fog["commits"] > clean["commits"] and clean["returns"] == 1
        assert fog["error"] < fog["frozen_error"]


@pytest.mark.parametrize("serve", ["batch", "stream"])
def test_off_is_the_source(material, serve):
    found = evaluate(material, Pairs(), "tent", batch=32, serve=serve, governor="off")
    assert np.array_equal(found.images["pre"], found.images["frozen"])
    assert all(row["commits"] == 0 and row["steps"] == 0 for row in found.rows)


@pytest.mark.parametrize(("serve", "governor"), [("stream", "auto"), ("batch", "auto")])
def test_a_visit_that_begins_at_the_source_knows_nothing(material, serve, governor):
    """The second pair begins as the first does: state, governor and waiting frames are new."""

    class Twice(Pairs):
        def visits(self, setting):
            for _ in range(2):
                yield visit(setting.items(0)[:80], "fog", 5, True)  # 80 is no multiple of 32

    found = evaluate(material, Twice(), "tent", batch=32, serve=serve, governor=governor)
    one, two = (found.images["pre_confidence"][found.images["visit"] == k] for k in (0, 1))
    assert np.array_equal(one, two)
    first, second = found.rows
    assert first["commits"] == second["commits"] > 0 and first["steps"] == second["steps"]


def test_in_a_stream_frames_that_wait_go_on_into_the_next_visit(material):
    class Short(Pairs):
        def visits(self, setting):
            yield visit(setting.items(0)[:20], "fog", 5, True)
            yield visit(setting.items(1)[:20], "fog", 5, False)

    rows = evaluate(material, Short(), "bn_stats", batch=32, serve="stream", governor="always").rows
    assert [row["commits"] for row in rows] == [0, 1]


def test_a_step_that_no_state_can_hold_is_counted_and_the_stream_goes_on(material):
    with np.errstate(all="ignore"):
        found = evaluate(material, Pairs(), "tent?lr=1e38", batch=32)
    assert all(np.isfinite([row["error"], row["ece"]]).all() for row in found.rows)
    assert sum(row["rollbacks"] for row in found.rows) > 0
    assert (found.images["pre_confidence"] >= 0).all()


def test_an_answer_that_is_not_finite_is_no_class():
    logits = np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, 0.0]], np.float32)
    classes, confidence = answers(logits)
    assert classes.tolist() == [1, -1, -1] and confidence[1:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"serve": "live"}, "batch or stream"),
        ({"governor": "on"}, "auto, shadow, always, frozen, off"),
        ({"serve": "stream", "post": True}, "leave --post out"),
        ({"governor": "auto", "post": True}, "leave --post out"),
    ],
)
def test_ways_that_there_are_none_of(material, more, message):
    with pytest.raises(TtaError, match=message):
        evaluate(material, Pairs(), "tent", **more)

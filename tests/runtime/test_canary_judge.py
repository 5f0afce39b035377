"""Canaries in the governor: what a state unlearns keeps it out of force."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.corruptions import corrupt
from tta.errors import TtaError
from tta.runtime.canary_folder import CanaryFolder, Member
from tta.runtime.loop import advance
from tta.runtime.stream import Stream


@pytest.fixture(scope="module")
def fog(clean):
    return corrupt(clean, "fog", 5)


def inputs(stream, images):
    return np.stack([stream.preprocess(frame) for frame in frames(images)])


def fed(stream, images):
    return [
        result.report.decision
        for frame in frames(images)
        for result in advance(stream, frame)
        if result.report.decision
    ]


@pytest.fixture(scope="module")
def unlearned(model, clean, labels, fog):
    """Clean frames that the source model knows, and a state that fog made does not."""
    stream = Stream(model)
    fed(stream, fog[:200])
    x = inputs(stream, clean)
    run, primary = model.adapting.run, model.bundle.manifest.primary
    before, after = (
        run("batch", x, slots, alpha=0.0).outputs[primary].argmax(1) == labels
        for slots in (model.bundle.source_slots, stream.current.slots)
    )
    places = np.flatnonzero(before & ~after)
    assert len(places) > 30
    return x[places], labels[places]


def folder(path, model, known, severity, name="stream"):
    made = CanaryFolder(path / name, model.bundle)
    made.add([(x, Member("", int(y), severity)) for x, y in zip(*known)])
    return path


@pytest.mark.parametrize(
    ("severity", "count", "word"),
    [("major", 1, "must-never-break canary"), ("minor", 40, "canaries and mends 0")],
)
def test_a_state_that_unlearns_them_is_never_in_force(
    tmp_path, model, fog, unlearned, severity, count, word
):
    known = tuple(part[:count] for part in unlearned)
    stream = Stream(model, canaries=folder(tmp_path, model, known, severity))
    said = fed(stream, fog[:200])
    assert stream.counts.commits == 0 and stream.current is stream.origin
    vetoed = [d for d in said if word in d.reason]
    assert vetoed and vetoed[0].figures["canaries_broken"] >= 1


def test_canaries_of_the_world_it_adapts_to_are_no_hindrance(tmp_path, model, fog, labels):
    stream = Stream(model)
    known = inputs(stream, fog[300:360]), labels[300:360]
    stream = Stream(model, canaries=folder(tmp_path, model, known, "minor"))
    said = fed(stream, fog[:200])
    assert stream.counts.commits >= 5
    judged = [d.figures for d in said if "canaries" in d.figures]
    assert judged and all(f["canaries"] == 32 for f in judged)
    assert judged[-1]["canaries_mended"] > judged[-1]["canaries_broken"]


def test_each_stream_has_its_own(tmp_path, model, unlearned):
    known = tuple(part[:1] for part in unlearned)
    path = folder(tmp_path, model, known, "major", "stream-1")
    assert Stream(model, canaries=path, name="stream-1").canary_judge is not None
    assert Stream(model, canaries=path, name="stream-0").canary_judge is None
    assert Stream(model).canary_judge is None


def test_a_folder_that_cannot_be_read_is_refused_before_the_first_frame(tmp_path, model):
    (tmp_path / "stream").mkdir()
    (tmp_path / "stream" / "00000001.json").write_text("{}")
    with pytest.raises(TtaError, match="no readable list of canaries"):
        Stream(model, canaries=tmp_path)


def test_canaries_that_cannot_be_judged_veto(tmp_path, model, fog, unlearned):
    known = tuple(part[:1] for part in unlearned)
    stream = Stream(model, canaries=folder(tmp_path, model, known, "minor"))

    def broken(method, state):
        raise ValueError("a frame is gone")

    stream.canary_judge.judge = broken
    said = fed(stream, fog[:120])
    assert stream.counts.commits == 0
    assert any("canaries failed: a frame is gone" in d.reason for d in said)

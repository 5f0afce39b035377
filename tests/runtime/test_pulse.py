"""The pulse: before every frame, and while sources wait for one."""

import threading

import pytest

from tests.runtime.conftest import Images
from tta.records import Frame
from tta.runtime import pulse
from tta.runtime.backoff import Backoff
from tta.runtime.loop import run
from tta.runtime.source_uri import open_source


class Enough(Exception):
    """The pulse was felt."""


@pytest.fixture
def beats():
    """Counts the beats; ends what waits at the one that is set as ``last``."""

    class Beats:
        count, last = 0, None

        def __call__(self):
            self.count += 1
            if self.last is not None and self.count >= self.last:
                raise Enough

    made = Beats()
    pulse.listen(made)
    yield made
    pulse.leave(made)


def test_the_loop_beats_before_every_frame(beats, bundle, clean):
    run(bundle, Images(clean[:7]), "none")
    assert beats.count == 8  # and before it finds that there is no more


def test_a_window_that_is_not_full_beats_too(beats):
    from tta.runtime.loop import results
    from tta.runtime.outcome import Counts

    class Unfull:
        counts = Counts()
        passage = type("P", (), {"tick": lambda self, t_s: None})()

        def preprocess(self, frame):
            return None

    assert list(results([(Unfull(), [Frame(0, 0.0, k) for k in range(5)])])) == []
    assert beats.count == 6


def test_a_listener_that_left_hears_nothing(beats):
    pulse.leave(beats)
    pulse.beat()
    assert beats.count == 0
    pulse.listen(beats)


def test_a_wait_beats_and_ends_with_its_event(beats, monkeypatch):
    monkeypatch.setattr(pulse, "POLL_S", 0.01)
    assert not pulse.wait(threading.Event(), 0.05) and beats.count >= 3
    done = threading.Event()
    done.set()
    assert pulse.wait(done, 60)


def test_a_camera_that_is_away_beats(beats, tmp_path, monkeypatch):
    (tmp_path / "away_camera.py").write_text(
        "class Away:\n    live = captured = True\n    def __enter__(self):\n"
        "        from tta.errors import SourceError\n        raise SourceError('unplugged')\n"
        "    def __exit__(self, *_): ...\n    def __iter__(self): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = open_source("away_camera:Away", insist=True)
    source.backoff = Backoff(60.0, 60.0)
    with source:
        beats.last = beats.count + 3
        with pytest.raises(Enough):
            next(iter(source))


@pytest.mark.parametrize("uri", ["serial://loop://?silence_s=60", "dir://{folder}?watch=true"])
def test_a_source_that_hears_nothing_beats(beats, tmp_path, uri):
    if uri.startswith("serial"):
        pytest.importorskip("serial")
    with open_source(uri.format(folder=tmp_path)) as source:
        beats.last = beats.count + 2
        with pytest.raises(Enough):
            next(iter(source))


def test_a_silent_topic_beats(beats):
    pytest.importorskip("paho.mqtt.client")
    import queue

    source = open_source("mqtt://10.0.0.2/topic")
    source._client, source._queue = object(), queue.Queue()
    beats.last = 2
    with pytest.raises(Enough):
        next(iter(source))

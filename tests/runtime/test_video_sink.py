"""The film of a run, read back."""

import numpy as np
import pytest

from tests.runtime.conftest import frames
from tta.errors import TtaError
from tta.runtime.loop import advance
from tta.runtime.sink_uri import open_sink
from tta.runtime.stream import Stream

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_run_is_a_film(model, drifted, tmp_path, suffix):
    sink = open_sink(f"video:{tmp_path}/out.{suffix}?fps=10")
    stream = Stream(model, "bn_stats")
    for frame in frames(drifted[:20]):
        for result in advance(stream, frame):
            sink.write(result)
    sink.close()
    sink.close()
    film = cv2.VideoCapture(f"{tmp_path}/out.{suffix}")
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 20 and film.get(cv2.CAP_PROP_FPS) == 10
    ok, first = film.read()
    film.release()
    assert ok and first.shape[1] >= 240
    picture = first[: first.shape[0] - 44].mean(2)
    times = picture.shape[0] // drifted[0].shape[0]
    small = picture[times // 2 :: times, times // 2 :: times][:28, :28]
    want = drifted[0] if drifted[0].ndim == 2 else drifted[0].mean(-1)
    assert np.abs(small - want).mean() < 20
    assert first[-44:].max() > 150  # letters


def test_readings_that_are_no_pictures_are_left_out(tmp_path, model):
    sink = open_sink(f"video:{tmp_path}/out.avi")
    stream = Stream(model, "none")
    for frame in frames(np.zeros((3, 7))):
        for result in advance(stream, frame):
            sink.write(result)
    sink.close()
    assert sink.left_out == 3 and not (tmp_path / "out.avi").exists()


@pytest.mark.parametrize(
    "text", ["video:out.gif", "video:{}/missing/out.avi", "video:{}/out.avi?fps=0"]
)
def test_files_that_cannot_be(tmp_path, text):
    with pytest.raises(TtaError, match=r"needs a file|does not exist|fps is above 0"):
        open_sink(text.format(tmp_path))

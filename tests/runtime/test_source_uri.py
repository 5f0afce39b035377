"""The grammar of source URIs, and that credentials stay out of sight."""

import numpy as np
import pytest

from tta.errors import NotFoundError, SourceError
from tta.runtime.redaction import redact
from tta.runtime.source_uri import open_source, schemes

SECRET = "hunter2"


def test_known_schemes():
    assert {"camera", "dir", "file", "npz", "serial", "synthetic", "v4l2"} <= set(schemes())


@pytest.mark.parametrize("number", [0, "0", "12"])
def test_a_bare_integer_is_a_camera(number):
    assert open_source(number).opener[:2] == ("v4l2", [str(number)])


def test_bare_paths_by_what_they_are(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 2)))
    (tmp_path / "clip.mp4").touch()
    assert type(open_source(str(tmp_path))).__name__ == "Dir"
    assert type(open_source(str(tmp_path / "a.npz"))).__name__ == "Npz"
    assert type(open_source(f"{tmp_path}/a.npz?fps=5")).__name__ == "Npz"
    assert type(open_source(str(tmp_path / "clip.mp4"))).__name__ == "File"


def test_a_bare_path_with_a_question_mark(tmp_path):
    (tmp_path / "what?").mkdir()
    assert type(open_source(str(tmp_path / "what?"))).__name__ == "Dir"


def test_options_from_python_win():
    with open_source("synthetic://?shape=2&frames=3", frames=1) as source:
        assert [frame.data.shape for frame in source] == [(2,)]


def test_the_last_question_mark_begins_the_query():
    pytest.importorskip("serial")
    with open_source("serial://loop://?logging=error?baud=9600") as source:
        assert not source.link.closed


def test_values_are_percent_decoded(tmp_path):
    np.savez(tmp_path / "a.npz", **{"a&b": np.zeros((1, 2)), "c": np.zeros((1, 3))})
    with open_source(f"npz://{tmp_path}/a.npz?key=a%26b") as source:
        assert next(iter(source)).data.shape == (2,)


def test_a_class_from_outside(tmp_path, monkeypatch):
    (tmp_path / "my_source.py").write_text(
        "class Mine:\n"
        "    live = False\n"
        "    def __init__(self, rest='none', *, rate: float = 1.0, anything=None):\n"
        "        self.said = rest, rate, anything\n"
        "class Loose:\n"
        "    def __init__(self, **options): self.said = options\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert open_source("my_source:Mine").said == ("none", 1.0, None)
    assert open_source("my_source:Mine?rate=2&anything=3").said == ("none", 2.0, 3)
    assert open_source("my_source:Mine://a/b?rate=1e3").said == ("a/b", 1000.0, None)
    assert open_source("my_source:Loose?a=true&b=x").said == {"a": True, "b": "x"}


@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        ("synthetc://", NotFoundError, "no source serves synthetc://; known: synthetic"),
        ("gopher://cam/1", NotFoundError, "no source serves gopher://; known: .*camera.*v4l2"),
        ("no_such_mod:Source", NotFoundError, "cannot load 'no_such_mod:Source'"),
        ("synthetic://?frame=3", NotFoundError, "synthetic:// has no option 'frame'; .*frames"),
        ("synthetic://?rest=3", NotFoundError, "no option 'rest'; it has: shape, frames"),
        (
            "synthetic://?frames=few",
            SourceError,
            "frames of synthetic:// must be an integer, .*few",
        ),
        ("synthetic://?fps=nan", SourceError, "fps of synthetic:// must be a finite number"),
        ("synthetic://?shape=3x", SourceError, "shape .* must be like 3x32x32, but is '3x'"),
        ("synthetic://?dtype=int4", SourceError, "must be float32 or uint8, but is 'int4'"),
        ("synthetic://frames=3", SourceError, "as in synthetic://\\?frames=3"),
        ("dir://x?loop=maybe", SourceError, "loop of dir:// must be true or false, but is 'maybe'"),
        ("nowhere/at/all", SourceError, "'nowhere/at/all' is no source: .* a path that exists"),
        ("", SourceError, "'' is no source"),
        ("camera://front", SourceError, "a camera is a number or a path such as /dev/video0"),
        ("serial://", SourceError, "needs a port, as in serial:///dev/ttyACM0"),
    ],
)
def test_messages(uri, kind, message):
    with pytest.raises(kind, match=message):
        open_source(uri)


def test_an_empty_synthetic_stream_is_refused():
    with (
        pytest.raises(SourceError, match="frames=0 is empty"),
        open_source("synthetic://?frames=0"),
    ):
        pass


@pytest.mark.parametrize(
    "uri",
    [
        f"rtsp://admin:{SECRET}@10.0.0.7/stream",
        f"rtsp://admin:{SECRET}/@x@10.0.0.7/stream",
        f"http://{SECRET}@10.0.0.7/mjpg",
        f"http://10.0.0.7/mjpg?user=me&password={SECRET}&fps=5",
        f"http://10.0.0.7/?Token={SECRET}",
        f"serial://socket://me:{SECRET}@localhost:4000",
        f"admin:{SECRET}@10.0.0.7/stream?token={SECRET}",
    ],
)
def test_credentials_stay_out_of_sight(uri):
    if "://" in uri:
        assert SECRET not in redact(uri)
    try:
        source = open_source(uri)
    except (SourceError, NotFoundError) as error:
        assert SECRET not in str(error)
    else:
        assert SECRET not in repr(source)


@pytest.mark.parametrize(
    "text", ["dir:///home/me@work/a", "npz://a.npz?key=x@y", "serial://socket://host:4000", "0"]
)
def test_what_is_no_credential_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize("scheme", ["", "dir://", "npz://", "file://", "camera:///", "serial://"])
@pytest.mark.parametrize("path", ["~nobody_of_this_name/x", "a" * 5000, "a\0b", "a/"])
def test_paths_that_cannot_be(scheme, path):
    pytest.importorskip("serial")
    pytest.importorskip("cv2")
    with pytest.raises(SourceError), open_source(scheme + path) as source:
        next(iter(source))

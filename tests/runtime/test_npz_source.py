"""Archives of arrays: which array, which rows, and what is refused."""

import numpy as np
import pytest

from tta.errors import SourceError
from tta.runtime.source_uri import open_source

ROWS = np.arange(5, dtype=np.uint8)[:, None] * np.ones((1, 3), np.uint8)


def write(path, **arrays):
    np.savez(path / "a.npz", **arrays)
    return f"npz://{path}/a.npz"


def rows(uri):
    with open_source(uri) as source:
        return [int(frame.data[0]) for frame in source]


def test_frames_carry_labels_and_time(tmp_path):
    uri = write(tmp_path, images=ROWS, labels=np.arange(5) * 10)
    with open_source(f"{uri}?fps=50&start=1&stop=3") as source:
        frames = list(source)
    assert [(f.seq, f.t_s, f.meta["label"], f.meta["row"]) for f in frames] == [
        (0, 0.0, 10, 1),
        (1, 0.02, 20, 2),
    ]
    assert type(frames[0].meta["label"]) is int


def test_frames_cannot_change_the_data(tmp_path):
    with open_source(write(tmp_path, x=ROWS)) as source:
        frame = next(iter(source))
    with pytest.raises(ValueError, match="read-only"):
        frame.data[0] = 1


def test_shuffle_is_seeded(tmp_path):
    uri = write(tmp_path, images=ROWS)
    first = rows(f"{uri}?shuffle=7")
    assert first == rows(f"{uri}?shuffle=7") != rows(uri) == [0, 1, 2, 3, 4]
    assert sorted(first) == rows(uri)


@pytest.mark.parametrize(
    ("arrays", "query"),
    [
        ({"anything": ROWS}, ""),
        ({"anything": ROWS, "count": np.arange(5)}, ""),
        ({"x": ROWS, "mask": ROWS[::-1]}, ""),
        ({"a": ROWS[::-1], "b": ROWS}, "?key=b"),
    ],
)
def test_choice_of_the_array(tmp_path, arrays, query):
    assert rows(write(tmp_path, **arrays) + query) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "labels", [np.arange(4), np.zeros(5), np.zeros((5, 2), int), np.array(["a"] * 5)]
)
def test_labels_that_do_not_fit_are_none(tmp_path, labels):
    with open_source(write(tmp_path, x=ROWS, labels=labels)) as source:
        assert all("label" not in frame.meta for frame in source)
    with (
        pytest.raises(SourceError, match=r"labels 'labels' .* integers of shape \(5,\), but are"),
        open_source(f"npz://{tmp_path}/a.npz?labels=labels"),
    ):
        pass


@pytest.mark.parametrize(
    ("arrays", "query", "message"),
    [
        ({"a": ROWS, "b": ROWS}, "", r"name it with \?key=...; it has a, b"),
        ({"a": np.arange(3)}, "", "does not say which array .* it has a"),
        ({}, "", "it has no arrays"),
        ({"a": ROWS}, "?key=images", "has no array 'images'; it has a"),
        ({"a": np.arange(3)}, "?key=a", r"'a' .* has shape \(3,\); frames need \(N, ...\)"),
        ({"a": ROWS}, "?labels=y", "has no array 'y'; it has a"),
        ({"x": np.array([[{}]], object)}, "", "'x' .* cannot be read safely: .*allow_pickle"),
        ({"a": ROWS}, "?shuffle=true", "shuffle of npz:// must be an integer, but is 'true'"),
        ({"a": ROWS}, "?start=-1", "must not be negative"),
        ({"a": ROWS}, "?fps=0", "must be positive"),
        ({"a": ROWS}, "?start=9", "has 5 rows, of which start=9 and stop=None leave none"),
        ({"a": ROWS[:0]}, "", "has 0 rows"),
    ],
)
def test_messages(tmp_path, arrays, query, message):
    uri = write(tmp_path, **arrays) + query
    with pytest.raises(SourceError, match=message), open_source(uri) as source:
        next(iter(source))


def test_files_that_are_no_archive(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "whole.npz", x=ROWS)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:60])
    np.save(tmp_path / "single.npy", ROWS)
    for name, message in (
        ("text.npz", "is not a readable .npz archive"),
        ("empty.npz", "is not a readable .npz archive"),
        ("cut.npz", "is not a readable .npz archive"),
        ("missing.npz", "there is none at"),
        ("single.npy", "is a single array, not an .npz archive"),
    ):
        with pytest.raises(SourceError, match=message), open_source(f"npz://{tmp_path}/{name}"):
            pass

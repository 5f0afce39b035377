"""Durable states: back bit for bit, bounded, and what is said where they are not."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import Images
from tta.errors import StateError, TtaError
from tta.records import frozen
from tta.runtime.durable import Durable, Shelf
from tta.runtime.loop import run
from tta.runtime.stream import Stream

ROOT = Path(__file__).parents[2]


def states(folder):
    return sorted((folder / "stream").glob("*.safetensors"))


def test_the_state_of_the_end_is_the_state_of_the_beginning(tmp_path, bundle, drifted):
    (first,) = run(bundle, Images(drifted[:128]), "tent", [Durable(tmp_path)])
    assert first.counts.commits > 0
    written = states(tmp_path)
    again = Stream(first.model, "tent")
    durable = Durable(tmp_path)
    durable.attach([again])
    durable.close()
    assert again.current.hash == first.current.hash != again.origin.hash
    assert (again.current.step, again.current.parent) == (first.current.step, first.current.parent)
    assert durable.said == [] and states(tmp_path) == written  # nothing new, so nothing written


def numbered(bundle, k):
    origin = origin_of(bundle)
    bias = np.full_like(origin.slots["head.bias"], k)
    return dataclasses.replace(origin, slots=frozen({**origin.slots, "head.bias": bias}), step=k)


def origin_of(bundle):
    from tta.runtime.method import make_adapter, source_state

    return source_state(make_adapter("tent"), bundle)


def test_the_last_few_are_kept(tmp_path, bundle):
    shelf = Shelf(tmp_path, kept=3)
    for k in range(1, 8):
        shelf.put(numbered(bundle, k), bundle)
        assert shelf.last(bundle)[0].hash == numbered(bundle, k).hash
    assert [p.stem for p in shelf.files()] == ["00000005", "00000006", "00000007"]


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_damaged_state_is_named_and_the_one_before_it_taken(tmp_path, bundle, model, all_of_them):
    shelf = Shelf(tmp_path / "stream")
    shelf.folder.mkdir()
    for k in (1, 2):
        shelf.put(numbered(bundle, k), bundle)
    for path in shelf.files() if all_of_them else shelf.files()[-1:]:
        path.write_bytes(path.read_bytes()[:-5])
    stream, durable = Stream(model, "tent"), Durable(tmp_path)
    durable.attach([stream])
    durable.close()
    assert (
        "00000002.safetensors" in durable.said[0] and "kept as 00000002.damaged" in durable.said[0]
    )
    if all_of_them:
        assert "began with the source model" in durable.said[-1]
        assert stream.current is stream.origin
    else:
        assert stream.current.hash == numbered(bundle, 1).hash


def test_a_state_of_another_bundle_is_refused(tmp_path, bundle, model):
    shelf = Shelf(tmp_path / "stream")
    shelf.folder.mkdir()
    shelf.put(numbered(bundle, 1), bundle)
    other = object.__new__(type(bundle))
    other.__dict__.update({**bundle.__dict__, "hash": "f" * 64})
    with pytest.raises(StateError, match=r"was adapted from bundle .* use the bundle it came from"):
        shelf.last(other)
    assert len(shelf.files()) == 1


def test_one_run_a_folder(tmp_path):
    durable = Durable(tmp_path)
    with pytest.raises(StateError, match="another run keeps its states"):
        Durable(tmp_path)
    durable.close()
    Durable(tmp_path).close()
    with pytest.raises(TtaError, match="0 or more"):
        Durable(tmp_path, -1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_said_and_the_old_state_stays(
    tmp_path, bundle, drifted, monkeypatch, number
):
    shelf = Shelf(tmp_path / "stream")
    shelf.folder.mkdir()
    shelf.put(numbered(bundle, 1), bundle)

    def fail(handle):
        raise OSError(number, os.strerror(number))

    durable = Durable(tmp_path, 0)
    monkeypatch.setattr(os, "fsync", fail)
    (stream,) = run(bundle, Images(drifted[:64]), "tent", [durable], governor="always")
    assert stream.counts.commits > 0
    assert any(os.strerror(number) in sentence for sentence in durable.said)
    monkeypatch.undo()
    assert shelf.last(bundle)[0].hash == numbered(bundle, 1).hash
    assert [p.name for p in shelf.folder.iterdir()] == ["00000001.safetensors"]


WRITER = """
import sys, itertools
from importlib.resources import files
from pathlib import Path
from tests.runtime.test_durable import numbered
from tta.bundle import Bundle
from tta.runtime.durable import Shelf
bundle, shelf = Bundle(files("tta.demo") / "fashion.tta"), Shelf(Path(sys.argv[1]))
for k in itertools.count(1):
    shelf.put(numbered(bundle, k), bundle)
    print(k, flush=True)
"""


@pytest.mark.parametrize("moment_s", [0.003, 0.02, 0.07])
def test_kill_leaves_the_last_durable_state_or_a_newer_one(tmp_path, bundle, moment_s):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    time.sleep(moment_s)
    os.kill(child.pid, signal.SIGKILL)
    said = child.communicate()[0].split()
    last = int(said[-1]) if said else 1
    state, complaints = Shelf(tmp_path).last(bundle)
    assert complaints == [] and state.step in (last, last + 1)
    assert state.hash == numbered(bundle, state.step).hash

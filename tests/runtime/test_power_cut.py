"""Durable states after a power cut: a disk that forgets what was not flushed, cut after every operation.

The model of the disk is a harsh one: bytes of a file are kept when it was flushed, and a name (made, renamed,
removed) when its folder was. Of what was not flushed, any part may be there: nothing, everything, names
without bytes, or half of the bytes.
"""

import os
import tempfile
from pathlib import Path

from tests.runtime.test_durable import numbered
from tta.runtime.durable import Shelf


class Disk:
    """Records what is asked of one folder, and what the platter has after each operation."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.moments = Path(folder), []
        self.data, self.names = {}, {}  # flushed bytes by inode; flushed names
        self._real = {n: getattr(os, n) for n in ("fsync", "replace")}
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def now(self):
        """The folder as the running system sees it."""
        return {p.name: (p.stat().st_ino, p.read_bytes()) for p in self.folder.iterdir()}

    def note(self, durable):
        self.moments.append((dict(self.names), dict(self.data), self.now(), durable))

    def fsync(self, handle):
        self.note(self.durable)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        self._real["fsync"](handle)
        if path == self.folder:
            self.names = {name: inode for name, (inode, _) in self.now().items()}
        else:
            self.data[os.fstat(handle).st_ino] = path.read_bytes()
        self.note(self.durable)

    def replace(self, source, target):
        self.note(self.durable)
        self._real["replace"](source, target)
        self.note(self.durable)

    durable = 0


def images(names, data, now):
    """What a cut at that moment may leave: by name, bytes."""
    inodes = {inode: content for inode, content in now.values()}
    newest = {name: inode for name, (inode, _) in now.items()}
    for kept in (names, newest, {**newest, **names}):
        for share in (0, 0.5, 1):
            yield {
                name: data.get(
                    inode, inodes.get(inode, b"")[: int(share * len(inodes.get(inode, b"")))]
                )
                for name, inode in kept.items()
            }


def recorded(folder, bundle, monkeypatch, flushes=True):
    disk = Disk(folder, monkeypatch)
    if not flushes:
        monkeypatch.setattr(os, "fsync", lambda handle: disk.note(disk.durable))
    real = os.unlink

    def unlink(path, missing_ok=False):
        disk.note(disk.durable)
        real(path)
        disk.note(disk.durable)

    monkeypatch.setattr(Path, "unlink", unlink)
    shelf = Shelf(Path(folder), kept=2)
    for k in range(1, 6):
        shelf.put(numbered(bundle, k), bundle)
        disk.durable = k
        disk.note(k)
    monkeypatch.undo()
    return disk.moments


def outcomes(moments, bundle):
    """(state found, last durable one, complaints) for every image of every moment."""
    for names, data, now, durable in moments:
        for image in images(names, data, now):
            with tempfile.TemporaryDirectory() as scratch:
                for name, content in image.items():
                    (Path(scratch) / name).write_bytes(content)
                state, said = Shelf(Path(scratch)).last(bundle)
            whole = state is None or state.hash == numbered(bundle, state.step).hash
            yield (state.step if state else 0), durable, said, whole


def test_after_a_power_cut_the_last_durable_state_is_back(tmp_path, bundle, monkeypatch):
    found = list(outcomes(recorded(tmp_path, bundle, monkeypatch), bundle))
    assert len(found) > 200
    assert all(durable <= step <= durable + 1 and whole for step, durable, _, whole in found)
    assert all(said == [] for _, _, said, _ in found)


def test_the_model_of_the_disk_would_notice(tmp_path, bundle, monkeypatch):
    """A writer that flushes nothing loses what it called durable; whatever comes back is whole even so."""
    found = list(outcomes(recorded(tmp_path, bundle, monkeypatch, False), bundle))
    assert any(step < durable for step, durable, _, _ in found)
    assert all(whole for *_, whole in found)

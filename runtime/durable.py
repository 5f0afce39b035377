"""Durable commits: the states of a run on the disk, at most every so many seconds, and back at its start.

A folder has one subfolder a stream, and in it the last few states, ``<number>.safetensors``, each a sealed
file of ``store``: written beside its name, flushed, renamed, and the folder flushed. A file that is there by
its name is therefore whole, and the one with the largest number is the last durable state.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tta.bundle import Bundle
from tta.errors import StateError, TtaError
from tta.records import Result, State
from tta.runtime.store import load_state, save_state
from tta.runtime.stream import Stream

KEPT = 8  # states a stream
RETRY_S = 0.05  # a disk that takes nothing is asked no more often
UNNAMED = "stream"  # folder of the only stream of a run


class Shelf:
    """The durable states of one stream, oldest first.

    Args:
        folder: where they are; made where it is absent.
        kept: the last so many stay.
    """

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self.folder, self._kept = folder, kept

    def files(self) -> list[Path]:
        """The states by number."""
        found = [p for p in self.folder.glob("*.safetensors") if p.stem.isdecimal()]
        return sorted(found, key=lambda p: int(p.stem))

    def put(self, state: State, bundle: Bundle) -> Path:
        """Write a state under the next number, and let the oldest go.

        Raises:
            StateError: it cannot be written; what was durable still is.
        """
        files = self.files()
        number = int(files[-1].stem) + 1 if files else 1
        target = self.folder / f"{number:08}.safetensors"
        save_state(target, state, bundle)
        for old in files[: max(0, len(files) + 1 - self._kept)]:
            old.unlink(missing_ok=True)
        return target

    def last(self, bundle: Bundle) -> tuple[State | None, list[str]]:
        """The newest whole state, None without one, and a sentence for each file that was not whole.

        A file that cannot be used is renamed, so that it is met once.

        Raises:
            StateError: the newest state is of another bundle.
        """
        said: list[str] = []
        for path in reversed(self.files()):
            try:
                return load_state(path, bundle), said
            except StateError as error:
                if "was adapted from bundle" in str(error):
                    raise
                path.rename(path.with_suffix(".damaged"))
                said.append(f"{error}; it is kept as {path.with_suffix('.damaged').name}")
        return None, said

    def clear(self) -> tuple[int, Path]:
        """Move all states into a new subfolder; how many they were, and where they are.

        The newest goes last, so that a cut in between never brings an older one back.
        """
        n = 1
        while (aside := self.folder / f"before-reset-{n}").exists():
            n += 1
        aside.mkdir()
        files = self.files()
        for path in files:
            path.rename(aside / path.name)
        for folder in (aside, self.folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return len(files), aside


def shelves(folder: str | Path, stream: str | None = None) -> list[Shelf]:
    """The streams of a folder of durable states, or the one of that name.

    Raises:
        StateError: there is none.
    """
    root = Path(os.path.expanduser(folder))
    found = sorted(p for p in root.glob("*") if p.is_dir() and stream in (None, p.name))
    if not found:
        what = f"no stream {stream!r}" if stream else "no durable state"
        raise StateError(f"there is {what} in {root}: tta run --state-dir {root} keeps them")
    return [Shelf(path) for path in found]


def numbered_path(shelf: Shelf, text: str) -> Path:
    """The file of a state: one of the shelf by its number, or any by its path."""
    return shelf.folder / f"{int(text):08}.safetensors" if text.isdecimal() else Path(text)


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep runs out of a folder of durable states meanwhile.

    Raises:
        StateError: a run has it, or it cannot be written.
    """
    shelves(folder)
    held = Durable(folder)
    try:
        yield
    finally:
        held.close()


class Durable:
    """Keeps the state in force of every stream of a run; a sink that is told of the streams.

    A thread writes, so that a slow card never holds up a frame. After a power cut the state is back that was
    in force at most ``every_s`` seconds before, and the time of one write.

    Args:
        folder: of the states; made where it is absent, and locked while the run lasts.
        every_s: seconds between two writes of a stream, at least.
        kept: states a stream.
        said: takes the sentences about what went wrong.

    Raises:
        StateError: the folder cannot be written, or another run has it.
    """

    def __init__(
        self,
        folder: str | Path,
        every_s: float = 60.0,
        kept: int = KEPT,
        said: list[str] | None = None,
    ) -> None:
        if not every_s >= 0 or kept < 1:
            raise TtaError(
                "a state is durable every so many seconds, 0 or more, and one or more are kept, but "
                f"was given {every_s:g} s and {kept}"
            )
        self.folder, self.every_s, self._kept = Path(os.path.expanduser(folder)), every_s, kept
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise StateError(
                f"another run keeps its states in {self.folder}: name another"
            ) from error
        except OSError as error:
            raise StateError(f"no state can be kept in {self.folder}: {error.strerror}") from error
        self.said = [] if said is None else said
        self._streams: list[tuple[Stream, Shelf]] = []
        self._durable: dict[str, State] = {}
        self._wanted: dict[str, State] = {}
        self._change = threading.Condition()
        self._open = True
        self._thread: threading.Thread | None = None

    def attach(self, streams: Sequence[Stream]) -> None:
        """Bring back the last durable state of each stream, before its first frame."""
        for stream in streams:
            shelf = Shelf(self.folder / (stream.name or UNNAMED), self._kept)
            try:
                shelf.folder.mkdir(exist_ok=True)
                for scratch in shelf.folder.glob(".*.safetensors.*"):  # of a write that was cut off
                    scratch.unlink()
                state, said = shelf.last(stream.model.bundle)
            except OSError as error:
                raise StateError(
                    f"no state can be kept in {shelf.folder}: {error.strerror}"
                ) from error
            for sentence in said:
                self.said.append(sentence)
            if state is not None:
                stream.restore(state)
            elif said:
                self.said.append(
                    "no durable state was whole, so the run began with the source model"
                )
            self._durable[stream.name] = state if state is not None else stream.current
            self._streams.append((stream, shelf))
        self._thread = threading.Thread(target=self._work, name="tta-durable", daemon=True)
        self._thread.start()

    def write(self, result: Result) -> None:
        """Note what is in force after a decision."""
        if result.report.decision is not None:
            self._note()

    def _note(self) -> None:
        with self._change:
            for stream, _ in self._streams:
                if stream.current is not self._durable[stream.name]:
                    self._wanted[stream.name] = stream.current
            self._change.notify()

    def _work(self) -> None:
        last = -float("inf")
        while self._open:
            with self._change:
                while self._open and not self._wanted:
                    self._change.wait()
                while (
                    self._open
                    and (left := last + max(self.every_s, RETRY_S) - time.monotonic()) > 0
                ):
                    self._change.wait(left)
            self._put()
            last = time.monotonic()

    def _put(self) -> None:
        """Write what is wanted; what cannot be written now is tried again."""
        for stream, shelf in self._streams:
            with self._change:
                state = self._wanted.pop(stream.name, None)
            if state is None or state is self._durable[stream.name]:
                continue
            try:
                shelf.put(state, stream.model.bundle)
                self._durable[stream.name] = state
            except (StateError, OSError) as error:
                if str(error) not in self.said:
                    self.said.append(str(error))
                with self._change:
                    self._wanted.setdefault(stream.name, state)

    def close(self) -> None:
        """Make the states in force durable, and let go of the folder; a second time does nothing."""
        if not self._open:
            return
        self._note()
        with self._change:
            self._open = False
            self._change.notify()
        if self._thread is not None:
            self._thread.join()
            self._put()
        self._lock.close()

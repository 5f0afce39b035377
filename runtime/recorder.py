"""Keeps a bounded sample of a run's frames: a sink that is also told of the streams.

::

    recording.json            bundle, model, what is kept
    stream/0000000123.npz     the 124th frame that this stream answered: ``<stream>/<at>.npz``

Each frame is one archive, whole or not there, without anything pickled: the reading as it came (``data``),
the model input ``x`` where the reading alone does not make it, what was served (``output``,
``probabilities``, ``features``, ``entropy``, ``state``), when (``seq``, ``t_s``, ``wall_s``, ``run``), and
``meta`` as JSON. Numbers of frames and hashes of states are those of the audit log, so that a decision can
be laid beside its frames.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tta.errors import TtaError
from tta.records import Result
from tta.runtime.folder import writable
from tta.runtime.store import put_whole
from tta.runtime.stream import Stream

FORMAT, SCHEMA = "tta-recording", 1
KEEP = 256  # frames a stream
WAITING = 16  # frames that may wait for the disk
UNNAMED = "stream"  # folder of the only stream of a run
Choose = Literal["uniform", "last", "all"]
ALL_MIB = 1024.0


class Recorder:
    """A sample of each stream's answered frames on the disk.

    ``uniform``: every frame of the stream so far is there with the same chance (Vitter, "Random sampling
    with a reservoir", ACM TOMS 1985, algorithm R); of n frames about keep·(1 + ln(n/keep)) are written.
    ``last``: the newest, so that each frame is written, which a memory card may not bear for long.
    ``all``: every frame from the first on, for replay, until ``mib`` are full; the folder must be new, and a
    frame waits for the disk. Under the others a folder that has frames of the same bundle goes on. A thread
    writes; where the disk does not keep up, frames are left out and counted.

    Args:
        folder: of the recording; made where it is absent.
        keep: frames a stream.
        choose: ``uniform``, ``last`` or ``all``.
        seed: of the chance.
        wait_s: that a frame waits for the disk at most, before it is left out.
        said: takes the sentences about what went wrong.
        mib: that ``all`` may fill.
        settings: of the run, kept for replay.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = KEEP,
        choose: Choose = "uniform",
        seed: int = 0,
        wait_s: float = 0.02,
        said: list[str] | None = None,
        mib: float = ALL_MIB,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if keep < 1 or choose not in ("uniform", "last", "all"):
            raise TtaError(
                "a recording keeps 1 frame or more, uniform, last or all, but was given "
                f"{keep} and {choose!r}"
            )
        self.folder, self._keep, self._choose = writable(folder, "a recording"), keep, choose
        self._wait_s = 60.0 if choose == "all" else wait_s
        self._left, self._settings = mib * 2**20, dict(settings or {})
        self._rng = np.random.default_rng(seed)
        self._windows = False
        self._kept: dict[str, list[Path]] = {}
        self._seen: dict[str, int] = {}
        self._run = 0
        self._primary = ""
        self.lost = 0
        self.said = [] if said is None else said
        self._waiting: queue.Queue[tuple[Path, Path | None, Mapping[str, Any]] | None]
        self._waiting = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._work, name="tta-record", daemon=True)

    def attach(self, streams: Sequence[Stream]) -> None:
        """The streams of this run, before the first frame.

        Raises:
            TtaError: the folder is a recording of another bundle, or cannot be written.
        """
        bundle = streams[0].model.bundle
        about = about_recording(self.folder) or {}
        if about and about["bundle"] != bundle.hash:
            raise TtaError(
                f"{self.folder} records bundle {about['bundle'][:12]} ({about['model']}), but this is "
                f"{bundle.hash[:12]} ({bundle.manifest.name}): name another folder"
            )
        if self._choose == "all":
            if about:
                raise TtaError(
                    f"{self.folder} is a recording already: name a new folder for all frames"
                )
            self._keep = sys.maxsize
        self._run = int(about.get("runs", 0)) + 1
        self._primary = bundle.manifest.primary
        self._windows = bundle.manifest.preprocess.get("kind") == "window"
        for stream in streams:
            kept = frame_files(stream_folder(self.folder, stream.name))
            self._kept[stream.name] = kept
            told = int(about.get("seen", {}).get(stream.name, 0))
            self._seen[stream.name] = max(told, int(kept[-1].stem) + 1 if kept else 0)
            for _ in range(len(kept) - self._keep):  # more than may stay by now
                place = 0 if self._choose == "last" else int(self._rng.integers(len(kept)))
                kept.pop(place).unlink(missing_ok=True)
            stream_folder(self.folder, stream.name).mkdir(exist_ok=True)
        self._bundle = bundle
        self._write_about()
        self._thread.start()

    def write(self, result: Result) -> None:
        """Take one result; a frame that is not kept costs a random number."""
        if result.prediction is None or result.stream not in self._kept:
            return
        kept, at = self._kept[result.stream], self._seen[result.stream]
        self._seen[result.stream] = at + 1
        place = len(kept)
        if place >= self._keep:
            place = 0 if self._choose == "last" else int(self._rng.integers(at + 1))
            if place >= self._keep:
                return
        arrays = self._arrays(result, at)
        if self._choose == "all":
            self._left -= sum(np.asarray(v).nbytes for v in arrays.values()) + 256 * len(arrays)
            if self._left < 0:
                self._complain(f"{self.folder} is full: frames from here on are not recorded")
                return
        path = stream_folder(self.folder, result.stream) / f"{at:010}.npz"
        old = kept[place] if place < len(kept) else None
        try:
            self._waiting.put((path, old, arrays), timeout=self._wait_s)
        except queue.Full:
            self.lost += 1
            return
        if old is not None:
            del kept[place]
        kept.append(path)

    def _arrays(self, result: Result, at: int) -> dict[str, Any]:
        frame, answer = result.frame, result.prediction
        assert answer is not None
        said = {k: v for k, v in frame.meta.items() if isinstance(v, (str, int, float, np.generic))}
        meta = {k: v.item() if isinstance(v, np.generic) else v for k, v in said.items()}
        arrays = {
            "data": np.array(frame.data),  # a source may use its memory again
            "output": answer.outputs[self._primary],
            "probabilities": answer.probabilities,
            "features": answer.outputs.get("features", np.zeros(0, np.float32)),
            "entropy": answer.entropy,
            "state": answer.state,
            "served": answer.served,
            "source": frame.source,
            "stream": result.stream,
            "seq": frame.seq,
            "t_s": float(frame.t_s),
            "wall_s": time.time(),
            "run": self._run,
            "at": at,
            "meta": json.dumps(meta),
        }
        return {**arrays, "x": result.x} if self._windows and result.x is not None else arrays

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            path, old, arrays = item
            scratch = path.with_name(f".{path.name}")
            try:
                if old is not None:  # first, since the disk may be full
                    old.unlink(missing_ok=True)
                with scratch.open("wb") as file:
                    np.savez(file, **arrays)
                os.replace(scratch, path)
            except OSError as error:
                self.lost += 1
                scratch.unlink(missing_ok=True)
                self._complain(f"frames cannot be recorded in {self.folder}: {error.strerror}")

    def _write_about(self) -> None:
        bundle = self._bundle
        about = {
            "format": FORMAT,
            "schema": SCHEMA,
            "bundle": bundle.hash,
            "bundle_path": str(bundle.path.resolve()),
            "model": bundle.manifest.name,
            "keep": self._keep,
            "settings": self._settings,
            "choose": self._choose,
            "runs": self._run,
            "seen": self._seen,
        }
        try:
            put_whole(self.folder / "recording.json", (json.dumps(about, indent=1) + "\n").encode())
        except OSError as error:
            raise TtaError(f"{self.folder} cannot be written: {error.strerror}") from error

    def _complain(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.append(sentence)

    def close(self) -> None:
        """Write what waits, and how many frames there were; a second time does nothing."""
        if not self._thread.is_alive():
            return
        self._waiting.put(None)
        self._thread.join()
        try:
            self._write_about()
        except TtaError as error:
            self._complain(str(error))
        if self.lost:
            self._complain(f"{self.lost} frames were not recorded in {self.folder}")


def about_recording(folder: Path) -> dict[str, Any] | None:
    """What ``recording.json`` says; None where there is none.

    Raises:
        TtaError: it is damaged, or newer.
    """
    path = folder / "recording.json"
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT or not isinstance(about["bundle"], str):
            raise ValueError("it is something else")
        newer = about["schema"] > SCHEMA
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TtaError(f"{path} is no readable recording ({error}): name another folder") from error
    if newer:
        raise TtaError(f"{path} has a newer schema than this tta reads: upgrade tta-edge")
    found: dict[str, Any] = about
    return found


def stream_folder(folder: Path, stream: str) -> Path:
    """Folder of a stream's frames."""
    return folder / (re.sub(r"[^\w.-]", "_", stream) or UNNAMED)


def frame_files(folder: Path) -> list[Path]:
    """Files of a stream's frames, oldest first."""
    found = [p for p in folder.glob("*.npz") if p.stem.isdecimal()]
    return sorted(found, key=lambda p: int(p.stem))


__all__ = ["Recorder", "about_recording", "frame_files", "stream_folder"]

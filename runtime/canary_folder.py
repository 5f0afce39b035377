"""Canaries that were added on the device: one folder a stream, every change a version.

::

    00000003.json      members of version 3: frame, target, severity, where it came from; the newest holds
    frames/<sha256>.npy  model inputs, each once, however many versions have it

Files are written beside their names, flushed and renamed, frames before the version that names them, so that
after a power cut the last version is there, whole. The last ``KEPT`` versions stay, and a folder has ``cap``
members at most: beyond it the oldest that are not must-never-break go.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tta.bundle import Bundle
from tta.canaries import Canaries
from tta.canary_data import MOST, MOST_MAJOR, gathered
from tta.errors import TtaError
from tta.records import Array, content_hash
from tta.runtime.folder import writable
from tta.runtime.store import put_whole

FORMAT, SCHEMA = "tta-canaries", 1
CAP = 128  # members of a stream
KEPT = 8  # versions
_KEYS = {"frame", "target", "severity", "origin", "stream", "seq", "t_s"}


@dataclass(frozen=True, slots=True)
class Member:
    """One canary as a version names it.

    Attributes:
        frame: hash of the model input.
        target: class, 0 and 1 by class, or values.
        severity: ``minor`` or ``major``.
        origin: ``label`` or ``review``.
        stream: the stream it was recorded from, with ``seq`` and ``t_s`` of its frame.
    """

    frame: str
    target: Any
    severity: str = "minor"
    origin: str = "label"
    stream: str = ""
    seq: int = -1
    t_s: float = 0.0


class CanaryFolder:
    """The canaries of one stream on the disk.

    Args:
        path: the folder; it is made with the first member.
        bundle: they are for this bundle alone.
        cap: members at most.

    Raises:
        TtaError: the folder is of another bundle, damaged, or newer.
    """

    def __init__(self, path: str | Path, bundle: Bundle, cap: int = CAP) -> None:
        self.path, self._bundle, self._cap = Path(path).expanduser(), bundle, cap
        if not MOST_MAJOR < cap <= MOST:
            raise TtaError(
                f"a folder of canaries has room for {MOST_MAJOR + 1} to {MOST}, but cap is {cap}"
            )
        self.version, self.members, self.tolerance = 0, list[Member](), list[float]()
        if found := self._versions():
            self._read(found[-1])

    def load(self) -> Canaries | None:
        """The canaries of the newest version, their frames mapped from the disk; None without any."""
        if not self.members:
            return None
        frames = [self._frame(m.frame) for m in self.members]
        targets = np.array([m.target for m in self.members])
        limits = np.array(self.tolerance) if self.tolerance else None
        severity = [m.severity for m in self.members]
        return gathered(self._bundle.manifest, frames, targets, severity, limits)

    def add(
        self, new: Sequence[tuple[Array, Member]], tolerance: Sequence[float] = ()
    ) -> list[Member]:
        """Write the next version with these frames; a frame that is there already gets its new target.

        Returns:
            The members that had to go.

        Raises:
            TtaError: they do not fit the bundle, or cannot be written; the version before still holds.
        """
        named = {}
        for x, member in new:
            frame = content_hash({"x": np.asarray(x, np.float32)})
            named[frame] = (np.ascontiguousarray(x, np.float32), member)
        if not named:
            return []
        limits = [float(v) for v in tolerance] or self.tolerance
        made = [Member(**{**asdict(m), "frame": k}) for k, (_, m) in named.items()]
        kept = [m for m in self.members if m.frame not in named]
        members, gone = self._capped([*kept, *made])
        gathered(  # refused here, before anything is written
            self._bundle.manifest,
            [x for x, _ in named.values()],
            np.array([m.target for m in made]),
            [m.severity for m in made],
            np.array(limits) if limits else None,
        )
        (writable(self.path, "canaries") / "frames").mkdir(exist_ok=True)
        for frame in {m.frame for m in members} & named.keys():
            data = io.BytesIO()
            np.save(data, named[frame][0], allow_pickle=False)
            self._put(self._frame_path(frame), data.getvalue())
        self._commit(members, limits)
        return gone

    def remove(self, frames: Sequence[str]) -> int:
        """Write the next version without these frames; how many it had."""
        kept = [m for m in self.members if m.frame not in set(frames)]
        removed = len(self.members) - len(kept)
        if removed:
            self._commit(kept, self.tolerance)
        return removed

    def back(self, version: int) -> None:
        """Write an earlier version again, as the newest.

        Raises:
            TtaError: it is not there any more.
        """
        path = self.path / f"{version:08}.json"
        if path not in self._versions():
            numbers = [int(p.stem) for p in self._versions()]
            raise TtaError(f"{self.path} has no version {version}, but {numbers}")
        newest = self.version
        self._read(path)
        self.version = newest
        self._commit(self.members, self.tolerance)

    def _capped(self, members: list[Member]) -> tuple[list[Member], list[Member]]:
        major = sum(m.severity == "major" for m in members)
        if major > MOST_MAJOR:
            raise TtaError(
                f"{self.path} would hold {major} must-never-break canaries, but each proposal is shown "
                f"at most {MOST_MAJOR} of them: tag some of them minor"
            )
        spare = max(0, len(members) - self._cap)
        gone = [m for m in members if m.severity == "minor"][:spare]
        return [m for m in members if m not in gone], gone

    def _commit(self, members: list[Member], tolerance: list[float]) -> None:
        version = self.version + 1
        about = {
            "format": FORMAT,
            "schema": SCHEMA,
            "bundle": self._bundle.hash,
            "version": version,
            "tolerance": tolerance,
            "members": [asdict(m) for m in members],
        }
        self._put(self.path / f"{version:08}.json", (json.dumps(about, indent=1) + "\n").encode())
        self.version, self.members, self.tolerance = version, members, tolerance
        for old in self._versions()[:-KEPT]:
            old.unlink(missing_ok=True)
        named = {m["frame"] for p in self._versions() for m in self._parsed(p)["members"]}
        for file in (self.path / "frames").glob("*.npy"):
            if file.stem not in named:
                file.unlink(missing_ok=True)

    def _put(self, path: Path, data: bytes) -> None:
        try:
            put_whole(path, data)
        except OSError as error:
            raise TtaError(f"canaries cannot be written to {path}: {error.strerror}") from error

    def _versions(self) -> list[Path]:
        found = [p for p in self.path.glob("*.json") if p.stem.isdecimal()]
        return sorted(found, key=lambda p: int(p.stem))

    def _parsed(self, path: Path) -> dict[str, Any]:
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            fits = about["format"] == FORMAT and all(m.keys() == _KEYS for m in about["members"])
            if about["schema"] > SCHEMA:
                raise TtaError(f"{path} has a newer schema than this tta reads: upgrade tta-edge")
            if not fits:
                raise ValueError("it is something else")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TtaError(
                f"{path} is no readable list of canaries ({error}): remove it, and the version before holds"
            ) from error
        found: dict[str, Any] = about
        return found

    def _read(self, path: Path) -> None:
        about = self._parsed(path)
        if about["bundle"] != self._bundle.hash:
            raise TtaError(
                f"the canaries in {self.path} are for bundle {str(about['bundle'])[:12]}, but this is "
                f"{self._bundle.hash[:12]} ({self._bundle.manifest.name}): use the bundle they are "
                "for, or another folder"
            )
        self.version, self.tolerance = int(path.stem), [float(v) for v in about["tolerance"]]
        self.members = [Member(**m) for m in about["members"]]

    def _frame_path(self, frame: str) -> Path:
        return self.path / "frames" / f"{frame}.npy"

    def _frame(self, frame: str) -> Array:
        path = self._frame_path(Path(frame).name)
        try:
            found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise TtaError(
                f"canary {path} cannot be read ({error}): copy the folder again"
            ) from error
        if content_hash({"x": found}) != frame:
            raise TtaError(f"canary {path} is damaged (its hash differs): label the frame again")
        return found


__all__ = ["CAP", "CanaryFolder", "Member"]

"""``tta purge``: remove the frames of a recording, with their labels and canaries."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tta.arguments import whole
from tta.errors import TtaError

HELP = "remove recorded frames, their labels and canaries"


def arguments(p: argparse.ArgumentParser) -> None:
    """What the command may be told."""
    p.add_argument("recording", help="folder of tta run --record, which must not be running")
    p.add_argument("--days", type=whole(1), help="only frames written longer ago than this")


def command(given: argparse.Namespace) -> None:
    """Run it."""
    from tta.runtime.label_file import LabelFile
    from tta.runtime.recorder import about_recording, frame_files

    folder = Path(given.recording).expanduser()
    about = about_recording(folder)
    if about is None:
        raise TtaError(f"{folder} is no recording: nothing was removed")
    labels = LabelFile(folder, about["bundle"])
    before = time.time() - given.days * 86400 if given.days else float("inf")
    old = [
        p
        for stream in sorted(folder.iterdir())
        if stream.is_dir() and not stream.is_symlink()
        for p in frame_files(stream)
        if p.stat().st_mtime < before
    ]
    canaries = [] if given.days else _canaries(folder / "canaries")
    try:
        for path in [*old, *canaries]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise TtaError(f"{error.filename} cannot be removed: {error.strerror}") from error
    gone = {f"{p.parent.name}/{p.stem}" for p in old}
    labels.labels = {k: v for k, v in labels.labels.items() if k not in gone}
    labels.offered = [k for k in labels.offered if k not in gone]
    labels.skipped = [k for k in labels.skipped if k not in gone]
    if labels.path.is_file():
        labels.write()
    print(f"removed {len(old)} frames and {len(canaries)} files of canaries from {folder}")


def _canaries(folder: Path) -> list[Path]:
    """Lists first, so that none names a frame that is gone."""
    lists = [p for p in folder.glob("*/*.json") if p.stem.isdecimal()]
    return [*lists, *folder.glob("*/frames/*.npy")]

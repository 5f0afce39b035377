"""``tta label``: offers frames, takes answers, and says how good the served answers were."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tta.errors import TtaError
from tta.runtime.answer_text import guessed, told, typed
from tta.runtime.canary_folder import CanaryFolder
from tta.runtime.folder import writable
from tta.runtime.frame_picture import drawn, levels, write_png
from tta.runtime.labelling import Labelling
from tta.runtime.recording import Recorded, Recording

QUIT = ":q"


def label_command(given: argparse.Namespace) -> None:
    """Run it."""
    labelling, folder = opened(given)
    offered = labelling.offer(given.count, given.seed)
    pictures(given.pictures, offered)
    if given.list:
        _list(labelling, offered)
        return
    if given.answers:
        pairs = [(k, v) for k, v in answers(given.answers, "answer") if v]
        targets = [(k, typed(labelling.manifest, v)) for k, v in pairs]
        for name, _ in targets:
            if name not in labelling.frames:
                raise TtaError(f"{given.answers} names frame {name}, which is not recorded")
        for name, target in targets:
            labelling.label(name, target)
        labelling.join(folder, [name for name, _ in targets])
    else:
        _ask(labelling, folder, offered)
    print(f"{len(folder.members)} canaries in {folder.path}, version {folder.version}")
    said(labelling)


def opened(given: argparse.Namespace) -> tuple[Labelling, CanaryFolder]:
    """The frames and the canaries that a command is on."""
    recording = Recording(given.recording, given.bundle)
    labelling = Labelling(recording, given.stream, _tolerance(given.tolerance))
    root = Path(given.canaries).expanduser() if given.canaries else recording.folder / "canaries"
    return labelling, CanaryFolder(root / labelling.stream, recording.bundle)


def said(labelling: Labelling) -> None:
    """Print the measured accuracy beside the label-free estimate."""
    print(f"accuracy measured   {labelling.measured()}")
    print(f"mean confidence     {100 * labelling.confidence():.1f} % (label-free estimate)")


def pictures(folder: str | None, frames: Sequence[Recorded]) -> None:
    """Write the frames that are images as PNG."""
    if folder is None:
        return
    out = writable(folder, "pictures")
    for frame in frames:
        image = levels(frame.reading())
        if image is not None:
            write_png(out / f"{frame.name.replace('/', '-')}.png", image)


def answers(path: str, column: str) -> Iterator[tuple[str, str]]:
    """Rows of a CSV file: the frame's name and what is said of it.

    Raises:
        TtaError: it cannot be read, or has other columns.
    """
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TtaError(f"the answers {path} cannot be read: {error}") from error
    for row in rows:
        if row.get("frame") is None or row.get(column) is None:
            raise TtaError(f"{path} needs the columns frame and {column}: --list prints them")
        yield row["frame"].strip(), row[column].strip()


def asked(prompt: str) -> str:
    """A line that was typed; the word to quit at the end of input."""
    try:
        return input(prompt).strip()
    except EOFError:
        return QUIT


def _ask(labelling: Labelling, folder: CanaryFolder, offered: Sequence[Recorded]) -> None:
    print(f"{len(offered)} frames. Type the class or values; Enter skips, {QUIT} stops for now.")
    for frame in offered:
        guess = told(labelling.manifest, guessed(labelling.manifest, frame.about["output"]))
        print(f"\n{drawn(frame.reading())}\n{frame.name}: served {guess} ({frame.confidence:.2f})")
        while True:
            text = asked("label: ")
            if not text or text == QUIT:
                break
            try:
                labelling.label(frame.name, typed(labelling.manifest, text))
            except TtaError as error:
                print(error)
                continue
            labelling.join(folder, [frame.name])
            break
        if text == QUIT:
            break
        if not text:
            labelling.file.skipped.append(frame.name)
            labelling.file.write()
    print()


def _list(labelling: Labelling, offered: Sequence[Recorded]) -> None:
    strata = labelling.strata()
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["frame", "answer", "served", "confidence", "stratum"])
    for frame in offered:
        guess = told(labelling.manifest, guessed(labelling.manifest, frame.about["output"]))
        h = strata[frame.name]
        why = "frozen differs" if h == 0 else f"confidence {h}"
        out.writerow([frame.name, "", guess, f"{frame.confidence:.4f}", why])


def _tolerance(text: str | None) -> tuple[float, ...]:
    try:
        found = tuple(float(v) for v in text.split(",")) if text else ()
    except ValueError:
        found = (0.0,)
    if not all(v > 0 for v in found):
        raise TtaError(f"--tolerance is numbers above 0 as A,B, but is {text!r}")
    return found


__all__ = ["answers", "asked", "label_command", "opened", "pictures", "said"]

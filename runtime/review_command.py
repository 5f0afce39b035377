"""``tta review``: tags mistakes; major ones become must-never-break canaries.

``correct``: the served answer was right after all, and becomes the label. ``unclear``: nobody can tell, so
that the frame is no canary and does not count. ``minor``: a mistake. ``major``: one that must not come again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import replace

from tta.errors import TtaError
from tta.runtime.answer_text import guessed, told
from tta.runtime.canary_folder import CanaryFolder
from tta.runtime.frame_picture import drawn
from tta.runtime.label_command import QUIT, answers, asked, opened, pictures, said
from tta.runtime.label_file import TAGS
from tta.runtime.labelling import Labelling

_WORDS = TAGS[1:]


def review_command(given: argparse.Namespace) -> None:
    """Run it."""
    labelling, folder = opened(given)
    queue = mistakes(labelling)
    pictures(given.pictures, [labelling.frames[k] for k in queue])
    if given.list:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(["frame", "tag", "served", "label"])
        for name in queue:
            out.writerow([name, "", *_pair(labelling, name)])
        return
    if given.answers:
        rows = [(k, v) for k, v in answers(given.answers, "tag") if v]
        for name, tag in rows:
            if name not in labelling.frames or name not in labelling.file.labels:
                raise TtaError(f"{given.answers} names frame {name}, which has no label here")
            _check(tag)
        for name, tag in rows:
            tagged(labelling, folder, name, tag)
    else:
        _ask(labelling, folder, queue)
    major = sum(m.severity == "major" for m in folder.members)
    print(f"{len(mistakes(labelling))} mistakes wait for a tag; {major} canaries must never break")
    said(labelling)


def mistakes(labelling: Labelling) -> list[str]:
    """Names of the frames whose served answer was wrong and that have no tag yet."""
    known = labelling.file.labels
    return [k for k in labelling.frames if k in known and not known[k].right and not known[k].tag]


def tagged(labelling: Labelling, folder: CanaryFolder, name: str, tag: str) -> None:
    """Keep a tag, after the canaries follow it.

    Raises:
        TtaError: it is no tag, or there are too many must-never-break canaries.
    """
    _check(tag)
    before = labelling.file.labels[name]
    made = replace(before, tag=tag)
    if tag == "correct":
        target = guessed(labelling.manifest, labelling.frames[name].about["output"])
        made = replace(made, target=target, right=True)
    labelling.file.labels[name] = made
    try:
        if tag == "unclear":
            labelling.leave(folder, name)
        else:
            labelling.join(folder, [name], "major" if tag == "major" else "minor")
    except TtaError:
        labelling.file.labels[name] = before
        raise
    labelling.file.write()


def _ask(labelling: Labelling, folder: CanaryFolder, queue: list[str]) -> None:
    print(f"{len(queue)} mistakes. Type {', '.join(_WORDS)}; Enter skips, {QUIT} stops for now.")
    for name in queue:
        served, label = _pair(labelling, name)
        picture = drawn(labelling.frames[name].reading())
        print(f"\n{picture}\n{name}: served {served}, labelled {label}")
        while (text := asked("tag: ")) and text != QUIT:
            try:
                tagged(labelling, folder, name, text)
                break
            except TtaError as error:
                print(error)
        if text == QUIT:
            break
    print()


def _pair(labelling: Labelling, name: str) -> tuple[str, str]:
    manifest, output = labelling.manifest, labelling.frames[name].about["output"]
    label = told(manifest, labelling.file.labels[name].target)
    return told(manifest, guessed(manifest, output)), label


def _check(tag: str) -> None:
    if tag not in _WORDS:
        raise TtaError(f"a tag is {', '.join(_WORDS)}, but is {tag!r}")


__all__ = ["mistakes", "review_command", "tagged"]

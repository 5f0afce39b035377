"""What outlives a run: its log, its durable states and some of its frames, as ``tta run`` is told."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tta.errors import TtaError
from tta.runtime.durable import Durable
from tta.runtime.journal import Journal
from tta.runtime.recorder import ALL_MIB, Recorder
from tta.runtime.replay_command import SETTINGS


class Aloud(list[str]):
    """Sentences, each also said on the standard error the moment it is appended."""

    def append(self, sentence: str) -> None:
        """Keep it and say it."""
        super().append(sentence)
        sys.stderr.write(f"warning: {sentence}\n")


def keepers(given: argparse.Namespace) -> list[Any]:
    """The sinks that keep a run's log, states and frames; none where nothing was asked for.

    Raises:
        TtaError: arguments that do not go together, or a file or folder that cannot be used.
    """
    if given.state and given.state_dir:
        raise TtaError("--state and --state-dir both say what to begin with: leave one of them out")
    made: list[Any] = []
    if given.state_dir:
        made.append(Durable(given.state_dir, given.durable_s, said=Aloud()))
    if given.log:  # after it, so that the log begins with the state that was restored
        made.append(Journal(given.log, given.log_mib, said=Aloud()))
    if given.record:
        settings = {name: getattr(given, name, None) for name in SETTINGS}
        recorder = Recorder(
            given.record,
            given.record_keep,
            given.record_choose,
            said=Aloud(),
            mib=getattr(given, "record_mib", ALL_MIB),
            settings=settings,
        )
        made.append(recorder)
    return made

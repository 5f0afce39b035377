"""Kills a writer at random moments, again and again: ``python -m tests.bench.kill 1000``.

Each round forks a child that writes durable states and rows of the log with nothing in between, and says
over a pipe what is done. Imports happen before the fork, so that a round takes the time of its writes.
Folder and log are the same throughout: each round goes on from what the kill before it left.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from tests.runtime.test_durable import numbered
from tta.bundle import Bundle
from tta.runtime.durable import Shelf
from tta.runtime.history import History

LONGEST_S = 0.15


def child(pipe, bundle, folder, log, k):
    """Write until killed; 8 bytes a state that is durable, sign reversed for a row that was added."""
    history, shelf = History(log), Shelf(folder)
    while True:
        shelf.put(numbered(bundle, k), bundle)
        os.write(pipe, k.to_bytes(8, "little", signed=True))
        history.add([("decisions", {"seq": k, "action": "hold", "figures": "{}"})])
        os.write(pipe, (-k).to_bytes(8, "little", signed=True))
        if k % 10 == 0:
            history.sync()
        k += 1


def main(rounds, seed=0):
    rng, bundle = random.Random(seed), Bundle(files("tta.demo") / "fashion.tta")
    bad, states, in_flight, began = [], 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder, log, last, row = Path(scratch) / "stream", Path(scratch) / "log", 0, 0
        folder.mkdir()
        for n in range(rounds):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                child(write, bundle, folder, log, last + 1)
            os.close(write)
            time.sleep(rng.uniform(0.0, LONGEST_S))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            with os.fdopen(read, "rb") as pipe:
                told = pipe.read()
            for at in range(0, len(told) - 7, 8):
                value = int.from_bytes(told[at : at + 8], "little", signed=True)
                last, row, states = max(last, value), max(row, -value), states + (value > 0)
            scratches = [p for p in folder.iterdir() if p.suffix != ".safetensors"]
            in_flight += bool(scratches)
            for path in scratches:
                path.unlink()
            state, said = Shelf(folder).last(bundle)
            found = state.step if state else 0
            if said or not last <= found <= last + 1:
                bad.append(f"round {n}: state {found}, durable was {last}; {said}")
            elif state and state.hash != numbered(bundle, found).hash:
                bad.append(f"round {n}: state {found} is not what was written")
            last = found
            try:
                history = History(log)
                bad += [f"round {n}: {sentence}" for sentence in history.said]
                newest = history._db.execute("SELECT max(seq) FROM decisions").fetchone()[0] or 0
                history.close()
                if newest < row:
                    bad.append(f"round {n}: row {newest}, added was {row}")
            except sqlite3.Error as error:
                bad.append(f"round {n}: {error}")
    print(
        f"{rounds} kills in {time.monotonic() - began:.0f} s, {states} durable states, {row} rows"
    )
    print(
        f"{in_flight} kills met a write half done; {len(bad)} found something wrong", *bad, sep="\n"
    )
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))

"""The audit log: append-only, bounded, exact, and what becomes of a damaged one."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.conftest import Images
from tta.commands.log import decisions, opened
from tta.errors import TtaError
from tta.governor import SETTINGS
from tta.runtime.history import MIB, History, figures_of, figures_text
from tta.runtime.journal import Journal
from tta.runtime.loop import run

ROOT = Path(__file__).parents[2]


def decision(**more):
    row = {
        "stream": "",
        "seq": 1,
        "t_s": 0.5,
        "wall_s": 1.0,
        "action": "hold",
        "reason": "as source",
    }
    return "decisions", {**row, "served": "a" * 12, "figures": "{}", **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.db"


def rows(path, table="decisions"):
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
    finally:
        db.close()


def test_a_run_leaves_a_row_a_decision_whose_hashes_chain(path, bundle, clean, drifted):
    images = [*clean[:64], *drifted[:128]]
    (stream,) = run(bundle, Images(images), "tent", [Journal(path)])
    db = opened(str(path))
    found = list(decisions(db, None, None, None))
    began = db.execute("SELECT * FROM runs").fetchone()
    scores = db.execute("SELECT scores FROM drift").fetchone()[0]
    db.close()
    actions = [row["action"] for row in found]
    assert actions.count("commit") == stream.counts.commits > 0
    assert actions.count("hold") == stream.counts.holds > 0
    assert began["bundle"] == bundle.hash and began["state"] == stream.origin.hash
    assert [row["before"] for row in found] == [began["state"], *(r["after"] for r in found[:-1])]
    assert found[-1]["after"] == stream.current.hash
    assert found[-1]["parent"] == stream.current.parent
    assert isinstance(json.loads(scores), dict)


def test_a_run_says_what_it_decides_by(path, bundle, clean):
    run(bundle, Images(clean[:20]), "auto", [Journal(path)], quarantine="blank")
    db = opened(str(path))
    about = json.loads(db.execute("SELECT about FROM runs").fetchone()["about"])
    db.close()
    assert about["adapter"] == "bn_stats" and about["buffer"].startswith("reservoir?")
    assert about["quarantine"] == "blank" and about["governor"] == SETTINGS


def test_a_decision_follows_from_its_figures(path, bundle, clean, drifted):
    """The governor's rule, written again: nearer to the source than its noise, and it holds."""
    run(bundle, Images([*clean[:64], *drifted[:128]]), "tent", [Journal(path)])
    db = opened(str(path))
    found = [(r["action"], r["reason"], r["figures"]) for r in decisions(db, None, None, None)]
    db.close()
    holds = [(reason, f["from_source"] <= f["threshold"]) for action, reason, f in found]
    assert {action for action, _, _ in found} >= {"hold", "commit"}
    assert all(near == ("as the source" in why or "back at" in why) for why, near in holds)


def test_figures_keep_every_digit():
    values = {"a": 0.1 + 0.2, "b": float("nan"), "c": float("-inf"), "d": 5e-324}
    text = figures_text(values)
    json.loads(text, parse_constant=pytest.fail)
    assert repr(figures_of(text)) == repr(values)


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE decisions SET action = 'commit'",
        "DELETE FROM decisions",
        "REPLACE INTO decisions (id, action) VALUES (1, 'commit')",
        "DELETE FROM decisions WHERE id = 2",
        "UPDATE purges SET through = 9",
        "DELETE FROM purges",
    ],
)
def test_rows_are_never_changed(path, attack):
    history = History(path)
    history.add([decision(seq=k) for k in range(3)])
    assert history.purge("decisions", 1, "test") == 1
    history.add([decision(seq=3)])
    history.close()
    before = rows(path), rows(path, "purges")
    db = sqlite3.connect(path)
    if "REPLACE" in attack:
        attack = attack.replace("(1,", "(2,")
    with pytest.raises(sqlite3.IntegrityError, match="is append-only"):
        db.execute(attack)
    db.commit()
    db.close()
    assert (rows(path), rows(path, "purges")) == before and len(before[0]) == 3


def test_a_purge_is_on_record(path):
    history = History(path)
    history.add([decision(seq=k) for k in range(5)])
    assert history.purge("decisions", 2, "asked for") == 2
    history.close()
    assert [r[0] for r in rows(path)] == [3, 4, 5]
    assert [r[2:] for r in rows(path, "purges")] == [("decisions", 2, 2, "asked for")]


def test_the_log_is_bounded_and_the_oldest_go_first(path):
    history = History(path, 1)
    for k in range(40):
        history.add([decision(seq=k, reason="x" * 900) for _ in range(100)])
        history.sync()
        assert history.bytes <= MIB
    history.close()
    kept = [r[3] for r in rows(path)]
    assert kept == sorted(kept) and kept[-1] == 39 and kept[0] > 0 and len(kept) > 500
    assert sum(r[4] for r in rows(path, "purges")) == 4000 - len(kept)
    assert path.stat().st_size <= 1.5 * MIB


def test_drift_scores_go_before_decisions(path):
    history = History(path, 1)
    history.add([decision(seq=k) for k in range(50)])
    for _ in range(40):
        history.add([("drift", {"stream": "", "scores": "y" * 900}) for _ in range(100)])
        history.sync()
    history.close()
    assert len(rows(path)) == 50 and 0 < len(rows(path, "drift")) < 4000


@pytest.mark.parametrize("damage", ["junk", "page"])
def test_a_damaged_log_is_set_aside(path, damage):
    history = History(path)
    history.add([decision(seq=k, reason="x" * 500) for k in range(200)])
    history.close()
    data = bytearray(path.read_bytes())
    if damage == "junk":
        data[:] = b"no database" * 1000
    else:
        data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    history = History(path)
    assert (
        history.said[0].startswith(f"the log {path} was damaged") and "damaged-1" in history.said[0]
    )
    history.add([decision()])
    history.close()
    assert len(rows(path)) == 1
    assert Path(f"{path}.damaged-1").read_bytes() == bytes(data)


def test_files_that_are_not_ours_are_left_alone(path, tmp_path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(TtaError, match="no log of tta: name another file"):
        History(path)
    newer = tmp_path / "newer.db"
    History(newer).close()
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(TtaError, match="newer schema than this tta: upgrade"):
        History(newer)
    with pytest.raises(TtaError, match="folder that exists"):
        History(tmp_path / "no" / "log")
    with pytest.raises(TtaError, match="1 MiB or more"):
        History(path, 0.5)


def test_a_full_disk_is_said_and_the_run_goes_on(path, bundle, drifted, monkeypatch):
    journal = Journal(path, sync_s=0.01)

    def full(rows):
        raise sqlite3.OperationalError("database or disk is full")

    real = journal._history.add
    journal._history.add = lambda r: real(r) if "runs" in dict(list(r)[:1]) else full(r)
    (stream,) = run(bundle, Images(drifted[:64]), "tent", [journal])
    assert stream.counts.commits > 0
    assert any("disk is full" in s for s in journal.said)
    assert any("rows of the log" in s and "were lost" in s for s in journal.said)


WRITER = """
import sys, itertools
from tta.runtime.history import History
h = History(sys.argv[1])
for k in itertools.count():
    h.add([("decisions", {"seq": k, "action": "hold", "figures": "{}"})])
    print(k, flush=True)
    if k % 50 == 49: h.sync()
"""


@pytest.mark.parametrize("moment_s", [0.01, 0.05, 0.12])
def test_kill_loses_no_row_that_was_added(path, moment_s):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    time.sleep(moment_s)
    os.kill(child.pid, signal.SIGKILL)
    said = child.communicate()[0].split()
    last = int(said[-1]) if said else 0
    history = History(path)
    assert history.said == []
    history.close()
    seqs = [r[3] for r in rows(path)]
    assert seqs == list(range(len(seqs))) and len(seqs) >= last + 1

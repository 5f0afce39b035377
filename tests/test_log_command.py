"""``tta log``: for people, for programs, and what it says of a bad file."""

import json

import pytest

from tta.cli import main
from tta.runtime.history import History


@pytest.fixture
def log(tmp_path):
    history = History(tmp_path / "log")
    for k, action in enumerate(["hold", "commit", "commit", "rollback"]):
        row = {
            "stream": f"stream-{k % 2}", "seq": k, "t_s": 0.0, "wall_s": 1.7e9 + k, "action": action,
            "reason": f"why {action}", "step": k, "served": "b" * 12, "figures": '{"kl": 0.25, "x": "nan"}',
        }  # fmt: skip
        history.add([("decisions", row)])
    history.close()
    return str(tmp_path / "log")


def said(capsys, *arguments):
    status = main(["log", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_line_a_decision(log, capsys):
    status, out, _ = said(capsys, log)
    assert status == 0 and len(out.splitlines()) == 4
    for word in ("stream-1", "frame 1", "commit", "why commit", "kl 0.25", "x nan"):
        assert word in out.splitlines()[1]


def test_json_and_filters(log, capsys):
    _, out, _ = said(capsys, log, "--json", "--action", "commit,rollback", "--stream", "stream-1")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(r["seq"], r["figures"]["kl"]) for r in found] == [(1, 0.25), (3, 0.25)]
    assert "no decision of that kind" in said(capsys, log, "--since", "1h")[1]
    assert len(said(capsys, log, "--since", "2001-01-01")[1].splitlines()) == 4
    assert "--since is as 30m" in said(capsys, log, "--since", "soon")[2]


def test_summary(log, capsys):
    out = said(capsys, log, "--summary")[1]
    assert out.startswith("4 decisions, 2023-11-1") and "why rollback  (stream-1)" in out


def test_bad_logs(tmp_path, capsys):
    History(tmp_path / "empty").close()
    assert "holds no decision" in said(capsys, str(tmp_path / "empty"))[1]
    (tmp_path / "bare").write_bytes(b"")
    (tmp_path / "junk").write_bytes(b"junk" * 999)
    for name, words in (
        ("bare", "is empty"),
        ("junk", "is damaged"),
        ("gone", "there is no log at"),
    ):
        status, out, err = said(capsys, str(tmp_path / name))
        assert (status, out) == (1, "") and words in err and err.count("\n") == 1

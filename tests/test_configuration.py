"""A file of flags: what it may say, what it is told, and that the command line wins."""

import argparse
import re
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tta.arguments import number, whole, written_path
from tta.cli import main
from tta.commands.run import flags
from tta.configuration import add_config, keys, read, settled, tables
from tta.configuration_example import example
from tta.errors import NotFoundError, TtaError
from tta.runtime.live import LIVE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUNDLE = str(files("tta.demo") / "fashion.tta")


def small(p):
    """Flags of a command that has one of each sort."""
    p.add_argument("what")
    p.add_argument("--often", action="append")
    p.add_argument("--depth", type=whole(1), default=3)
    p.add_argument("--share", type=number(0, 1, above=True))
    p.add_argument("--how", choices=("fast", "slow"), default="fast")
    p.add_argument("--loud", action="store_true")
    p.add_argument("--plain", type=int, default=7)
    group = p.add_argument_group("keeping, off by default")
    group.add_argument("--keep", type=written_path)


@pytest.fixture
def told(tmp_path):
    """What the small command is told by a file and words."""

    def call(text, *words):
        path = tmp_path / "tta.toml"
        path.write_text(text)
        parser = argparse.ArgumentParser()
        small(parser)
        add_config(parser)
        return settled(parser.parse_args(["--config", str(path), *words]), small)

    return call


def wrong(tmp_path, text):
    path = tmp_path / "tta.toml"
    path.write_text(text)
    return read(path, small)[1]


def test_a_file_equals_the_flags(told, tmp_path):
    found = told(
        'what = "x"\noften = ["a", "b"]\ndepth = 5\nshare = 1\nhow = "slow"\nloud = true\nplain = -2'
    )
    assert (found.what, found.often, found.depth, found.share) == ("x", ["a", "b"], 5, 1.0)
    assert (found.how, found.loud, found.plain, found.keep) == ("slow", True, -2, None)


def test_what_the_file_leaves_out_is_the_default(told):
    found = told('what = "x"')
    assert (found.often, found.depth, found.share, found.how) == (None, 3, None, "fast")
    assert (found.loud, found.plain) == (False, 7)


def test_the_command_line_wins_even_with_the_default(told):
    text = 'what = "x"\noften = ["a", "b"]\ndepth = 5\nloud = false'
    found = told(text, "y", "--depth", "3", "--often", "c", "--loud")
    assert (found.what, found.depth, found.often, found.loud) == ("y", 3, ["c"], True)


def test_one_value_is_a_list_of_one_and_dashes_are_underscores(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('bundle = "b"\nsource = 0\nsink = "null"\ncommit-s = 2\nstate-dir = "s"')
    found, said = read(path, flags)
    assert said == []
    assert (found["source"], found["sink"], found["commit_s"]) == (["0"], ["null"], 2.0)
    assert found["state_dir"] == str(tmp_path / "s")


def test_a_group_may_be_a_table(told, tmp_path):
    inside = told('what = "x"\n[keeping]\nkeep = "frames"')
    assert inside.keep == told('what = "x"\nkeep = "frames"').keep == str(tmp_path / "frames")
    assert tables(small) == {"keeping": ["keep"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dept = 2", "there is no key dept (= 2); did you mean depth?"),
        ("zzz = 'a'", 'there is no key zzz (= "a"); known: what, often, depth'),
        ("depth = 0", "depth must be a whole number of at least 1, but is 0"),
        ("depth = 2.5", "depth must be a whole number of at least 1, but is 2.5"),
        ("depth = true", "depth must be a whole number of at least 1, but is true"),
        ("depth = [1, 2]", "depth must be a whole number of at least 1, but is [1, 2]"),
        ("share = 1.5", "share must be a number above 0 and at most 1, but is 1.5"),
        ("share = nan", "share must be a number above 0 and at most 1, but is nan"),
        ("how = 'slwo'", 'how must be one of fast, slow, but is "slwo"; did you mean slow?'),
        ("loud = 'yes'", 'loud must be true or false, but is "yes"'),
        ("plain = 'x'", 'plain must be a whole number, but is "x"'),
        ("keep = 1.5", "keep must be a text in quotes, but is 1.5"),
        ("keep = 2026-01-01", "keep must be a text in quotes, but is 2026-01-01"),
        ("often = []", "often is an empty list: name at least one, or leave the key out"),
        ("often = ['a', true]", "often must be a text in quotes, but is true"),
        ("[kepping]", "there is no table [kepping]; did you mean [keeping]?"),
        ("[depth]\nx = 1", "depth is no table; known: [keeping]"),
        ("[keeping]\ndepth = 1", "depth (= 1) is no key of [keeping]: put it above the first"),
        ("[keeping]\nkep = 1", "there is no key kep (= 1); did you mean keep?"),
        ("keep = 'a'\n[keeping]\nkeep = 'b'", "keep is there twice, and the second is"),
    ],
)
def test_a_wrong_line_is_one_sentence_with_key_value_and_range(tmp_path, text, says):
    (sentence,) = wrong(tmp_path, text)
    assert says in sentence


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    assert len(wrong(tmp_path, "dept = 2\nshare = 7\nloud = 1")) == 3


def test_no_file_and_no_toml(tmp_path):
    with pytest.raises(NotFoundError, match="tta config example > "):
        read(tmp_path / "gone.toml", small)
    (tmp_path / "t.toml").write_text("a = \n")
    with pytest.raises(TtaError, match="is not readable TOML"):
        read(tmp_path / "t.toml", small)


def test_what_neither_says_is_missing(told):
    with pytest.raises(TtaError, match="what is missing, and the command line has none either"):
        told("depth = 2")


def test_the_example_has_every_key_and_uncommented_is_toml():
    text = example(flags)
    assert sorted(re.findall(r"^(?:# )?(\w+) = ", text, re.M)) == sorted(keys(flags))
    bare = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.M))
    flat = {k for k, v in bare.items() if not isinstance(v, dict)}
    assert flat | {k for v in bare.values() if isinstance(v, dict) for k in v} == set(keys(flags))
    assert set(tomllib.loads(text)) == {"bundle", "source", "drift", "recording"}


def test_every_default_in_the_example_would_be_accepted(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(re.sub(r"^# (?=\w+ = )", "", example(flags), flags=re.M))
    assert read(path, flags)[1] == []


# tta config, tta run --config


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with data, away from the current one."""
    folder = tmp_path / "site"
    folder.mkdir()
    with np.load(files("tta.demo") / "fashion_test.npz") as source:
        np.savez(folder / "data.npz", images=source["images"][:12])
    monkeypatch.chdir(tmp_path)

    def write(text):
        (folder / "tta.toml").write_text(f'bundle = "{BUNDLE}"\n{text}\n')
        return "site/tta.toml"

    return write


def test_a_run_from_a_file_has_its_paths_beside_it(site, tmp_path, capsys):
    file = site(
        'source = "npz://data.npz?stop=9"\nsink = "jsonl:out.jsonl"\nlog = "a.db"\nlimit = 6'
    )
    assert main(["config", "check", file]) == 0
    assert capsys.readouterr().out == f"{file}: tta run --config {file} would take it\n"
    assert main(["run", "--config", file]) == 0
    assert {p.name for p in (tmp_path / "site").iterdir()} >= {"out.jsonl", "a.db"}
    assert (tmp_path / "site" / "out.jsonl").read_text().count("\n") == 6
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_flags_win_and_stay_relative_to_the_current_folder(site, tmp_path, capsys):
    file = site('source = "npz://data.npz"\nsink = "jsonl:out.jsonl"\nlimit = 2')
    words = [BUNDLE, "npz://site/data.npz", "--limit", "5", "--sink", "jsonl:mine.jsonl"]
    assert main(["run", *words, "--config", file]) == 0
    assert (tmp_path / "mine.jsonl").read_text().count("\n") == 5
    assert not (tmp_path / "site" / "out.jsonl").exists()
    assert main(["run", "--config", file, "--limit", "3"]) == 0
    assert (tmp_path / "site" / "out.jsonl").read_text().count("\n") == 3


def test_without_a_file_a_run_needs_bundle_and_source(capsys):
    with pytest.raises(SystemExit):
        main(["run", BUNDLE])
    assert "required: source" in capsys.readouterr().err


def test_check_says_all_and_looks_deeper_than_the_types(site, capsys):
    file = site(
        'source = ["npz://gone.npz", "rstp://x"]\nadapter = "tnet"\nsink = "jsno:x"\nbatch = 0\n'
        'device = "desktp"\nbuffer = "reservor"\nquarantine = "burts"\nfps = 0'
    )
    assert main(["config", "check", file]) == 1
    said = capsys.readouterr().err.splitlines()
    for part in (
        "batch must be a whole number of at least 1, but is 0",
        "source: no source serves rstp://; known: rtsp",
        "adapter: no adapter named 'tnet'; known: tent",
        "sink: no sink named 'jsno'; known: jsonl",
        "device: no device named 'desktp'",
        "buffer: no buffer named 'reservor'",
        "quarantine: no quarantine named 'burts'",
        "drift: --fps is above zero, but is 0",
    ):
        assert sum(part in line for line in said) == 1, part
    assert said[-1] == f"tta: {len(said) - 1} to mend in {file}"
    assert main(["run", "--config", file]) == 1
    assert capsys.readouterr().err.startswith(f"tta: {file}: batch must be")


def test_what_does_not_go_together(site, capsys):
    file = site('source = "npz://data.npz"\nserve = "batch"\ncommit_s = 3')
    assert main(["config", "check", file]) == 1
    assert "serve: --commit-s does not go with --serve batch" in capsys.readouterr().err
    for text, says in (
        ('source = "npz://data.npz"\nstate = "a"\nstate_dir = "b"', "state and state_dir both"),
        ('source = ["npz://data.npz", "0"]\nsave_state = "a"', "name one source"),
    ):
        assert main(["config", "check", site(text)]) == 1
        assert says in capsys.readouterr().err


def test_check_opens_nothing(site, tmp_path):
    file = site('source = "npz://data.npz"\nsink = "jsonl:out.jsonl"\nstate_dir = "states"')
    assert main(["config", "check", file]) == 0
    assert sorted(p.name for p in (tmp_path / "site").iterdir()) == ["data.npz", "tta.toml"]


def test_example_is_printed(capsys):
    assert main(["config", "example"]) == 0
    assert capsys.readouterr().out == example(flags)


def test_paths_of_every_sort_are_beside_the_file(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "my.npz").write_bytes(b"")
    lines = {
        "bundle": '"mine.tta"',
        "source": '["dir://photos?watch=true", "photos", "my.npz", "sim://my.npz?seed=1", "0", '
        '"rtsp://10.0.0.7/x", "dir:///else", "sim://cifar10", "serial:///dev/ttyACM0"]',
        "sink": '["jsonl:o.jsonl?append=true", "null"]',
        "device": '"board.toml"',
        "canaries": '"c"',
        "state": '"~/s"',
    }
    path = tmp_path / "t.toml"
    path.write_text("\n".join(f"{k} = {v}" for k, v in lines.items()))
    found, said = read(path, flags)
    here = Path(tmp_path)
    assert said == []
    assert found["source"] == [
        f"dir://{here}/photos?watch=true", f"{here}/photos", f"{here}/my.npz",
        f"sim://{here}/my.npz?seed=1", "0", "rtsp://10.0.0.7/x", "dir:///else", "sim://cifar10",
        "serial:///dev/ttyACM0",
    ]  # fmt: skip
    assert found["sink"] == [f"jsonl:{here}/o.jsonl?append=true", "null"]
    assert found["bundle"] == f"{here}/mine.tta" and found["canaries"] == f"{here}/c"
    assert found["device"] == f"{here}/board.toml" and found["state"] == "~/s"


def test_what_the_document_shows_is_true(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "leave_it_running.md").read_text()
    shown = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    assert len(shown) == 1
    (tmp_path / "tta.toml").write_text(shown[0])
    found, said = read(tmp_path / "tta.toml", flags)
    assert said == [] and found["durable_s"] == 600
    listed = re.search(r"these keys change, between.*?\n\n(.*?)\n\n", text, re.S)[1]
    assert re.findall(r"^\| `(\w+)`", listed, re.M) == list(LIVE)
    assert set(LIVE) <= set(keys(flags))

"""Device profiles: every shipped file, and what a mistake in one says."""

import dataclasses
from pathlib import Path

import pytest

from tta.devices import board
from tta.errors import NotFoundError, TtaError
from tta.runtime.provider import full_name
from tta.runtime.source_uri import schemes

GOOD = """
name = "board"
title = "A board"
memory_mib = 4096
cores = 4
providers = ["CPUExecutionProvider"]
ep_profile = "refold"
[threads]
inference = 3
adaptation = 1
[budget]
adapt_ms_per_s = 100
"""


def write(tmp_path, text):
    (tmp_path / "board.toml").write_text(text)
    return str(tmp_path / "board.toml")


@pytest.mark.parametrize("name", board.names())
def test_shipped_profiles(name):
    device = board.load(name)
    assert device.name == name and device.title
    assert device.providers[-1] == "CPUExecutionProvider"
    assert max(device.threads.inference, device.threads.adaptation) <= device.cores
    assert device.budget.adapt_ms_per_s <= 1000
    with pytest.raises(dataclasses.FrozenInstanceError):
        device.cores = 1


def test_a_file_from_outside(tmp_path):
    device = board.load(write(tmp_path, GOOD))
    assert device.budget.adapt_ms_per_s == 100.0 and device.camera == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "cores = 4",
            "cores = 4\ncorse = 5",
            "unknown key corse = 5 in .*board.toml; did you mean cores",
        ),
        (
            "cores = 4",
            "cores = 4\nweight = true",
            "unknown key weight = True in .*board.toml; known: ",
        ),
        ("inference = 3", "inferense = 3", "unknown key threads.inferense = 3 .*threads.inference"),
        ("cores = 4", "cores = '4'", "cores in .*board.toml must be a whole number, but is '4'"),
        ("cores = 4", "cores = 4.5", "cores in .* must be a whole number, but is 4.5"),
        ("cores = 4", "cores = true", "cores in .* must be a whole number, but is True"),
        ("cores = 4", "cores = 0", "cores in .* must be positive, but is 0"),
        ("= 100", "= nan", "budget.adapt_ms_per_s in .* must be positive, but is nan"),
        ("= 100", "= 'much'", "budget.adapt_ms_per_s in .* must be a number, but is 'much'"),
        (
            '["CPUExecutionProvider"]',
            '"CPU"',
            "providers in .* must be a list of texts, but is 'CPU'",
        ),
        (
            '["CPUExecutionProvider"]',
            "[1]",
            r"providers in .* must be a list of texts, but is \[1\]",
        ),
        ('"refold"', '"initializers"', "ep_profile in .* is one of refold, .* 'initializers'"),
        (
            "cores = 4",
            "cores = 4\nadapt = 'beside'",
            "adapt in .* is one of worker, inline, but is",
        ),
        ("adaptation = 1", "adaptation = 1\nspinning = 1", "threads.spinning in .* true or false"),
        ("[budget]\nadapt_ms_per_s = 100", "", "board.toml lacks budget"),
        ("adaptation = 1", "", "board.toml lacks threads.adaptation"),
        ("cores = 4", "cores = 4\nbudget = 3", "not readable TOML|must be a table"),
        ("cores = 4", "cores = ", "board.toml is not readable TOML: .*line"),
        (
            'name = "board"',
            'name = "other"',
            "name in .* must be 'board', as the file, not 'other'",
        ),
    ],
)
def test_mistakes(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(TtaError, match=message):
        board.load(write(tmp_path, GOOD.replace(old, new)))


def test_a_table_must_be_one(tmp_path):
    text = GOOD.replace("[budget]\nadapt_ms_per_s = 100", "").replace("cores", "budget = 3\ncores")
    with pytest.raises(TtaError, match=r"budget in .* must be a table \[budget\], but is 3"):
        board.load(write(tmp_path, text))


@pytest.mark.parametrize("name", ["desktpo", "", "../devices/desktop"])
def test_unknown_names(name):
    with pytest.raises(NotFoundError, match=r"no device named .*; known: .*desktop"):
        board.load(name)


def test_a_missing_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"there is no device profile at .*missing.toml"):
        board.load(str(tmp_path / "missing.toml"))


FIGURES = (
    "memory_mib",
    "cores",
    "threads",
    "providers",
    "ep_profile",
    "adapt",
    "budget",
    "camera",
    "thermal",
    "recognise",
)


@pytest.mark.parametrize("name", board.names())
def test_every_figure_has_a_source(name):
    device = board.load(name)
    told = [key for key in FIGURES if getattr(device, key)]
    assert [key for key in told if len(device.sources.get(key, "")) < 15] == []
    assert device.traps and all(trap.endswith(".") for trap in device.traps)
    known = {field.name for field in dataclasses.fields(device)}
    assert set(device.sources) <= known - {"sources"}


@pytest.mark.parametrize("name", board.names())
def test_what_a_profile_names_is_there(name):
    device = board.load(name)
    assert all(full_name(provider) == provider for provider in device.providers)
    assert device.camera.partition("://")[0] in schemes()
    if device.thermal:
        assert 60 <= device.thermal.throttle_c < device.thermal.limit_c <= 110
    if device.budget.memory_mib:
        assert device.budget.memory_mib <= device.memory_mib / 2


def test_the_boards_that_are_promised():
    promised = {"rpi4", "rpi5", "rpi-zero-2w", "jetson-orin-nano", "jetson-agx-orin"}
    assert promised | {"generic-arm64", "desktop"} == set(board.names())


def test_a_throttle_above_the_limit_is_refused(tmp_path):
    text = GOOD + "[thermal]\nthrottle_c = 90\nlimit_c = 80\n"
    with pytest.raises(TtaError, match=r"throttle_c in .*board.toml must not lie above .*90 > 80"):
        board.load(write(tmp_path, text))


def test_tables_that_may_be_absent(tmp_path):
    text = GOOD + 'memory_mib = 64\n[thermal]\nthrottle_c = 70\nlimit_c = 80\n[sources]\na = "b"\n'
    device = board.load(write(tmp_path, text))
    assert device.budget.memory_mib == 64 and device.thermal.limit_c == 80.0
    assert device.sources == {"a": "b"}


def test_what_a_source_must_be(tmp_path):
    with pytest.raises(TtaError, match=r"sources.cores in .* must be a text, but is 3"):
        board.load(write(tmp_path, GOOD + "[sources]\ncores = 3\n"))


@pytest.mark.parametrize("name", board.names())
def test_the_page_has_the_profile(name):
    device = board.load(name)
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    told = [
        device.title,
        device.cpu,
        f"{device.memory_mib} MiB, {device.cores}",
        f"{device.threads.inference}, {device.threads.adaptation}",
        device.adapt,
        f"{device.budget.adapt_ms_per_s:g} ms/s",
        device.camera,
    ]
    if device.thermal:
        told.append(f"{device.thermal.throttle_c:g} °C, {device.thermal.limit_c:g} °C")
    assert [text for text in told if text not in row] == []

"""Canaries: what a proposal may not unlearn, by task; what does not fit a bundle is refused."""

import math
import shutil
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.bundles import batches, model
from tta.bundle import Bundle, write_manifest
from tta.canaries import LEVEL, Canaries, right, sign_test
from tta.canary_data import MOST, MOST_MAJOR, canaries, packed, shipped
from tta.cli import main
from tta.errors import BundleError, TtaError
from tta.export.assembly import to_bundle
from tta.manifest import InputSpec, Manifest

NONE = np.zeros(0)


def manifest(task="classify", width=4):
    return Manifest(
        name="model",
        task=task,
        input=InputSpec("x", (None, 3)),
        preprocess={"kind": "none"},
        outputs={"logits": (width,), "features": (8,)},
        primary="logits",
        labels=tuple("abcd"[:width]) if task == "classify" else (),
        slots=(),
        layers={},
        provides=("batch",),
    )


def some(n=12, major=(), task="classify", width=4, **more):
    rng = np.random.default_rng(0)
    severity = ["major" if k in major else "minor" for k in range(n)]
    return canaries(
        manifest(task, width), rng.normal(size=(n, 3)), np.arange(n) % 4, severity, **more
    )


def answers(classes, k=4):
    return 5.0 * np.eye(k)[np.asarray(classes)]


def test_the_sign_test_is_the_binomial_tail():
    for b in range(12):
        for c in range(12):
            exact = sum(Fraction(math.comb(b + c, k), 2 ** (b + c)) for k in range(b, b + c + 1))
            assert sign_test(b, c) == pytest.approx(float(exact), rel=1e-12)
    assert [sign_test(b, c) <= LEVEL for b, c in ((4, 0), (5, 0), (6, 1), (7, 1), (8, 2), (9, 2))] == [
        False, True, False, True, False, True,
    ]  # fmt: skip


def test_harmless_proposals_are_seldom_vetoed():
    """Exact and so conservative: of proposals that break as often as they mend, 5 % at most."""
    rng = np.random.default_rng(1)
    made = some(32)
    vetoes = 0
    for _ in range(2000):
        flips = rng.random(32) < 0.3
        before = np.where(flips & (rng.random(32) < 0.5), (made.targets + 1) % 4, made.targets)
        after = np.where(flips & (before == made.targets), (made.targets + 1) % 4, made.targets)
        vetoes += bool(made.judge(answers(before), answers(after)).reason)
    assert vetoes / 2000 <= LEVEL


def test_a_fall_that_chance_does_not_explain_vetoes():
    made = some()
    good, bad = answers(made.targets), answers((made.targets + 1) % 4)
    mixed = np.where(np.arange(12)[:, None] < 4, bad, good)
    assert made.judge(good, mixed).reason == ""
    mixed[4] = bad[4]
    found = made.judge(good, mixed)
    assert found.reason == "it breaks 5 of 12 canaries and mends 0 (p = 0.031)"
    assert found.figures["canaries_broken"] == 5 and found.figures["canaries_p"] == 1 / 32
    assert made.judge(mixed, good).reason == ""
    assert made.judge(mixed, good).figures["canaries_mended"] == 5


def test_one_must_never_break_member_vetoes_if_the_frozen_model_knew_it():
    made = some(major=(3,))
    good = answers(made.targets)
    broken = good.copy()
    broken[3] = answers([0])[0]
    found = made.judge(good, broken)
    assert found.reason == "it breaks must-never-break canary 3: 'd' becomes 'a'"
    assert found.figures["canaries_major_broken"] == 1
    assert made.judge(broken, broken).reason == ""  # the frozen model did not know it either
    assert some().judge(good, broken).reason == ""


def test_answers_that_are_not_finite_are_wrong():
    made = some(major=(0,))
    good = answers(made.targets)
    lost = good.copy()
    lost[0, 1] = np.nan
    assert "must-never-break" in made.judge(good, lost).reason
    assert made.judge(lost, lost).reason == ""


def test_what_is_right_depends_on_the_task():
    labels = np.array([[1, 0], [1, 1]])
    assert right("multilabel", np.array([[2.0, -1.0], [2.0, -1.0]]), labels, NONE).tolist() == [
        True, False,
    ]  # fmt: skip
    values = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    said = np.array([[0.5, 1.9], [0.5, 2.1], [np.inf, 0.0]])
    assert right("regress", said, values, np.array([0.5, 2.0])).tolist() == [True, False, False]
    with pytest.raises(
        TtaError, match="classify, multilabel, regress so far, but this one is embed"
    ):
        right("embed", said, values, NONE)
    with pytest.raises(TtaError, match="do not go with the targets"):
        right("classify", said[:2], np.zeros(3, int), NONE)


def test_a_regression_says_what_error_is_tolerable():
    made = manifest("regress", 2)
    x, y = np.zeros((2, 3)), np.array([[0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(TtaError, match="need the tolerable error of its 2 outputs"):
        canaries(made, x, y)
    with pytest.raises(TtaError, match="need the tolerable error"):
        canaries(made, x, y, tolerance=np.array([0.1, 0.0]))
    found = canaries(made, x, y, ["major", "minor"], np.array([0.1, 0.1]))
    assert "must-never-break canary 0" in found.judge(y, y + 0.2).reason
    assert found.judge(y, y + 0.05).reason == ""


def test_turns_show_the_major_ones_always_and_the_others_by_and_by():
    made = some(100, major=(7, 60))
    seen = set()
    for number in range(4):
        places = made.turn(number)
        assert len(places) == 32 and {7, 60} <= set(places) and len(set(places)) == 32
        part = made.at(places)
        assert np.array_equal(part.inputs, made.inputs[places]) and part.major.sum() == 2
        assert np.bincount(part.targets, minlength=4).min() >= 6  # every class each time
        seen |= set(places)
    assert seen == set(range(100))
    assert np.array_equal(some(5).turn(9), np.arange(5))
    assert np.array_equal(made.turn(0, most=1), [7, 60])


def test_both_sets_count_and_the_later_label_holds():
    ours = some(4)
    later = replace(ours.at(np.array([1])), targets=np.array([3]), major=np.array([True]))
    both = ours.joined(later)
    assert len(both) == 4 and both.targets.tolist() == [0, 2, 3, 3]
    assert both.major.tolist() == [False, False, False, True]
    with pytest.raises(TtaError, match="different tasks"):
        ours.joined(replace(later, labels=("x",)))


@pytest.mark.parametrize(
    ("x", "y", "severity", "said"),
    [
        (np.zeros((2, 4)), np.zeros(2, int), None, r"inputs \(n, 3\) of model, but one is float64\(4,\)"),
        (np.zeros((2, 3)), np.array([0, 4]), None, "has label 4, but the labels of model are 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), None, "has label -1"),
        (np.zeros((2, 3)), np.zeros(2), None, r"whole numbers \(2,\), but are float64\(2,\)"),
        (np.zeros((2, 3)), np.zeros(3, int), None, "2 canaries need as many targets y, but there are 3"),
        (np.full((1, 3), np.nan), np.zeros(1, int), None, "NaN or infinity"),
        (np.zeros((0, 3)), np.zeros(0, int), None, f"1 to {MOST} canaries, but these are 0"),
        (np.zeros((2, 3)), np.zeros(2, int), ["minor", "bad"], "severity is minor or major for each"),
        (np.zeros((30, 3)), np.zeros(30, int), ["major"] * 30, f"at most {MOST_MAJOR} canaries may be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(x, y, severity, said):
    with pytest.raises(TtaError, match=said) as caught:
        canaries(manifest(), x, y, severity)
    assert "\n" not in str(caught.value)


def test_other_tasks_are_refused_by_name():
    with pytest.raises(TtaError, match="so far, but this bundle's is embed"):
        canaries(manifest("embed"), np.zeros((1, 3)), np.zeros(1, int))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    net, example = model("mlp")
    x = batches("mlp", 6)
    given = {"x": x, "y": np.arange(6), "severity": np.array(["minor"] * 5 + ["major"])}
    return to_bundle(
        net, example, tmp_path_factory.mktemp("made") / "mlp.tta", canaries=given
    ).bundle


def test_a_bundle_carries_them_with_their_sha256(exported, capsys):
    assert "canaries.safetensors" in exported.manifest.files
    found = shipped(exported)
    assert isinstance(found, Canaries)
    assert np.array_equal(found.inputs, batches("mlp", 6))
    assert found.targets.tolist() == list(range(6)) and found.major.tolist() == [False] * 5 + [True]
    assert main(["inspect", str(exported.path)]) == 0
    assert "canaries    6, of them 1 must-never-break" in capsys.readouterr().out


def test_a_bundle_whose_canaries_do_not_fit_is_refused(exported, tmp_path):
    copy = tmp_path / "copy.tta"
    shutil.copytree(exported.path, copy)
    arrays = packed(exported.manifest, {"x": batches("mlp", 2), "y": np.arange(2)})
    save_file({**arrays, "y": np.array([0, 99])}, copy / "canaries.safetensors")
    with pytest.raises(BundleError, match=r"canaries.safetensors is not the file"):
        Bundle(copy)
    write_manifest(copy, exported.manifest)
    with pytest.raises(BundleError, match=r"does not fit its bundle .*has label 99"):
        shipped(Bundle(copy))


def test_export_takes_them_from_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("frames.npz", x=batches("mlp", 4), y=np.arange(4), severity=["major"] * 4)
    call = ["export", "tests.models.mlp:factory", "-o", "out.tta", "--canaries"]
    assert main([*call, "frames.npz"]) == 0
    assert shipped(Bundle("out.tta")).major.all()
    np.savez("wrong.npz", x=batches("mlp", 4), y=np.arange(4), z=np.arange(4))
    (tmp_path / "text.npz").write_text("no archive")
    unreadable = "cannot be read"
    for name, said in (("wrong.npz", "have z"), ("text.npz", unreadable), ("no.npz", unreadable)):
        capsys.readouterr()
        assert main([*call, name, "--overwrite"]) == 1
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1


def test_a_bundle_without_any_has_none():
    assert shipped(Bundle(files("tta.demo") / "fashion.tta")) is None

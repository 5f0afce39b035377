"""Checks of the governor on tasks that are no classification."""

import dataclasses

import numpy as np
import pytest

from tests.test_governor import manifest
from tta import tasks
from tta.evidence import evidence
from tta.governor import make_checks
from tta.records import Step

ALWAYS = {"agreement", "distance", "residual_shift"}
SUITS = {
    "classify": ALWAYS | {"entropy", "collapse", "alignment"},
    "multilabel": ALWAYS | {"entropy", "collapse"},
    "detect": ALWAYS | {"entropy", "collapse"},
    "segment": ALWAYS | {"entropy", "collapse"},
    "regress": ALWAYS,
    "embed": ALWAYS | {"cross_retrieval"},
}


def contract(name, shape):
    primary = tasks.load(name).primary
    outputs = {primary: shape, "features": shape}
    return dataclasses.replace(manifest(), task=name, outputs=outputs, primary=primary)


def figures(name, frozen, adapted):
    """What the checks say of two answers to the same frames."""
    made = contract(name, tuple(frozen.shape[1:]))
    steps = [Step({made.primary: x, "features": x}) for x in (frozen, adapted)]
    found = evidence(made, *steps, {}, {})
    return {k: check.figure(found) for k, check in make_checks(made, {}).items()}


@pytest.mark.parametrize("name", SUITS)
def test_only_the_checks_that_suit_a_task_are_made(name):
    assert set(make_checks(contract(name, (4,)), {})) == SUITS[name]


def test_a_segmenter_that_paints_one_class_collapses(rng):
    frozen = 6 * np.moveaxis(np.eye(4)[rng.integers(0, 4, (8, 6, 6))], -1, 1)
    painted = np.zeros_like(frozen)
    painted[:, 0] = 6
    said = figures("segment", frozen, painted)
    assert said["collapse"] > np.log(2) and said["agreement"] > 0.5
    same = figures("segment", frozen, frozen)
    assert same["collapse"] == 0 and abs(same["agreement"]) < 1e-9 and same["entropy"] == 0


def test_a_detector_that_finds_nothing_any_more_collapses(rng):
    frozen = np.full((20, 9, 4 + 3), -7.0)
    frozen[:, :, :4] = rng.uniform(10, 30, (20, 9, 4))
    frozen[np.arange(20), 0, 4 + np.arange(20) % 3] = 5
    silent = np.concatenate([frozen[..., :4], np.full((20, 9, 3), -7.0)], -1)
    said = figures("detect", frozen, silent)
    assert said["collapse"] > np.log(2) and said["agreement"] > 0.9


def test_an_embedding_that_turns_away_is_told(rng):
    frozen = rng.normal(size=(32, 16))
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    kept = figures("embed", frozen, 2 * frozen + 0.01 * rng.normal(size=frozen.shape))
    lost = figures("embed", frozen, frozen @ turn)
    assert kept["cross_retrieval"] == 0 and lost["cross_retrieval"] > 0.7
    assert kept["agreement"] < 0.01 < 0.5 < lost["agreement"]


def test_a_regression_has_the_residual_over_its_spread(rng):
    frozen = rng.normal(size=(64, 1))
    said = figures("regress", frozen, frozen + 0.5 * frozen.std())
    assert said["agreement"] == pytest.approx(0.5, abs=1e-6)

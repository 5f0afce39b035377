"""Every rule against torch.autograd or central differences, at N = 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
from gradient_cases import CASES, FLAT_CASES
from gradient_oracle import Case, check, model

from tta.export.gradient import rules

torch.set_num_threads(1)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_agrees_with_its_oracle(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", FLAT_CASES, ids=str)
def test_flat_operator_passes_nothing_on(case: Case) -> None:
    graph, _, _ = model(case)
    assert not [o.name for o in graph.graph.outputs if str(o.name).startswith("g")]


def test_every_rule_has_a_case() -> None:
    assert set(rules()) == {c.op_type for c in [*CASES, *FLAT_CASES]}

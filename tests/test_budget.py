"""False-alarm budgets as people write them."""

import pytest

from tta.budget import Budget
from tta.errors import TtaError


@pytest.mark.parametrize(
    ("text", "fps", "frames_an_alarm"),
    (
        ("1/week", 10.0, 7 * 86400 * 10),
        ("2/day", 1.0, 43200),
        ("1/12 hours", 2.0, 86400),
        ("3 / 90 minutes", 1.0, 1800),
        ("1/5000 frames", None, 5000),
        ("1/5,000", None, 5000),
        ("1/5_000f", 30.0, 5000),
        ("0.5/day", 1.0, 172800),
    ),
)
def test_it_reads_time_and_frames(text, fps, frames_an_alarm):
    assert 1 / Budget.parse(text).per_frame(fps) == pytest.approx(frames_an_alarm)


@pytest.mark.parametrize(
    ("text", "says"),
    (
        ("1/fortnight", "no unit 'fortnight'"),
        ("1/wek", "week"),
        ("one a week", "reads 1/week or 1/5000 frames"),
        ("", "reads 1/week"),
        ("1/", "no unit"),
        ("0/week", "above zero"),
        ("1/0 frames", "above zero"),
        ("1.2.3/day", "malformed number"),
    ),
)
def test_what_is_malformed_is_refused_with_the_cure(text, says):
    with pytest.raises(TtaError, match=says):
        Budget.parse(text)


def test_a_budget_in_time_needs_a_frame_rate():
    with pytest.raises(TtaError, match="--fps"):
        Budget.parse("1/week").per_frame(None)
    with pytest.raises(TtaError, match="above zero"):
        Budget.parse("1/week").per_frame(0.0)


@pytest.mark.parametrize("text", ("1/week", "2/day", "1 in 12 hours", "1 in 5,000 frames"))
def test_it_says_what_it_is(text):
    assert str(Budget.parse(text.replace(" in ", "/"))) == text

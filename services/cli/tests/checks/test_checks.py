"""What a check-up makes of credentials and clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.cli.checks.configuration import check_credential
from derivfleet.cli.checks.result import CheckResult, Mark, exit_code_of
from derivfleet.cli.checks.services import check_clock

T0 = 1_795_161_600


@pytest.mark.parametrize(
    ("environment", "dialect", "marks", "words"),
    [
        ({}, "auto", "✗✗", "DERIV_TOKEN is not set"),
        ({"DERIV_TOKEN": "pat_1234567", "DERIV_APP_ID": "myapp"}, "auto", "✓✓", "options"),
        ({"DERIV_TOKEN": "a1-token", "DERIV_APP_ID": "12345"}, "auto", "✓✓", "legacy"),
        ({"DERIV_TOKEN": "a1-token", "DERIV_APP_ID": "12345"}, "options", "✓✗", "fleet file says options"),
        ({"DERIV_TOKEN": "'quoted token'", "DERIV_APP_ID": "myapp"}, "options", "✗✓", "does not look like a token"),
        ({"DERIV_TOKEN": "pat_1234567"}, "auto", "✓✗", "DERIV_APP_ID is not set"),
    ],
)
def test_credentials_are_judged_without_being_told(
    environment: dict[str, str], dialect: str, marks: str, words: str
) -> None:
    results = check_credential(environment, dialect)
    text = "\n".join(result.line for result in results)
    assert "".join(result.mark for result in results) == marks
    assert words in text
    assert environment.get("DERIV_TOKEN", "(none)") not in text
    assert exit_code_of(results) == (2 if "✗" in marks else 0)


@given(
    theirs=st.floats(T0, T0 + 1000),
    offset_s=st.floats(-30, 30),
    way_there_s=st.floats(0, 1),
    way_back_s=st.floats(0, 1),
)
def test_a_clock_is_only_blamed_for_what_it_must_be_off(
    theirs: float, offset_s: float, way_there_s: float, way_back_s: float
) -> None:
    asked_s, answered_s = theirs - way_there_s + offset_s, theirs + way_back_s + offset_s
    result = check_clock("Deriv", int(theirs), asked_s, answered_s, 1.0)
    if abs(offset_s) <= 2.0:
        assert result.mark is Mark.GOOD
    elif abs(offset_s) > 2.0 + 1.0 + way_there_s + way_back_s:
        assert result.mark is Mark.BAD
        assert ("ahead" if offset_s > 0 else "behind") in result.line


def test_a_fast_clock_is_allowed_what_passes_on_the_way() -> None:
    assert check_clock("it", T0, T0 + 20.0, T0 + 30.0, 60.0).mark is Mark.GOOD
    assert check_clock("it", T0, T0 + 20.0, T0 + 30.0, 1.0).mark is Mark.BAD


def test_configuration_weighs_more_than_other_troubles() -> None:
    good, note = CheckResult(Mark.GOOD, "well"), CheckResult(Mark.NOTE, "by the way")
    bad, key = CheckResult(Mark.BAD, "gone", "look"), CheckResult(Mark.BAD, "unset", is_configuration=True)
    assert [exit_code_of(found) for found in ([], [good, note], [good, bad], [bad, key])] == [0, 0, 1, 2]
    assert bad.line == "✗ gone: look"

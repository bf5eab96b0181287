"""What a check-up makes of credentials and clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.cli.findings import Finding, Verdict, clock_finding, credential_findings, exit_code_of

T0 = 1_795_161_600


@pytest.mark.parametrize(
    ("environment", "dialect", "verdicts", "words"),
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
    environment: dict[str, str], dialect: str, verdicts: str, words: str
) -> None:
    findings = credential_findings(environment, dialect)
    text = "\n".join(finding.line for finding in findings)
    assert "".join(finding.verdict for finding in findings) == verdicts
    assert words in text
    assert environment.get("DERIV_TOKEN", "(none)") not in text
    assert exit_code_of(findings) == (2 if "✗" in verdicts else 0)


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
    finding = clock_finding("Deriv", int(theirs), asked_s, answered_s, 1.0)
    if abs(offset_s) <= 2.0:
        assert finding.verdict is Verdict.GOOD
    elif abs(offset_s) > 2.0 + 1.0 + way_there_s + way_back_s:
        assert finding.verdict is Verdict.BAD
        assert ("ahead" if offset_s > 0 else "behind") in finding.line


def test_a_fast_clock_is_allowed_what_passes_on_the_way() -> None:
    assert clock_finding("it", T0, T0 + 20.0, T0 + 30.0, 60.0).verdict is Verdict.GOOD
    assert clock_finding("it", T0, T0 + 20.0, T0 + 30.0, 1.0).verdict is Verdict.BAD


def test_configuration_weighs_more_than_other_troubles() -> None:
    good, note = Finding(Verdict.GOOD, "well"), Finding(Verdict.NOTE, "by the way")
    bad, key = Finding(Verdict.BAD, "gone", "look"), Finding(Verdict.BAD, "unset", is_configuration=True)
    assert [exit_code_of(found) for found in ([], [good, note], [good, bad], [bad, key])] == [0, 0, 1, 2]
    assert bad.line == "✗ gone: look"

from __future__ import annotations

import pytest

from derivfleet.common.settings import load_settings
from derivfleet.gateway.settings import GatewaySettings

GIVEN = {
    "DERIVFLEET_GATEWAY_FLEET": "fleet.yaml",
    "DERIVFLEET_GATEWAY_JOURNAL": "postgresql://fleet@host/journal",
    "DERIVFLEET_GATEWAY_JOURNAL_PASSWORD": "password",
    "DERIVFLEET_GATEWAY_TOKENS": "tokens.json",
    "DERIV_TOKEN": "abc",
    "DERIV_APP_ID": "12345",
}


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="the newline that an editor leaves behind a secret is taken for a part of it",
)
@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("DERIV_TOKEN", "deriv_token"),
        ("DERIV_APP_ID", "app_id"),
        ("DERIVFLEET_GATEWAY_JOURNAL_PASSWORD", "journal_password"),
    ],
)
def test_a_newline_behind_a_secret_is_not_a_part_of_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str
) -> None:
    for name, value in {**GIVEN, variable: f"{GIVEN[variable]}\n"}.items():
        monkeypatch.setenv(name, value)
    found = getattr(load_settings(GatewaySettings), field)
    assert (found if isinstance(found, str) else found.get_secret_value()) == GIVEN[variable]

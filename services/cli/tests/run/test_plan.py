"""Which dialect a run speaks, and with which credential."""

from __future__ import annotations

import pytest

from derivfleet.cli.options import DialectChoice
from derivfleet.cli.run.plan import credential_for, dialect_of
from derivfleet.common.errors import ConfigurationError
from derivfleet.deriv.vocabulary import Dialect


@pytest.mark.parametrize(
    ("choice", "in_file", "app_id", "dialect"),
    [
        (DialectChoice.AUTO, "auto", None, Dialect.OPTIONS),
        (DialectChoice.AUTO, "auto", "12345", Dialect.LEGACY),
        (DialectChoice.AUTO, "auto", "myapp", Dialect.OPTIONS),
        (DialectChoice.AUTO, "legacy", "myapp", Dialect.LEGACY),
        (DialectChoice.LEGACY, "auto", None, Dialect.LEGACY),
        (DialectChoice.OPTIONS, "options", None, Dialect.OPTIONS),
    ],
)
def test_the_dialect_is_the_options_then_the_files_then_the_app_ids(
    choice: DialectChoice, in_file: str, app_id: str | None, dialect: Dialect
) -> None:
    assert dialect_of(choice, in_file, app_id) is dialect


def test_option_and_file_must_not_disagree() -> None:
    with pytest.raises(ConfigurationError, match="the fleet file says options"):
        dialect_of(DialectChoice.LEGACY, "options", None)


def test_the_simulators_credential_is_made_up_and_has_the_dialects_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIV_TOKEN", "the-users-own")
    legacy, options = credential_for(Dialect.LEGACY), credential_for(Dialect.OPTIONS)
    assert legacy.app_id.isdigit()
    assert not options.app_id.isdigit()
    assert "the-users-own" not in (legacy.token, options.token)
    assert legacy.token != credential_for(Dialect.LEGACY).token

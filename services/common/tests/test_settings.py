from __future__ import annotations

from typing import Annotated, ClassVar

import pytest
from pydantic import Field, field_validator

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.settings import ServiceSettings, load_settings


class ThingSettings(ServiceSettings):
    env_prefix: ClassVar[str] = "DERIVFLEET_THING_"

    port: int
    token: Annotated[str, Field(validation_alias="THING_TOKEN")] = ""


class PickyThing(ThingSettings):
    @field_validator("token")
    @classmethod
    def _never(cls, value: str) -> str:
        raise ValueError(f"{value} is not good enough")


def test_a_variable_without_the_prefix_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVFLEET_THING_PORT", "7")
    monkeypatch.setenv("THING_TOKEN", "x")
    assert load_settings(ThingSettings).token == "x"
    with pytest.raises(ConfigurationError, match="THING_TOKEN: x is not good enough"):
        load_settings(PickyThing)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVFLEET_THING_PORT", "7")
    monkeypatch.setenv("DERIVFLEET_THING_LOG_LEVEL", "debug")
    settings = load_settings(ThingSettings)
    assert (settings.port, settings.log_level, settings.otlp_endpoint) == (7, "debug", "")


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("DERIVFLEET_THING_PORT", "seven", "DERIVFLEET_THING_PORT: Input should be a valid integer"),
        ("DERIVFLEET_THING_LOG_FORMAT", "xml", "DERIVFLEET_THING_LOG_FORMAT: "),
        ("DERIVFLEET_THING_PROT", "7", "DERIVFLEET_THING_PROT: unknown setting; known are DERIVFLEET_THING_LOG_FORMAT"),
        ("UNRELATED", "7", "DERIVFLEET_THING_PORT: is required"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str) -> None:
    if "LOG_FORMAT" in variable:
        monkeypatch.setenv("DERIVFLEET_THING_PORT", "7")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(ThingSettings)
    assert str(caught.value).startswith(named)

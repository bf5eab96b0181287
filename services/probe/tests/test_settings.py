from __future__ import annotations

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.settings import load_settings
from derivfleet.probe.core.bounds import Experiment
from derivfleet.probe.settings import ProbeSettings


@pytest.fixture(autouse=True)
def credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIV_TOKEN", "canary-4fe1")
    monkeypatch.setenv("DERIV_APP_ID", "app")


def test_without_a_word_it_confirms_nothing_and_spends_no_hour() -> None:
    settings = load_settings(ProbeSettings)
    assert settings.confirmed == ""
    assert set(settings.experiments) == set(Experiment) - {Experiment.HOUR}
    assert settings.token == "canary-4fe1"
    assert "canary" not in repr(settings)


def test_experiments_are_named_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERIVFLEET_PROBE_EXPERIMENTS", "clock, hour")
    assert load_settings(ProbeSettings).experiments == (Experiment.CLOCK, Experiment.HOUR)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "DERIVFLEET_PROBE_EXPERIMENTS",
            "clock,buying",
            "unknown experiment 'buying'; known are clock, latency, streams, sockets, window, hour",
        ),
        ("DERIVFLEET_PROBE_STAKE", "1", "unknown setting"),
        ("DERIVFLEET_PROBE_DIALECT", "esperanto", "'auto', 'options' or 'legacy'"),
        ("DERIVFLEET_PROBE_HOUR_CALLS", "-1", "greater than or equal to 0"),
        ("DERIV_TOKEN", "", "is empty"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(ProbeSettings)
    assert caught.value.key == name
    assert line in caught.value.problem

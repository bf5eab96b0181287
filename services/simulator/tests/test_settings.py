"""Settings are read strictly, and a mistake is named."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.simulator.core.windows import WindowKind
from derivfleet.simulator.settings import load_simulator_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_no_file_means_the_defaults() -> None:
    assert load_simulator_settings("") == SimulatorSettings()


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text("# nothing yet\n")
    assert load_simulator_settings(str(path)) == SimulatorSettings()


def test_what_the_file_says_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text(
        "window_kind: sliding\nstart_balance: '12.50'\nconnections_per_user: 2\n"
        "limits: {legacy: {virtual_buy: {60: 5}}}\n"
    )
    settings = load_simulator_settings(str(path))
    assert settings.window_kind is WindowKind.SLIDING
    assert settings.start_balance == Decimal("12.50")
    table = settings.limits_of(Dialect.LEGACY)
    assert dict(table.buckets["virtual_buy"].windows) == {60: 5, 3600: 1_800}
    assert table.connections_per_user == 2
    assert settings.limits_of(Dialect.OPTIONS).buckets == SimulatorSettings().limits_of(Dialect.OPTIONS).buckets


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("windowkind: sliding", "windowkind"),
        ("window_kind: round", "window_kind"),
        ("start_balance: -1", "start_balance"),
        ("start_balance: 1.005", "start_balance"),
        ("limits: {options: {trades: {60: 5}}}", "limits.options.trades"),
        ("limits: {options: {trade: {30: 5}}}", "limits.options.trade"),
        ("commission_digits: 0.7", "commission_digits"),
        ("[1]", "(all)"),
        ("a: [", "DERIVFLEET_SIMULATOR_SETTINGS"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_simulator_settings(str(path))
    assert key in caught.value.key
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_simulator_settings(str(tmp_path / "none.yaml"))


def test_the_prices_of_the_settings_are_those_of_the_contracts() -> None:
    prices = SimulatorSettings(commission_digits=Decimal("0.017"), markup=Decimal("0.01")).prices
    assert (prices.commissions["digits"], prices.markup) == (Decimal("0.017"), Decimal("0.01"))

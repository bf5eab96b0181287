"""What the fleet file says of alerts and Supabase, and what is refused with the key named."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, get_args

import pytest

from derivfleet.common.alert_rules import CONDITIONS, AlertRule, Condition
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet

if TYPE_CHECKING:
    from pathlib import Path

BOTS = "bots: [{name: over-4, strategy: moving_average, symbols: [R_75]}]\n"


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "fleet.yaml"
    path.write_text(BOTS + text)
    with pytest.raises(ConfigurationError) as error:
        load_fleet(path)
    return str(error.value)


def rule(words: str) -> str:
    return f"alerts: {{rules: [{{name: a, {words}}}]}}"


def test_a_fleet_without_alerts_watches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(BOTS)
    fleet = load_fleet(path)
    assert (fleet.alerts.rules, fleet.alerts.telegram, fleet.supabase.batch_rows) == ((), None, 500)


@pytest.mark.parametrize("when", CONDITIONS)
def test_every_condition_has_a_default_or_asks_for_a_threshold(when: Condition) -> None:
    if when in ("drawdown", "fleet_drawdown"):
        with pytest.raises(ValueError, match="threshold is required"):
            AlertRule(name="a", when=when)
    else:
        made = AlertRule(name="a", when=when)
        assert made.clears_at == made.limit >= 0
    assert set(CONDITIONS) == set(get_args(Condition))


def test_thresholds_are_exact() -> None:
    made = AlertRule.model_validate({"name": "a", "when": "error_rate", "threshold": 0.3, "clear": 0.1})
    assert (made.limit, made.clears_at) == (Decimal("0.3"), Decimal("0.1"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rule("when: rain"), "alerts.rules.0.when"),
        (rule("when: drawdown"), "threshold is required for drawdown"),
        (rule("when: error_rate, threshold: 20"), "a share from 0 to 1, not 20"),
        (rule("when: bot_down, threshold: 60, clear: 61"), "clear must be on the good side of the threshold 60"),
        (rule("when: quota_unused, threshold: 0.2, clear: 0.1"), "clear must be on the good side of the threshold 0.2"),
        (rule("when: gateway_down, bots: [over-4]"), "gateway_down concerns the account"),
        (rule("when: bot_down, bots: [over-5]"), "there is no bot 'over-5'"),
        (rule("when: bot_down, threshhold: 5"), "unknown key"),
        ("alerts: {rules: [{name: a, when: bot_down}, {name: a, when: gateway_down}]}", "the rule a is there twice"),
        ("alerts: {telegram: {chat_id: 5, base_url: api.telegram.org}}", "alerts.telegram.base_url"),
        ("alerts: {webhook: https://hooks.example/x}", "unknown key"),
        ("supabase: {key: x}", "unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_key(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refused(tmp_path, text)

"""What the docs say of alerts is what the code does, and the fleet file's example works."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import yaml

from derivfleet.common.alert_rules import BELOW, CONDITIONS, PER_BOT, AlertRule, Condition
from derivfleet.common.fleet import Fleet

ROOT = Path(__file__).parents[1]


def default_of(condition: Condition) -> str:
    if condition in ("drawdown", "fleet_drawdown"):
        return "–"
    return str(AlertRule(name="a", when=condition).limit)


def test_the_table_of_conditions_is_theirs() -> None:
    text = (ROOT / "docs/operate.md").read_text()
    rows = re.findall(
        r"^\| `([a-z_]+)` \| .+ \| (each bot|the account) \| (above|below) \| (\S+) \|$", text, re.MULTILINE
    )
    expected = [
        (
            condition,
            "each bot" if condition in PER_BOT else "the account",
            "below" if condition in BELOW else "above",
            default_of(condition),
        )
        for condition in CONDITIONS
    ]
    assert rows == expected


def test_the_example_in_the_fleet_file_works_once_it_is_uncommented() -> None:
    text = (ROOT / "fleet.yaml").read_text()
    rest = text[text.index("# alerts:") :]
    example = "\n".join(line.removeprefix("# ") for line in rest.splitlines() if line.startswith(("# alerts", "#   ")))
    fleet = Fleet.model_validate({**yaml.safe_load(text), **yaml.safe_load(example)})
    assert {rule.when for rule in fleet.alerts.rules} == set(CONDITIONS) - {"drawdown"}
    assert fleet.alerts.telegram is not None
    assert fleet.alerts.rules[0].limit == Decimal("0.2")
    assert re.search(r"^# supabase: \{every_s: 5, batch_rows: 500\}$", text, re.MULTILINE)
    assert (fleet.supabase.every_s, fleet.supabase.batch_rows) == (5, 500)

"""What an account tells of itself."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import yaml

from derivfleet.common.clock import ManualClock
from derivfleet.common.fleet import load_fleet
from derivfleet.common.telemetry import Telemetry
from derivfleet.deriv.answers import Balance
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.accounts import AccountRoom
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.sqlite import Journal
from derivfleet.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from pathlib import Path

BOT = {"name": "one", "strategy": "digit_frequency", "symbols": ["1HZ100V"]}


async def test_looks_at_the_balance_cost_no_calls_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump({"fleet": "test", "accounts": [{"key": "demo"}], "bots": [BOT]}))
    fleet, clock = load_fleet(path), ManualClock()
    settings = GatewaySettings.model_validate(
        {
            "fleet": path,
            "tokens": tmp_path / "tokens",
            "journal": tmp_path / "j",
            "DERIV_TOKEN": "none",
            "DERIV_APP_ID": "x",
        }
    )
    journal = Journal(tmp_path / "journal.sqlite", "JOURNAL")
    room = AccountRoom(fleet.accounts[0], fleet, settings, clock, Telemetry("gateway", clock), Feed(journal))
    assert room.told_balance() is None
    assert room.savings.counts["balance"] == 0
    told = Balance(Decimal("9999.65"), "USD", "DOT1", "7" * 36)
    room._take_balance(dialect(Dialect.OPTIONS).encode_balance(told))  # pyright: ignore[reportPrivateUsage]
    assert [room.told_balance() for _ in range(3)] == [Decimal("9999.65")] * 3
    assert room.savings.counts["balance"] == 3
    await room.pool.close()
    journal.close()

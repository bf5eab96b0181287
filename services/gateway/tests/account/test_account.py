"""An account as a whole: whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet
from derivfleet.common.telemetry import Telemetry
from derivfleet.gateway.account.account import AccountRoom
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.sqlite import SqliteStore
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conftest import Account

    from derivfleet.gateway.journal.store import Step

    Opened = Callable[[], AbstractAsyncContextManager[Account]]

FLEET = Fleet.model_validate(
    {
        "fleet": "one",
        "accounts": [{"key": "demo"}],
        "bots": [{"name": "one", "strategy": "digit_frequency", "symbols": ["R_10"]}],
    }
)
SETTINGS = GatewaySettings.model_validate(
    {"fleet": "fleet.yaml", "journal": "j", "tokens": "t", "DERIV_TOKEN": "token-of-one", "DERIV_APP_ID": "app"}
)


class Disk(SqliteStore):
    """A journal's file on a disk that may be full."""

    is_full = False

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        if self.is_full:
            raise JournalError("the disk is full")
        super().commit(steps, durable=durable)


def new_room(account: Account, path: Path) -> tuple[AccountRoom, Journal, Disk]:
    disk = Disk(path, "JOURNAL")
    journal = Journal(path, "JOURNAL", store=disk)
    telemetry = Telemetry("gateway", account.clock)
    login = account.pool.login
    room = AccountRoom(FLEET.accounts[0], FLEET, SETTINGS, account.clock, telemetry, Feed(journal), login)
    room.recover()
    return room, journal, disk


async def test_the_journal_remembers_whose_account_it_is_and_lets_no_other_in(opened: Opened, tmp_path: Path) -> None:
    async with opened() as account:
        for _ in range(2):
            room, journal, _ = new_room(account, tmp_path / "mine")
            await room.start()
            assert journal.login_id("demo") == "DOT1"
            await room.stop()
            journal.close()
        theirs = Journal(tmp_path / "theirs", "JOURNAL")
        theirs.write_login_id("demo", "CR7")
        theirs.close()
        room, journal, _ = new_room(account, tmp_path / "theirs")
        with pytest.raises(ConfigurationError, match=r"DERIV_TOKEN: belongs to DOT1, but the orders of accounts\.demo"):
            await room.start()
        journal.close()


async def test_a_login_that_could_not_be_written_down_is_with_the_next_connection(
    opened: Opened, tmp_path: Path
) -> None:
    async with opened() as account:
        room, journal, disk = new_room(account, tmp_path / "j")
        disk.is_full = True
        await room.start()
        await account.clock.settle()
        assert (room.pool.login_id, journal.login_id("demo")) == ("DOT1", "")
        disk.is_full = False
        account.deriv.sockets[-1].abort()
        await account.clock.advance(10)
        assert journal.login_id("demo") == "DOT1"
        await room.stop()
        journal.close()

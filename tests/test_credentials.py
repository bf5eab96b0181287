"""What happens when Deriv does not let the gateway in, at the start and later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from running_fleet import TOKEN, eventually, running_fleet

from derivfleet.common.errors import ConfigurationError
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from pathlib import Path

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))


async def refusal(folder: Path, dialect: Dialect, **change: Any) -> str:
    """Why the gateway ended at its start: one line."""
    with pytest.raises(ConfigurationError) as caught:
        async with running_fleet(folder, dialect, **change):
            pytest.fail("the gateway serves")
    text = str(caught.value)
    assert "\n" not in text
    assert TOKEN not in text
    return text


@DIALECTS
async def test_a_wrong_token_ends_the_start(tmp_path: Path, dialect: Dialect) -> None:
    text = await refusal(tmp_path, dialect, token="wrong-token-71b")
    assert text.startswith("DERIV_TOKEN: ")
    assert "wrong-token-71b" not in text


@DIALECTS
async def test_an_account_with_real_money_is_refused(tmp_path: Path, dialect: Dialect) -> None:
    text = await refusal(tmp_path, dialect, simulator={"account_type": "real"})
    assert "holds real money, which this version does not trade: use a demo account" in text


@DIALECTS
async def test_a_token_that_may_not_trade_is_refused(tmp_path: Path, dialect: Dialect) -> None:
    text = await refusal(tmp_path, dialect, simulator={"scopes": ["read"]})
    assert "trade" in text or "AccessDenied" in text


@DIALECTS
async def test_another_account_than_the_one_named_is_refused(tmp_path: Path, dialect: Dialect) -> None:
    text = await refusal(tmp_path, dialect, accounts=[{"key": "demo", "login_id": "DOT11"}])
    assert text.startswith("accounts.login_id: ")


async def test_another_currency_than_the_one_named_is_refused(tmp_path: Path) -> None:
    text = await refusal(tmp_path, Dialect.OPTIONS, accounts=[{"key": "demo", "currency": "EUR"}])
    assert text == "accounts.demo.currency: is EUR, but DOT90000001 holds USD"


@DIALECTS
async def test_a_login_refused_later_is_tried_again(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        await fleet.fault({"kind": "refuse_login", "count": 2})
        await fleet.fault({"kind": "drop_before", "call": "ping", "count": 1})

        async def state() -> tuple[set[str], int]:
            slots = (await fleet.account()).connections
            return {slot.state for slot in slots}, sum(slot.reconnects for slot in slots)

        await eventually(state, lambda seen: seen[1] > 0)
        await eventually(state, lambda seen: seen[0] == {"ready"})


async def swapped_while_running(folder: Path, dialect: Dialect) -> None:
    """A gateway whose token belongs to another account after its first connections; it is started again in the end."""
    async with running_fleet(folder, dialect, speed=20) as fleet:
        await fleet.buy("o1")
        own = (await fleet.account()).login_id
        other = f"{own[:-1]}7"
        fleet.recorder.renamed = (own, other)
        fleet.recorder.cut_all()
        await eventually(fleet.account, lambda account: all(other in one.problem for one in account.connections))
        with pytest.raises(grpc.aio.AioRpcError):
            await fleet.buy("o2", deadline_wall_s=1)
        (contracts,) = [one["contracts"] for one in (await fleet.ledger())["accounts"] if one["loginid"] == own]
        assert len(contracts) == 1
        await fleet.restart_gateway()


@DIALECTS
async def test_a_token_that_belongs_to_another_account_from_now_on_buys_nothing(
    tmp_path: Path, dialect: Dialect
) -> None:
    with pytest.raises(ConfigurationError, match=r"^(DERIV_TOKEN|accounts\.login_id): .*account"):
        await swapped_while_running(tmp_path, dialect)

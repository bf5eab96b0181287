"""Money: what no order explains is a figure, amounts are of the account's currency, and terms say the least payout."""

from __future__ import annotations

import asyncio
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2, trading_pb2
from tests.virtual_gateway import EAGER, VirtualGateway, virtual_gateway, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from tests.virtual_gateway import Frame

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
FLOORS = {"min_payout", "minimum_payout", "payout_floor", "min_payout_ratio"}


def amounts(message: Message) -> Iterator[Decimal]:
    """Every decimal string of a message."""
    todo: list[Any] = [MessageToDict(message, preserving_proto_field_name=True)]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo.extend(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] - it is JSON
        elif isinstance(value, list):
            todo.extend(value)  # pyright: ignore[reportUnknownArgumentType] - as above
        elif isinstance(value, str):
            try:
                yield Decimal(value)
            except InvalidOperation:
                continue


async def bought_elsewhere_while_away(fleet: VirtualGateway) -> None:
    await fleet.buy("o1")
    await asyncio.sleep(5)
    fleet.deriv.is_away = True
    fleet.deriv.cut()
    fleet.deriv.buy_elsewhere(4)
    await asyncio.sleep(15)
    fleet.deriv.is_away = False
    await asyncio.sleep(30)
    await fleet.buy("o2")
    await asyncio.sleep(120)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="0 foreign trades of 4 that were made while all was cut")
@DIALECTS
@virtual_time
async def test_trades_that_another_program_made_during_an_outage_are_counted(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        await bought_elsewhere_while_away(fleet)
        assert (await fleet.status()).foreign_trades == 4


@DIALECTS
@virtual_time
async def test_trades_that_another_program_makes_are_counted_while_connected(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        fleet.deriv.buy_elsewhere(4)
        await asyncio.sleep(120)
        assert (await fleet.status()).foreign_trades == 4


async def assert_what_is_unexplained_is_told(fleet: VirtualGateway) -> None:
    status, account = await fleet.status(), fleet.deriv.account
    assert Decimal(status.balance) == account.balance
    unexplained = account.balance - account.start_balance - await fleet.profit()
    assert unexplained != 0
    assert unexplained in set(amounts(status))


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="no figure of the status is what the orders do not explain"
)
@DIALECTS
@virtual_time
async def test_what_another_program_lost_during_an_outage_is_a_figure(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        await bought_elsewhere_while_away(fleet)
        await assert_what_is_unexplained_is_told(fleet)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="no figure of the status is what was paid in or out")
@DIALECTS
@virtual_time
async def test_money_that_is_paid_in_is_a_figure(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        for number in range(3):
            await fleet.buy(f"o{number}")
            await asyncio.sleep(5)
        account = fleet.deriv.account
        fleet.deriv.exchange.ledger.reset_balance(account.loginid, fleet.deriv.clock.now_ns() // 10**9)
        await fleet.buy("last")
        await asyncio.sleep(120)
        await assert_what_is_unexplained_is_told(fleet)


def written(folder: Path, account: Frame, **bot: Any) -> Fleet:
    """The fleet file with one account and one bot, read."""
    path = folder / "fleet.yaml"
    full = {"name": "one", "strategy": "digit_frequency", "symbols": ["1HZ100V"], "parameters": EAGER, **bot}
    path.write_text(yaml.safe_dump({"accounts": [{"key": "demo", **account}], "bots": [full]}))
    return load_fleet(path)


@pytest.mark.xfail(
    strict=True, raises=pytest.fail.Exception, reason="a stake of 0.35 BTC is taken where none is written"
)
def test_an_account_in_bitcoin_has_no_default_stake_of_a_third_of_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="stake"):
        written(tmp_path, {"currency": "BTC"})


@pytest.mark.xfail(strict=True, raises=ConfigurationError, reason="a stake of 0.00005 BTC has more than 2 decimals")
def test_a_stake_may_have_the_decimals_of_its_currency(tmp_path: Path) -> None:
    assert written(tmp_path, {"currency": "BTC"}, stake=0.00005).bots[0].stake == Decimal("0.00005")


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason="loaded with the currency that nobody has")
@pytest.mark.parametrize("currency", ["usd", "dollars", ""])
def test_a_currency_that_deriv_does_not_have_is_refused(tmp_path: Path, currency: str) -> None:
    with pytest.raises(ConfigurationError, match="currency"):
        written(tmp_path, {"currency": currency})


@pytest.mark.parametrize(("key", "value"), [("stake", "1,50"), ("stake", "0"), ("stake", "0.355")])
def test_a_stake_that_is_none_is_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"bots\.one\.{key}"):
        written(tmp_path, {}, **{key: value})


@DIALECTS
@virtual_time
async def test_an_account_in_euro_trades_in_euro(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect, account={"currency": "EUR"}, currency="EUR") as fleet:
        fleet.run_bot()
        await asyncio.sleep(30)
        await fleet.stop_bots()
        await asyncio.sleep(5)
        assert {frame["parameters"]["currency"] for frame in fleet.deriv.calls("buy")} == {"EUR"}
        assert await fleet.profit() == fleet.deriv.account.balance - fleet.deriv.account.start_balance


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a stake of 0.00005 BTC is refused: at most two decimals")
@DIALECTS
@virtual_time
async def test_an_order_may_have_a_stake_with_the_decimals_of_its_currency(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect, account={"currency": "BTC"}, currency="BTC") as fleet:
        problem = await fleet.problem(fleet.buy("o1", stake="0.00005"))
        assert problem is None or problem.field != "terms.stake"


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="taken as an amount and bought")
@DIALECTS
@pytest.mark.parametrize("stake", ["0_35", "１０", " 1 ", "1e1"])
@virtual_time
async def test_a_stake_is_a_plain_decimal_string(tmp_path: Path, dialect: Dialect, stake: str) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        problem = await fleet.problem(fleet.buy("o1", stake=stake))
        assert problem is not None
        assert problem.field == "terms.stake"


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="neither the request nor its terms have a least payout")
def test_a_purchase_can_say_the_least_payout_that_it_is_worth() -> None:
    fields = {*trading_pb2.BuyRequest.DESCRIPTOR.fields_by_name, *orders_pb2.ContractTerms.DESCRIPTOR.fields_by_name}
    assert fields & FLOORS


@DIALECTS
@virtual_time
async def test_the_payout_that_was_got_is_the_orders(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect, markup="0.30") as fleet:
        order = await fleet.buy("o1")
        assert Decimal(order.payout) == fleet.deriv.contract(order.contract_id).payout
        assert Decimal(order.payout) < Decimal("0.5")

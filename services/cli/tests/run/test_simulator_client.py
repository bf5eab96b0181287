"""Reading the simulator's ledger, and whether it is well."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from derivfleet.cli.errors import CommandError
from derivfleet.cli.run.ledger_comparison import LedgerContract
from derivfleet.cli.run.simulator_client import is_healthy, ledger_of, read_ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LEDGER: dict[str, Any] = {
    "accounts": [
        {
            "loginid": "DOT90000001",
            "currency": "USD",
            "start_balance": "10000.00",
            "balance": "9999.25",
            "movements": [
                {"transaction_id": 1, "action": "buy", "amount": "-1.00", "contract_id": 7},
                {"transaction_id": 2, "action": "sell", "amount": "1.25", "contract_id": 7},
                {"transaction_id": 3, "action": "buy", "amount": "-1.00", "contract_id": 8},
            ],
            "contracts": [
                {"contract_id": 7, "buy_price": "1.00", "sell_price": "1.25"},
                {"contract_id": 8, "buy_price": "1.00", "sell_price": None},
            ],
        },
        {
            "loginid": "VRTC90000001",
            "start_balance": "10000.00",
            "balance": "9999.50",
            "movements": [{"transaction_id": 4, "action": "buy", "amount": "-0.50", "contract_id": 9}],
            "contracts": [{"contract_id": 9, "buy_price": "0.50", "sell_price": None}],
        },
    ]
}


def test_balances_are_the_accounts_and_contracts_are_everybodys() -> None:
    ledger = ledger_of(json.dumps(LEDGER), "DOT90000001")
    assert (ledger.start_balance, ledger.balance) == (Decimal("10000.00"), Decimal("9999.25"))
    assert ledger.contracts == (
        LedgerContract(7, Decimal("1.00"), Decimal("1.25"), Decimal("0.25"), is_sold=True),
        LedgerContract(8, Decimal("1.00"), None, None, is_sold=False),
        LedgerContract(9, Decimal("0.50"), None, None, is_sold=False),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(LEDGER), "has no account 'CR1'; it has DOT90000001, VRTC90000001"),
        ("{}", "accounts: is required"),
        ("<html>", "cannot be read"),
    ],
)
def test_what_is_no_ledger_of_this_account_is_refused(text: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        ledger_of(text, "CR1")


async def test_the_ledger_is_read_over_http(serve: Callable[[web.Application], Awaitable[str]]) -> None:
    async def ledger(_: web.Request) -> web.Response:
        return web.json_response(LEDGER)

    async def calls(_: web.Request) -> web.Response:
        return web.json_response({"calls": {}, "accepted": 40, "refused": 3})

    application = web.Application()
    application.router.add_get("/ledger", ledger)
    with pytest.raises(CommandError, match="answers 404"):
        await read_ledger(await serve(application), "DOT90000001")
    application = web.Application()
    application.router.add_get("/ledger", ledger)
    application.router.add_get("/ledger/calls", calls)
    application.router.add_get("/health", calls)
    address = await serve(application)
    reading = await read_ledger(address, "DOT90000001")
    assert reading.rate_refused == 3
    assert len(reading.ledger.contracts) == 3
    assert await is_healthy(address)
    with pytest.raises(CommandError, match="cannot be read"):
        await read_ledger("127.0.0.1:1", "DOT90000001")
    assert not await is_healthy("127.0.0.1:1")

"""The ledger tells what happened, in words that cannot lose a cent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Service

BUY: dict[str, Any] = {
    "buy": "1",
    "price": 0.35,
    "parameters": {
        "contract_type": "DIGITMATCH",
        "barrier": "3",
        "currency": "USD",
        "amount": 0.35,
        "basis": "stake",
        "duration": 1,
        "duration_unit": "t",
        "underlying_symbol": "1HZ100V",
    },
}


async def test_the_ledger_of_a_few_trades(service: Service) -> None:
    socket = await service.options()
    receipts: list[Any] = []
    for _ in range(3):
        receipts.append((await socket.ask(**BUY))["buy"])
        await service.clock.advance(2)
    receipts.append((await socket.ask(**BUY))["buy"])
    status, body = await service.call("GET", "/ledger")
    assert status == 200
    options, legacy = body["accounts"]
    assert (options["loginid"], legacy["loginid"]) == ("DOT90000001", "VRTC90000001")
    assert (legacy["movements"], legacy["contracts"], legacy["balance"]) == ([], [], "10000.00")
    amounts = [Decimal(movement["amount"]) for movement in options["movements"]]
    assert Decimal(options["balance"]) == Decimal(options["start_balance"]) + sum(amounts)
    assert len(amounts) == 7
    assert [contract["contract_id"] for contract in options["contracts"]] == [
        receipt["contract_id"] for receipt in receipts
    ]
    for contract, receipt in zip(options["contracts"], receipts, strict=True):
        assert contract["buy_price"] == "0.35"
        assert Decimal(contract["payout"]) == receipt["payout"]
        assert contract["shortcode"] == receipt["shortcode"]
        assert contract["buy_transaction_id"] == receipt["transaction_id"]
    assert [contract["sell_price"] is None for contract in options["contracts"]] == [False] * 3 + [True]


async def test_calls_are_counted(service: Service) -> None:
    socket = await service.options()
    for _ in range(31):
        await socket.ask(portfolio=1)
    await socket.ask(ping=1)
    _, body = await service.call("GET", "/ledger/calls")
    assert body == {
        "calls": {"ping": {"accepted": 1, "refused": 0}, "portfolio": {"accepted": 30, "refused": 1}},
        "accepted": 31,
        "refused": 1,
    }


async def test_health_tells_the_time(service: Service) -> None:
    assert await service.call("GET", "/health") == (200, {"status": "ok", "time": int(service.clock.now_s())})


async def test_faults_are_listed_and_cleared(service: Service) -> None:
    await service.fault(kind="drop_after", call="buy", skip=1)
    _, body = await service.call("GET", "/faults")
    assert body["faults"] == [{"number": 1, "kind": "drop_after", "call": "buy", "happened": 0}]
    assert (await service.call("DELETE", "/faults"))[0] == 200
    assert (await service.call("GET", "/faults"))[1] == {"faults": []}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "explode"}, "kind"),
        ({}, "kind: is required"),
        ({"kind": "delay", "calls": "buy"}, "calls: unknown key"),
        ({"kind": "delay", "call": "sleep"}, "call"),
        ({"kind": "delay", "probability": 2}, "probability"),
        ([], "(all)"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(service: Service, rule: object, words: str) -> None:
    status, body = await service.call("POST", "/faults", body=rule)
    assert status == 400
    assert words in body["error"]

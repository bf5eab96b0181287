"""The comparison with the ledger: equal books agree, and any single change is found."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.cli.run.ledger_comparison import Ledger, LedgerContract, OrderClaim, differences

CENT = Decimal("0.01")
START = Decimal("10000.00")
TRADES = st.lists(st.tuples(st.integers(35, 5000), st.integers(0, 9000), st.booleans()), min_size=1, max_size=15)
Books = tuple[list[OrderClaim], Ledger, Decimal]


def books_of(trades: list[tuple[int, int, bool]]) -> Books:
    """Two books of the same trades: (stake in cents, pay-out in cents, whether it has ended)."""
    orders: list[OrderClaim] = []
    contracts: list[LedgerContract] = []
    cents = 1_000_000
    for index, (stake, paid, ended) in enumerate(trades):
        key = 301_234_567_888 + 20 * index
        bought, sold = Decimal(stake) / 100, Decimal(paid) / 100 if ended else None
        profit = Decimal(paid - stake) / 100 if ended else None
        cents += (paid if ended else 0) - stake
        orders.append(OrderClaim(f"bot:R_100:{index}:0", key, bought, sold, profit, ended))
        contracts.append(LedgerContract(key, bought, sold, profit, ended))
    balance = Decimal(cents) / 100
    return orders, Ledger(tuple(reversed(contracts)), START, balance), balance


@given(TRADES)
def test_equal_books_agree(trades: list[tuple[int, int, bool]]) -> None:
    assert differences(*books_of(trades)) == []


def test_two_empty_books_agree() -> None:
    assert differences([], Ledger((), START, START), START) == []


@given(TRADES, st.data())
def test_any_single_change_is_found(trades: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    orders, ledger, balance = books_of(trades)
    at = data.draw(st.integers(0, len(orders) - 1))
    by = data.draw(st.sampled_from([CENT, -CENT, Decimal(1)]))
    order, contract = orders[at], ledger.contracts[at]

    def moved(amount: Decimal | None) -> Decimal:
        return (amount or Decimal()) + by

    changes: dict[str, Books] = {
        "order gone": (orders[:at] + orders[at + 1 :], ledger, balance),
        "order twice": ([*orders, order], ledger, balance),
        "contract gone": (orders, replace(ledger, contracts=_without(ledger, at)), balance),
        "contract twice": (orders, replace(ledger, contracts=(*ledger.contracts, contract)), balance),
        "another contract": (_with(orders, at, replace(order, contract_id=1)), ledger, balance),
        "order's end": (_with(orders, at, replace(order, is_settled=not order.is_settled)), ledger, balance),
        "order's buy price": (_with(orders, at, replace(order, buy_price=moved(order.buy_price))), ledger, balance),
        "order's sell price": (_with(orders, at, replace(order, sell_price=moved(order.sell_price))), ledger, balance),
        "order's profit": (_with(orders, at, replace(order, profit=moved(order.profit))), ledger, balance),
        "price not known": (_with(orders, at, replace(order, buy_price=None)), ledger, balance),
        "ledger's buy price": (
            orders,
            _booked(ledger, at, replace(contract, buy_price=moved(contract.buy_price))),
            balance,
        ),
        "ledger's sell price": (
            orders,
            _booked(ledger, at, replace(contract, sell_price=moved(contract.sell_price))),
            balance,
        ),
        "ledger's profit": (orders, _booked(ledger, at, replace(contract, profit=moved(contract.profit))), balance),
        "ledger's balance": (orders, replace(ledger, balance=ledger.balance + by), balance),
        "ledger's start": (orders, replace(ledger, start_balance=START + by), balance),
        "gateway's balance": (orders, ledger, balance + by),
    }
    change = data.draw(st.sampled_from(sorted(changes)))
    assert differences(*changes[change]) != [], change


def test_a_balance_that_the_gateway_does_not_know_is_a_difference() -> None:
    orders, ledger, _ = books_of([(100, 195, True)])
    (line,) = differences(orders, ledger, None)
    assert "the gateway believes in a balance of None" in line


@pytest.mark.parametrize(("lost", "words"), [("order", "no order has it"), ("contract", "is not in the ledger")])
def test_a_line_names_the_order_or_the_contract(lost: str, words: str) -> None:
    orders, ledger, balance = books_of([(100, 195, True)])
    if lost == "order":
        orders = []
    else:
        ledger = replace(ledger, contracts=())
    lines = differences(orders, ledger, balance)
    assert any(words in line and "301234567888" in line for line in lines)


def _with(orders: list[OrderClaim], at: int, order: OrderClaim) -> list[OrderClaim]:
    return [*orders[:at], order, *orders[at + 1 :]]


def _without(ledger: Ledger, at: int) -> tuple[LedgerContract, ...]:
    return ledger.contracts[:at] + ledger.contracts[at + 1 :]


def _booked(ledger: Ledger, at: int, contract: LedgerContract) -> Ledger:
    return replace(ledger, contracts=(*ledger.contracts[:at], contract, *ledger.contracts[at + 1 :]))

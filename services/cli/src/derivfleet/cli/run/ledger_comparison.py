"""Whether what the fleet believes equals what the ledger says: every order, every cent. Pure.

The ledger is the simulator's own ledger. It is read over HTTP and knows nothing of the gateway, so two sides that
do not share a mistake are compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Ledger", "LedgerContract", "OrderClaim", "differences"]

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class OrderClaim:
    """An order of the fleet's that is said to have bought a contract. None is "not known yet", as in an open one."""

    order_id: str
    contract_id: int
    buy_price: Decimal | None
    sell_price: Decimal | None
    profit: Decimal | None
    is_settled: bool


@dataclass(frozen=True, slots=True)
class LedgerContract:
    """A contract in the ledger."""

    contract_id: int
    buy_price: Decimal
    sell_price: Decimal | None
    profit: Decimal | None
    is_sold: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger: every contract, and the balance before the first and after the last movement."""

    contracts: tuple[LedgerContract, ...]
    start_balance: Decimal
    balance: Decimal


def differences(orders: Iterable[OrderClaim], ledger: Ledger, gateway_balance: Decimal | None) -> list[str]:
    """All differences, one line each; none means that both sides agree.

    Every order with a contract must be exactly one ledger contract with the same prices and profit, every ledger
    contract exactly one order, and the balance must be what the orders make of the start balance.
    ``gateway_balance`` is the gateway's (None if it has none, which is a difference too).
    """
    orders = list(orders)
    found: list[str] = []
    claims = Counter(order.contract_id for order in orders)
    found += [f"contract {key} is claimed by {count} orders" for key, count in claims.items() if count > 1]
    entries = Counter(contract.contract_id for contract in ledger.contracts)
    found += [f"contract {key} is in the ledger {count} times" for key, count in entries.items() if count > 1]
    booked = {contract.contract_id: contract for contract in ledger.contracts}
    for order in orders:
        contract = booked.get(order.contract_id)
        if contract is None:
            found.append(f"order {order.order_id}: contract {order.contract_id} is not in the ledger")
        else:
            found += _compare(order, contract)
    found += [f"contract {key} is in the ledger, but no order has it" for key in booked if key not in claims]
    found += _compare_balances(orders, ledger, gateway_balance)
    return found


def _compare(order: OrderClaim, contract: LedgerContract) -> list[str]:
    pairs = [
        ("buy price", order.buy_price, contract.buy_price),
        ("sell price", order.sell_price, contract.sell_price),
        ("profit", order.profit, contract.profit),
        ("end", order.is_settled, contract.is_sold),
    ]
    found = [
        f"order {order.order_id}: {name} {believed} is {booked} in the ledger (contract {order.contract_id})"
        for name, believed, booked in pairs
        if believed != booked
    ]
    if order.is_settled and None not in (order.buy_price, order.sell_price, order.profit):
        made = (order.sell_price or Decimal()) - (order.buy_price or Decimal())
        if made != order.profit:
            found.append(f"order {order.order_id}: profit {order.profit} is not sell price minus buy price ({made})")
    return found


def _compare_balances(orders: Sequence[OrderClaim], ledger: Ledger, gateway_balance: Decimal | None) -> list[str]:
    moved = sum(((order.sell_price or Decimal()) - (order.buy_price or Decimal()) for order in orders), start=Decimal())
    found: list[str] = []
    if ledger.start_balance + moved != ledger.balance:
        made = ledger.start_balance + moved
        found.append(f"the orders make a balance of {made} of {ledger.start_balance}; the ledger's is {ledger.balance}")
    if gateway_balance != ledger.balance:
        found.append(f"the gateway believes in a balance of {gateway_balance}; the ledger's is {ledger.balance}")
    return found

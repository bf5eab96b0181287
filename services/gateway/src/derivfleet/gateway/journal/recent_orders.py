"""The orders that were written or read last: most questions are about them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.gateway.core.orders.order import Order

__all__ = ["RECENT_ORDERS", "Key", "RecentOrders"]

RECENT_ORDERS = 5_000
"""Orders kept in memory, about a kilobyte each."""
Key = tuple[str, str]
"""Account and order id."""


class RecentOrders:
    """The newest orders by id, and whose their contracts are."""

    def __init__(self) -> None:
        self._orders: OrderedDict[Key, Order] = OrderedDict()
        self._claims: dict[tuple[str, int], str] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def get(self, account: str, order_id: str) -> Order | None:
        """One of them; None if it is not among them."""
        return self._orders.get((account, order_id))

    def keep(self, order: Order) -> None:
        """Take an order in as it is now."""
        key = (order.account, order.order_id)
        before = self._orders.get(key)
        if before is not None and before.contract_id != order.contract_id:
            self._claims.pop((order.account, before.contract_id), None)
        self._orders[key] = order
        self._orders.move_to_end(key)
        if order.contract_id:
            self._claims[order.account, order.contract_id] = order.order_id
        if len(self._orders) > RECENT_ORDERS:
            _, oldest = self._orders.popitem(last=False)
            self._claims.pop((oldest.account, oldest.contract_id), None)

    def is_taken(self, order: Order) -> bool:
        """Whether the order's contract is another's."""
        return self._claims.get((order.account, order.contract_id), order.order_id) != order.order_id

    def claimed(self, account: str, contract_ids: Iterable[int]) -> set[int]:
        """Which of these contracts belong to them."""
        return {contract_id for contract_id in contract_ids if (account, contract_id) in self._claims}

    def clear(self) -> None:
        """Forget all."""
        self._orders.clear()
        self._claims.clear()

"""Finds out what became of exits whose answer was lost: the contract itself shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.connection.connection import CallRefusedError
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.exit import ExitDone, ExitNotDone, ExitState, is_late_enough, look_ns
from derivfleet.gateway.core.orders.transitions import ExitMoved
from derivfleet.gateway.reconciling import records

if TYPE_CHECKING:
    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["LostExits"]

_log = structlog.get_logger()


class LostExits:
    """One account's exits without an answer."""

    def __init__(self, client: AccountClient, registry: OrderRegistry) -> None:
        self._client = client
        self._registry = registry
        self._codec = client.pool.login.codec
        self._looks: dict[str, int] = {}
        """How often the contract of an order with such an exit was looked at."""

    async def look(self) -> None:
        """Look at each contract whose time has come."""
        for order_id in self.due(self._client.clock.now_ns()):
            order = self._registry.open.get(order_id)
            if order is None:
                continue
            read_ns = self._client.clock.now_ns()
            try:
                contract = await records.contract(self._client, self._codec, order.contract_id)
            except (CallRefusedError, MalformedAnswer) as error:
                _log.warning("the contract of a doubtful exit could not be read", order_id=order_id, problem=str(error))
                continue
            if contract is not None:
                self._registry.on_contract(order.contract_id, contract)
                self.looked(order_id, contract, read_ns)

    def due(self, now_ns: int) -> list[str]:
        """The orders whose contract should be looked at now, because an exit's answer was lost."""
        doubtful = {
            order.order_id: one
            for order in self._registry.open.values()
            for one in order.exits
            if one.state is ExitState.UNKNOWN
        }
        for order_id in [order_id for order_id in self._looks if order_id not in doubtful]:
            del self._looks[order_id]
        found = [name for name, one in doubtful.items() if now_ns >= look_ns(one, self._looks.get(name, 0))]
        for order_id in found:
            self._looks[order_id] = self._looks.get(order_id, 0) + 1
        return found

    def looked(self, order_id: str, contract: ContractState, read_ns: int) -> None:
        """What the contract shows, read from ``read_ns`` on; that of an ended one has settled the order already."""
        order = self._registry.open.get(order_id)
        for one in () if order is None else order.exits:
            if order is None or one.state is not ExitState.UNKNOWN:
                continue
            if one.terms.limits and all(contract.limits.get(name) == amount for name, amount in one.terms.limits):
                order = self._registry.move(order, ExitMoved(one.exit_id, ExitDone()))
            elif is_late_enough(one, read_ns):
                order = self._registry.move(order, ExitMoved(one.exit_id, ExitNotDone()))

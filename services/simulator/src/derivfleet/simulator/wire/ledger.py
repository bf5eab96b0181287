"""What really happened, for tests and tools to compare with what a client believes; and the switches of faults.

No part of Deriv. Money is written as strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import ValidationError

from derivfleet.common.prometheus import CONTENT_TYPE, counter, gauge, text_of
from derivfleet.common.validation import first_problem
from derivfleet.simulator.core.settings import FaultSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.account_ledger import Account, Movement
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.wire.connection_hub import ConnectionHub

__all__ = ["LedgerEndpoints"]


class LedgerEndpoints:
    """Handlers."""

    def __init__(self, hub: ConnectionHub) -> None:
        self._hub = hub
        self._exchange = hub.exchange

    @property
    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/health", self._health),
            web.get("/metrics", self._metrics),
            web.get("/ledger", self._ledger),
            web.get("/ledger/calls", self._calls),
            web.get("/faults", self._faults),
            web.post("/faults", self._add_fault),
            web.delete("/faults", self._clear_faults),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "time": int(self._hub.clock.now_s())})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=text_of(self._gauges), headers={"Content-Type": CONTENT_TYPE})

    def _gauges(self) -> Iterator[Metric]:
        counts = self._exchange.counts
        told = {"accepted": counts.accepted, "refused": counts.refused}
        calls = {(str(call), name): count for name, of in told.items() for call, count in of.items()}
        yield counter("simulator_calls", "Calls, and those refused for their rate", ("call", "outcome"), calls)
        yield gauge("simulator_sockets", "Open sockets", (), {(): len(self._exchange.connections)})

    async def _ledger(self, _request: web.Request) -> web.Response:
        accounts = [_account(account) for account in self._exchange.ledger.accounts.values()]
        return web.json_response({"accounts": accounts})

    async def _calls(self, _request: web.Request) -> web.Response:
        counts = self._exchange.counts
        names = sorted(counts.accepted.keys() | counts.refused.keys())
        calls = {name: {"accepted": counts.accepted[name], "refused": counts.refused[name]} for name in names}
        return web.json_response(
            {"calls": calls, "accepted": counts.accepted.total(), "refused": counts.refused.total()}
        )

    async def _faults(self, _request: web.Request) -> web.Response:
        found = [
            {"number": number, "kind": fault.rule.kind, "call": fault.rule.call, "happened": fault.happened}
            for number, fault in self._exchange.faults.active.items()
        ]
        return web.json_response({"faults": found})

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            asked = FaultSettings.model_validate_json(await request.text())
        except ValidationError as error:
            key, message = first_problem(error)
            return web.json_response({"error": f"{key}: {message}"}, status=400)
        return web.json_response({"number": self._exchange.faults.add(asked.rule)})

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._exchange.clear_faults()
        return web.json_response({})


def _account(account: Account) -> Frame:
    return {
        "loginid": account.loginid,
        "currency": account.currency,
        "account_type": "demo" if account.is_demo else "real",
        "start_balance": str(account.start_balance),
        "balance": str(account.balance),
        "movements": [_movement(movement) for movement in account.movements],
        "contracts": [_contract(contract) for contract in account.contracts.values()],
    }


def _movement(movement: Movement) -> Frame:
    return {
        "transaction_id": movement.transaction_id,
        "action": movement.action,
        "amount": str(movement.amount),
        "balance_after": str(movement.balance_after),
        "time": movement.time_s,
        "contract_id": movement.contract_id,
        "app_id": movement.app_id,
    }


def _contract(contract: Contract) -> Frame:
    sale = contract.sale
    return {
        "contract_id": contract.contract_id,
        "contract_type": contract.terms.contract_type,
        "symbol": contract.terms.symbol,
        "duration": contract.terms.duration,
        "duration_unit": contract.terms.unit,
        "barrier": contract.terms.barrier,
        "shortcode": contract.shortcode,
        "purchase_time": contract.timeline.purchase_s,
        "date_expiry": contract.timeline.expiry_s,
        "buy_price": str(contract.buy_price),
        "payout": str(contract.payout),
        "buy_transaction_id": contract.buy_transaction_id,
        "sell_price": str(sale.price) if sale else None,
        "sell_time": sale.time_s if sale else None,
        "sell_transaction_id": sale.transaction_id if sale else None,
        "sold_by_client": sale.by_client if sale else None,
    }

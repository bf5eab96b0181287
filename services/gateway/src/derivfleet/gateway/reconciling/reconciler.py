"""Compares what the registry believes with the account's own records, beside the trading and never in its way.

Three things need it: orders whose answer was lost, exits whose answer was lost, and contracts that should have ended
without anybody having said so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.reconciling.lost_exits import LostExits
from derivfleet.gateway.reconciling.lost_orders import LostOrders
from derivfleet.gateway.reconciling.overdue_contracts import OverdueContracts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.gateway.core.orders.clock_skew import Skew
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.reconciling.evidence import Evidence
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["Reconciler"]

_log = structlog.get_logger()

UNREADABLE = (CallRefusedError, AnswerLostError, DeniedError, MalformedAnswer, JournalError)
TURN_S = 0.5
"""How often it is looked whether something is due."""


class Reconciler:
    """One account's comparison with its records, from now until it is stopped."""

    def __init__(
        self,
        client: AccountClient,
        registry: OrderRegistry,
        evidence: Evidence,
        skew: Skew,
        take_up_stranded: Callable[[], None],
    ) -> None:
        """``take_up_stranded`` gives operations that have ended without a word a state from which they go on."""
        self._account = client.account
        self._clock = client.clock
        self._take_up_stranded = take_up_stranded
        orders = LostOrders(client, registry, evidence, skew)
        rounds: dict[str, tuple[Callable[[], Awaitable[None]], ...]] = {
            "lost operations": (self._stranded, orders.notice_foreign, orders.conclude),  # these wait for nothing
            "sightings": (orders.look_at_sightings, orders.conclude),
            "lists": (orders.read_lists, orders.conclude),
            "exits": (LostExits(client, registry).look,),
            "overdue contracts": (OverdueContracts(client, registry).look,),
        }
        # Each by itself: what keeps one from being done, as a bucket that rests, must not keep the others.
        self._tasks = [
            asyncio.create_task(self._run(*steps), name=f"reconcile {self._account}: {what}")
            for what, steps in rounds.items()
        ]

    async def stop(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, *steps: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(TURN_S)
            done = [await self._tried(step) for step in steps]
            if not all(done):
                await self._clock.sleep(backoff_s(1, self._account))

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> bool:
        try:
            await step()
        except UNREADABLE as error:
            _log.warning("the account's records could not be read, trying again", problem=str(error))
            return False
        except Exception:  # noqa: BLE001 - without this task nobody finds lost orders and missed settlements
            _log.exception("reconciling failed in an unforeseen way, trying again", account=self._account)
            return False
        return True

    async def _stranded(self) -> None:
        self._take_up_stranded()

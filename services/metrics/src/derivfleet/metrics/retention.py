"""How long what was seen is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts.alert_table import forget
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.metrics.store.store import Store

__all__ = ["Retention"]

_log = structlog.get_logger()
_EVERY_S = 3_600
_SHORTEST_WALL_S = 60.0
_DAY_NS = 86_400 * NS_PER_S


class Retention:
    """Forgets old rows at the start and every hour: spans and status samples first, settled orders much later."""

    def __init__(self, store: Store, clock: Clock, span_days: int, order_days: int) -> None:
        self._store = store
        self._clock = clock
        self._span_days = span_days
        self._order_days = order_days

    async def run(self) -> None:
        """Forget until cancelled."""
        while True:
            now_ns = self._clock.now_ns()
            try:
                orders_before_ns = now_ns - self._order_days * _DAY_NS
                gone = await self._store.forget(now_ns - self._span_days * _DAY_NS, orders_before_ns)
                gone += await self._store.write(lambda connection, until=orders_before_ns: forget(connection, until))
            except StoreError as error:
                _log.warning("old rows stay for now", problem=str(error))
            else:
                if gone:
                    _log.info("old rows forgotten", rows=gone)
            await self._clock.sleep(max(_EVERY_S, self._clock.fleet_s(_SHORTEST_WALL_S)))

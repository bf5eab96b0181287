"""The gateway's status, asked every few seconds: kept as samples, and at hand as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import structlog

from derivfleet.common.rpc.status import problem_of
from derivfleet.metrics.records.gateway_status import bots_seen, quota_now, samples_of
from derivfleet.metrics.store.store import StoreError
from derivfleet.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.common.rpc.own_token import OwnToken
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.records.gateway_status import BotsSeen, QuotaNow
    from derivfleet.metrics.store.store import Store

__all__ = ["StatusPoll"]

_log = structlog.get_logger()
_SHORTEST_WALL_S = 0.05
"""However fast the clock runs: calls are made in wall time."""
_CALL_WALL_S = 5.0


class StatusPoll:
    """Asks the gateway for its status every few seconds and keeps the answer."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        token: OwnToken,
        store: Store,
        clock: Clock,
        feed: OrderFeed,
        every_s: float = 5.0,
    ) -> None:
        self._stub = control_pb2_grpc.ControlServiceStub(channel)
        self._token = token
        self._store = store
        self._clock = clock
        self._feed = feed
        self._every_s = every_s
        self._said = ""
        self.quota: dict[str, QuotaNow] = {}
        """What the last answer said of each account's shares and savings."""
        self.seen: dict[str, BotsSeen] = {}
        """When the gateway last heard of each account's bots."""

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            reason, message = await self._ask()
            if not reason:
                self._said = ""
            elif reason != self._said and self._feed.connected:
                # Said once an outage; while the feed is cut, the feed has said so already.
                self._said = reason
                _log.warning("no status from the gateway, trying again", reason=reason, problem=message)
            await self._clock.sleep(max(self._every_s, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def _ask(self) -> tuple[str, str]:
        """Ask once; returns what went wrong (a code, a line), or nothing."""
        try:
            response = await self._stub.GetStatus(
                control_pb2.GetStatusRequest(), metadata=self._token.metadata, timeout=_CALL_WALL_S
            )
            self.quota.update(quota_now(response))
            self.seen.update(bots_seen(response))
            await self._store.keep_status(samples_of(response))
            await self._feed.confirm(self._clock.now_ns())
        except grpc.aio.AioRpcError as error:
            found = problem_of(error)
            return found.reason, found.message
        except StoreError as error:
            return "STORE", str(error)
        return "", ""

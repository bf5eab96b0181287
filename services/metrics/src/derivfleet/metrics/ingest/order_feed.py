"""The gateway's order feed, read for ever and kept without a gap."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.clock import NS_PER_S
from derivfleet.common.rpc.status import problem_of
from derivfleet.metrics.records.order import MalformedOrderError, order_of
from derivfleet.metrics.store.store import StoreError
from derivfleet.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.common.clock import Clock
    from derivfleet.common.rpc.own_token import OwnToken
    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.store.feed_mark import FeedMark
    from derivfleet.metrics.store.store import Store

__all__ = ["OrderFeed"]

_log = structlog.get_logger()

_BATCH_EVENTS = 500
_QUEUE_EVENTS = 2_000
_SHORTEST_WALL_S = 0.1
"""However fast the clock runs: connections are made in wall time."""
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0
"""Between two attempts, fleet time."""
_PASSING = frozenset({"UNAVAILABLE", "STREAM_ENDED"})
_PATIENCE_WALL_S = 5.0
"""A gateway that starts after this service, or starts again, is no trouble; one that stays away is."""

Response = control_pb2.StreamOrderFeedResponse
Call = grpc.aio.UnaryStreamCall[control_pb2.StreamOrderFeedRequest, Response]


class OrderFeed:
    """Follows the order feed for ever, from where the store left it; says that it is cut, and warns if it stays so."""

    def __init__(self, channel: grpc.aio.Channel, token: OwnToken, store: Store, clock: Clock, mark: FeedMark) -> None:
        self._stub = control_pb2_grpc.ControlServiceStub(channel)
        self._token = token
        self._store = store
        self._clock = clock
        self._mark = mark
        self._started_ns = clock.now_ns()
        self._connected = False
        self._caught_up = False
        self._pending_since_ns: int | None = None
        self._problem = "CONNECTING"
        self._failures = 0
        self._said = ""
        self._cut_ns = self._started_ns

    @property
    def connected(self) -> bool:
        """Whether the gateway has answered on the present stream."""
        return self._connected

    @property
    def problem(self) -> str:
        """Why it is not connected, as a code; empty if it is."""
        return self._problem

    @property
    def refused(self) -> int:
        """How many events could not be kept, ever."""
        return self._mark.refused

    def seen_to_ns(self) -> int:
        """Up to which instant all events are known to be kept; 0 if never."""
        if not (self._connected and self._caught_up):
            return self._mark.seen_to_ns
        return self._clock.now_ns() if self._pending_since_ns is None else self._pending_since_ns

    def lag_s(self) -> float:
        """How far behind the feed is: 0 while all there was has been kept, else the time since that was last so."""
        now_ns = self._clock.now_ns()
        return max(0, now_ns - min(now_ns, self.seen_to_ns() or self._started_ns)) / NS_PER_S

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
                self._lose("STREAM_ENDED", "the gateway ended the stream")
            except grpc.aio.AioRpcError as error:
                found = problem_of(error)
                self._lose(found.reason, found.message)
            except StoreError as error:
                self._lose("STORE", str(error))
            wait_s = backoff_s(self._failures, "order feed", _FIRST_WAIT_S, _LONGEST_WAIT_S)
            self._failures += 1
            await self._clock.sleep(max(wait_s, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def confirm(self, time_ns: int) -> None:
        """The gateway answered another call at this time, so a quiet stream was not a dead one. Raises StoreError."""
        if self._connected and self._caught_up and self._pending_since_ns is None:
            await self._keep([], time_ns)

    def _lose(self, reason: str, message: str) -> None:
        if self._connected:
            self._cut_ns = self._clock.now_ns()
            _log.info("order feed cut, trying again", reason=reason, problem=message)
        self._connected = self._caught_up = False
        self._problem = reason
        outage_s = (self._clock.now_ns() - self._cut_ns) / NS_PER_S
        is_trouble = reason not in _PASSING or outage_s >= self._clock.fleet_s(_PATIENCE_WALL_S)
        if is_trouble and reason != self._said:
            self._said = reason
            _log.warning(
                "no order feed from the gateway, trying again",
                reason=reason,
                problem=message,
                position=self._mark.position,
                outage_s=round(outage_s, 3),
            )

    def _find(self) -> None:
        self._connected = True
        self._problem = ""
        outage_s = (self._clock.now_ns() - self._cut_ns) / NS_PER_S
        _log.info("order feed connected", position=self._mark.position, outage_s=round(outage_s, 3))

    async def _follow(self) -> None:
        request = control_pb2.StreamOrderFeedRequest(
            after_position=self._mark.position - self._mark.base, journal_id=self._mark.journal
        )
        call: Call = self._stub.StreamOrderFeed(request, metadata=self._token.metadata)
        queue: asyncio.Queue[Response | None] = asyncio.Queue(_QUEUE_EVENTS)
        self._pending_since_ns = None
        pump = asyncio.create_task(self._pump(call, queue))
        try:
            ended = False
            while not ended:
                responses = [await queue.get()]
                while len(responses) < _BATCH_EVENTS and not queue.empty():
                    responses.append(queue.get_nowait())
                ended = None in responses
                await self._keep_batch([response for response in responses if response is not None])
                if queue.empty():
                    self._pending_since_ns = None
            await pump
        finally:
            call.cancel()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, call: Call, queue: asyncio.Queue[Response | None]) -> None:
        """Reading goes on while a batch is being written; a full queue holds the gateway back."""
        try:
            async for response in call:
                if not self._connected:
                    self._find()
                if self._pending_since_ns is None:
                    self._pending_since_ns = self._clock.now_ns()
                await queue.put(response)
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)

    async def _keep_batch(self, batch: Sequence[Response]) -> None:
        orders: list[OrderRecord] = []
        mark = self._mark
        seen_to_ns = mark.seen_to_ns
        caught_up = self._caught_up
        for response in batch:
            if response.journal_id:
                mark = self._begun(mark, response)
            if not response.HasField("event"):
                caught_up = True
                seen_to_ns = self._clock.now_ns()
                continue
            event = response.event
            event.position += mark.base
            mark = replace(mark, position=max(mark.position, event.position))
            # Another machine's clock may be ahead of ours.
            seen_to_ns = max(seen_to_ns, min(event.time_ns, self._clock.now_ns()))
            try:
                orders.append(order_of(event))
            except MalformedOrderError as error:
                # It is passed over, or it would come again for ever; it is counted, or the report would hide it.
                mark = replace(mark, refused=mark.refused + 1)
                _log.error("event of the order feed refused", problem=str(error), position=event.position)
        await self._keep(orders, seen_to_ns, mark)
        self._caught_up = caught_up
        if batch:
            # Only what is kept has arrived: a gateway that answers does not help a disk that is full.
            self._said = ""
            self._failures = 0

    def _begun(self, mark: FeedMark, first: Response) -> FeedMark:
        """What the first message of a stream says: which journal it is, where it begins, and what is missing."""
        asked = mark.position - mark.base
        if first.begins_after < asked:
            _log.warning("the gateway has another order journal, reading it from its beginning", was=mark.journal)
            mark = replace(mark, base=mark.position)
        elif asked and first.trimmed_to > asked:
            missed = first.trimmed_to - asked
            _log.error("the order feed has forgotten what was not read yet", events=missed)
            mark = replace(mark, refused=mark.refused + missed)
        return replace(mark, journal=first.journal_id)

    async def _keep(self, orders: Sequence[OrderRecord], seen_to_ns: int, mark: FeedMark | None = None) -> None:
        kept = replace(mark or self._mark, seen_to_ns=max(self._mark.seen_to_ns, seen_to_ns))
        await self._store.keep_orders(orders, kept)
        # A batch and a confirmation may have been on their way at the same time.
        self._mark = self._mark.joined(kept)

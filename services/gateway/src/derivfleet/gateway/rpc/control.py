"""Status, orders and the order feed for operators and the metrics service."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc

from derivfleet.common.rpc.identity import caller
from derivfleet.common.rpc.status import ProblemError, abort
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.rpc import errors, messages, quota
from derivfleet.gateway.rpc.resolve import resolve
from derivfleet.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from derivfleet.common.clock import Clock
    from derivfleet.gateway.account.account import AccountRoom
    from derivfleet.gateway.core.orders.order import Order, State
    from derivfleet.gateway.journal.feed import Feed

__all__ = ["ControlServicer"]

Context = grpc.aio.ServicerContext[Any, Any]
_PAGE_TOKEN = re.compile("[0-9]{1,18}")
DEFAULT_PAGE = 100
LARGEST_PAGE = 1000
FOREIGN_SHOWN = 20


class ControlServicer(control_pb2_grpc.ControlServiceServicer):
    """What the gateway knows, for those who may know it."""

    def __init__(self, rooms: Mapping[str, AccountRoom], feed: Feed, clock: Clock) -> None:
        self._rooms = rooms
        self._feed = feed
        self._clock = clock
        self._started_ns = clock.now_ns()

    async def GetStatus(  # noqa: N802
        self, request: control_pb2.GetStatusRequest, context: Context
    ) -> control_pb2.GetStatusResponse:
        await self._check_account(request.account, context)
        return control_pb2.GetStatusResponse(
            accounts=[self._account_status(room) for room in self._rooms.values() if request.account in ("", room.key)],
            journal=control_pb2.JournalStatus(
                journal_id=self._feed.journal.journal_id,
                last_position=self._feed.last_position,
                problem=self._feed.journal.trouble,
                unwritten=self._feed.journal.unwritten,
            ),
            time_ns=self._clock.now_ns(),
            started_time_ns=self._started_ns,
        )

    async def ListOrders(  # noqa: N802
        self, request: control_pb2.ListOrdersRequest, context: Context
    ) -> control_pb2.ListOrdersResponse:
        await self._check_account(request.account, context)
        try:
            state = messages.state_of(request.state)
            if not 0 <= request.limit <= LARGEST_PAGE:
                raise messages.invalid("limit", f"must be 0 to {LARGEST_PAGE}")
            if request.page_token and not _PAGE_TOKEN.fullmatch(request.page_token):
                raise messages.invalid("page_token", "must be empty or the next_page_token of an earlier answer")
        except ProblemError as error:
            await abort(context, error.problem)
        if request.doubtful:
            doubtful = self._doubtful(request.account, request.bot, state)
            return control_pb2.ListOrdersResponse(orders=[messages.order_message(order) for order in doubtful])
        try:
            orders, more = self._feed.journal.page(
                request.account, request.bot, state or "", int(request.page_token or 0), request.limit or DEFAULT_PAGE
            )
        except JournalError as error:
            await abort(context, errors.journal_not_read(error))
        return control_pb2.ListOrdersResponse(
            orders=[messages.order_message(order) for order in orders], next_page_token=str(more) if more else ""
        )

    def _doubtful(self, account: str, bot: str, state: State | None) -> list[Order]:
        found = [
            order
            for room in self._rooms.values()
            for order in (*room.orders.registry.unknown.values(), *room.orders.registry.watched.values())
            if account in ("", room.key) and bot in ("", order.bot) and state in (None, order.state) and order.doubt
        ]
        return sorted(found, key=lambda order: -order.intended_time_ns)[:LARGEST_PAGE]

    async def ResolveOrder(  # noqa: N802
        self, request: control_pb2.ResolveOrderRequest, context: Context
    ) -> control_pb2.ResolveOrderResponse:
        await self._check_account(request.account, context)
        try:
            order = await resolve(self._rooms, request, caller())
        except ProblemError as error:
            await abort(context, error.problem)
        return control_pb2.ResolveOrderResponse(order=messages.order_message(order))

    async def StreamOrderFeed(  # noqa: N802
        self, request: control_pb2.StreamOrderFeedRequest, context: Context
    ) -> AsyncIterator[control_pb2.StreamOrderFeedResponse]:
        await self._check_account(request.account, context)
        if request.after_position < 0:
            await abort(context, messages.invalid("after_position", "must not be negative").problem)
        journal = self._feed.journal
        begins_after = request.after_position
        if request.journal_id not in ("", journal.journal_id) or begins_after > self._feed.last_position:
            begins_after = 0  # a position in another journal, or in what this one was before it was put back
        first = control_pb2.StreamOrderFeedResponse(
            journal_id=journal.journal_id, begins_after=begins_after, trimmed_to=journal.trimmed_to
        )
        try:
            async with aclosing(self._feed.follow(request.account, begins_after)) as events:
                async for event in events:
                    if event is not None:
                        first.event.CopyFrom(messages.event_message(event))
                    yield first
                    first = control_pb2.StreamOrderFeedResponse()
        except JournalError as error:
            await abort(context, errors.journal_not_read(error))

    async def _check_account(self, account: str, context: Context) -> None:
        if account and account not in self._rooms:
            known = ", ".join(self._rooms)
            problem = messages.invalid("account", f"unknown account {account[:40]!r}; known are {known}").problem
            await abort(context, problem)

    def _account_status(self, room: AccountRoom) -> control_pb2.AccountStatus:
        now_ns = self._clock.now_ns()
        facts = room.pool.facts
        return control_pb2.AccountStatus(
            account=room.key,
            dialect=room.dialect,
            login_id="" if facts is None else facts.login_id,
            currency="" if facts is None else facts.currency,
            balance="" if room.balance is None else f"{room.balance:f}",
            is_demo=facts is not None and facts.is_demo,
            connections=[
                control_pb2.ConnectionStatus(
                    role=slot.role,
                    state=slot.state,
                    since_time_ns=slot.since_time_ns,
                    ping_ms=slot.ping_ms,
                    reconnects=slot.reconnects,
                    open_calls=0 if slot.connection is None else slot.connection.open_calls,
                    streams=0 if slot.connection is None else slot.connection.stream_count,
                    problem=slot.problem,
                )
                for slot in room.pool.slots.values()
            ],
            windows=quota.window_messages(room.quota, now_ns),
            shares=quota.share_messages(room.quota, now_ns),
            bots=[
                control_pb2.BotStatus(
                    bot=bot,
                    ops=tally.ops,
                    buys=tally.buys,
                    confirmed=tally.confirmed,
                    settled=tally.settled,
                    wins=tally.wins,
                    unknown=tally.unknown,
                    errors=tally.rejected,
                    denied=tally.denied + tally.unwritten,
                    doubtful=tally.doubtful,
                    found_late=tally.found_late,
                    profit=f"{tally.profit:f}",
                    open=tally.open,
                    last_seen_time_ns=tally.last_seen_time_ns,
                )
                for bot, tally in ((bot, room.orders.tallies.of(bot)) for bot in sorted(room.bots))
            ],
            rejected_by_deriv=room.client.rejected_by_deriv,
            calls_sent=room.client.calls_sent,
            foreign_trades=room.orders.evidence.foreign_count,
            newest_foreign_trades=messages.foreign_messages(room.orders.evidence.newest_foreign(FOREIGN_SHOWN)),
            calls_saved=quota.saved_messages(room.savings.counts),
            breaker=control_pb2.CircuitBreakerStatus(
                state=room.breaker.state,
                since_time_ns=room.breaker.since_time_ns,
                reason=room.breaker.reason,
                retry_time_ns=room.breaker.retry_time_ns,
            ),
            next_calls=quota.next_call_messages(room.quota, sorted(room.bots), now_ns),
        )

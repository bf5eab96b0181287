"""The metrics service put together: what listens, what follows the gateway, in which order it starts and ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.identities import identities_of
from derivfleet.common.rpc.identity import OwnToken, Role
from derivfleet.common.rpc.server import Server
from derivfleet.metrics.feed import OrderFeed, StatusPoll
from derivfleet.metrics.ingest import TRACE_SERVICE, TraceReceiver
from derivfleet.metrics.reports import Reports, ReportsServicer
from derivfleet.metrics.retention import Retention
from derivfleet.metrics.settings import key_of
from derivfleet.metrics.store import Store
from derivfleet.metrics.web.answers import Answers
from derivfleet.metrics.web.board import Board
from derivfleet.metrics.web.gate import Gate
from derivfleet.metrics.web.live import Live
from derivfleet.metrics.web.site import Site
from derivfleet.v1 import reports_pb2, reports_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.metrics.settings import MetricsSettings

__all__ = ["Ports", "serve"]

_log = structlog.get_logger()
_GRACE_WALL_S = 3.0
_REPORTS = reports_pb2.DESCRIPTOR.services_by_name["ReportsService"].full_name


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service really listens."""

    grpc: int
    web: int


async def serve(
    settings: MetricsSettings,
    clock: Clock,
    _telemetry: Telemetry,
    stop: asyncio.Event,
    listening: asyncio.Future[Ports] | None = None,
) -> None:
    """Serve until ``stop`` is set, then drain. Raises ConfigurationError before anything half-works.

    ``listening`` is told the ports, for callers that asked for free ones. A gateway that is not there holds up
    nothing: what the store has is served, and the feed keeps trying.
    """
    fleet = load_fleet(settings.fleet)
    token = OwnToken(settings.token_file, key_of("token_file"))
    async with AsyncExitStack() as ending:
        identities = await ending.enter_async_context(identities_of(settings, clock))
        store = await Store.open(settings.store, key_of("store"))
        ending.push_async_callback(store.close)
        channel = open_channel(settings.gateway)
        ending.push_async_callback(channel.close, None)
        feed = OrderFeed(channel, token, store, clock, await store.mark())
        receiver = TraceReceiver(store, settings.queue_spans)
        reports = Reports(store, feed, clock, fleet)
        account = fleet.accounts[0].key
        board = Board(store, clock, account, settings.page_hours * 3600)
        poll = StatusPoll(channel, token, store, clock, feed)
        live = Live(store, reports, feed, receiver.counts, board, clock, fleet, account, poll.quota)

        server = Server(
            settings.listen,
            key_of("listen"),
            identities,
            roles={_REPORTS: frozenset({Role.OBSERVER, Role.OPERATOR})},
            open_services=frozenset({TRACE_SERVICE}),
        )
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server.grpc_server)  # pyright: ignore[reportUnknownMemberType] - generated without types
        reports_pb2_grpc.add_ReportsServiceServicer_to_server(ReportsServicer(reports), server.grpc_server)
        server.announce(TRACE_SERVICE, _REPORTS)
        ending.push_async_callback(server.stop, _GRACE_WALL_S)
        site = Site(settings.web, Gate(identities), Answers(reports, store, clock), store, feed, live, clock)
        ending.push_async_callback(site.stop)
        ports = Ports(grpc=await server.start(), web=await site.start())

        await server.set_serving(True)
        _log.info("metrics serves", grpc_port=ports.grpc, web_port=ports.web, position=(await store.mark()).position)
        if listening is not None:
            listening.set_result(ports)
        await _work(
            stop,
            feed.run(),
            poll.run(),
            Retention(store, clock, settings.span_days, settings.order_days).run(),
            live.run(),
        )
        _log.info("metrics drains")
        await server.set_serving(False)


async def _work(stop: asyncio.Event, *jobs: Coroutine[None, None, None]) -> None:
    """Run the endless jobs until ``stop`` is set. A job that fails ends the service: none may die unseen."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        await stop.wait()
        for task in tasks:
            task.cancel()

"""The metrics service put together: what listens, what follows the gateway, in which order it starts and ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import structlog

from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.identity_source import identities_of
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.common.rpc.server import Server
from derivfleet.metrics.alerts.channels import channels_of
from derivfleet.metrics.alerts.evaluator import Evaluator
from derivfleet.metrics.alerts.measurements import Measurements
from derivfleet.metrics.alerts.notifier import Notifier
from derivfleet.metrics.ingest.order_feed import OrderFeed
from derivfleet.metrics.ingest.status_poll import StatusPoll
from derivfleet.metrics.ingest.trace_receiver import TRACE_SERVICE, TraceReceiver
from derivfleet.metrics.replicate.replicator import replicator_of
from derivfleet.metrics.reports.finalizer import Finalizer
from derivfleet.metrics.reports.reports import Reports
from derivfleet.metrics.retention import Retention
from derivfleet.metrics.rpc.reports_servicer import ReportsServicer
from derivfleet.metrics.rpc.watching_servicer import WatchingServicer
from derivfleet.metrics.settings import key_of
from derivfleet.metrics.store.store import Store
from derivfleet.metrics.web.api import Api
from derivfleet.metrics.web.auth import Auth
from derivfleet.metrics.web.dashboard_state import DashboardState
from derivfleet.metrics.web.prometheus import gauges
from derivfleet.metrics.web.server import WebServer
from derivfleet.metrics.web.snapshot_stream import SnapshotStream
from derivfleet.v1 import reports_pb2, reports_pb2_grpc, watching_pb2, watching_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.metrics.settings import MetricsSettings

__all__ = ["Ports", "serve"]

_log = structlog.get_logger()
_GRACE_WALL_S = 3.0
_REPORTS = reports_pb2.DESCRIPTOR.services_by_name["ReportsService"].full_name
_WATCHING = watching_pb2.DESCRIPTOR.services_by_name["WatchingService"].full_name


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
        account = fleet.accounts[0].key
        store = await Store.open(settings.store, key_of("store"), account)
        ending.push_async_callback(store.close)
        channel = open_channel(settings.gateway)
        ending.push_async_callback(channel.close, None)
        feed = OrderFeed(channel, token, store, clock, await store.mark())
        receiver = TraceReceiver(store, clock, settings.queue_spans, settings.span_days)
        reports = Reports(store, feed, clock, fleet, receiver.counts)
        dashboard = DashboardState(store, clock, account, settings.page_hours * 3600)
        poll = StatusPoll(channel, token, store, clock, feed)
        measurements = Measurements(store, reports, feed, clock, fleet, account, poll.seen)
        channels = channels_of(settings, fleet)
        evaluator = Evaluator(store, measurements, clock, fleet, [channel.name for channel in channels])
        session = await ending.enter_async_context(aiohttp.ClientSession())
        notifiers = [Notifier(store, clock, channel, session) for channel in channels]
        replicator = await replicator_of(settings, fleet, store, clock, ending)
        stream = SnapshotStream(
            store, reports, feed, receiver.counts, dashboard, clock, fleet, account, poll.quota, replicator
        )

        server = Server(
            settings.listen,
            key_of("listen"),
            identities,
            roles={
                _REPORTS: frozenset({Role.OBSERVER, Role.OPERATOR}),
                _WATCHING: frozenset({Role.OPERATOR}),
            },
            open_services=frozenset({TRACE_SERVICE}),
        )
        server.grpc_server.add_generic_rpc_handlers((receiver.handlers(),))
        reports_pb2_grpc.add_ReportsServiceServicer_to_server(ReportsServicer(reports), server.grpc_server)
        watching = WatchingServicer(evaluator, replicator, clock, fleet)
        watching_pb2_grpc.add_WatchingServiceServicer_to_server(watching, server.grpc_server)
        server.announce(TRACE_SERVICE, _REPORTS, _WATCHING)
        ending.push_async_callback(server.stop, _GRACE_WALL_S)
        web_server = WebServer(
            settings.web,
            Auth(identities),
            Api(reports, store, clock),
            store,
            feed,
            stream,
            clock,
            lambda: gauges(evaluator, replicator, feed, receiver.counts),
        )
        ending.push_async_callback(web_server.stop)
        ports = Ports(grpc=await server.start(), web=await web_server.start())

        await server.set_serving(True)
        _log.info("metrics serves", grpc_port=ports.grpc, web_port=ports.web, position=(await store.mark()).position)
        if listening is not None:
            listening.set_result(ports)
        await _work(
            stop,
            feed.run(),
            poll.run(),
            Retention(store, clock, settings.span_days, settings.order_days).run(),
            stream.run(),
            Finalizer(store, reports, clock, account, settings.grace_s).run(),
            evaluator.run(),
            *(notifier.run() for notifier in notifiers),
            *([replicator.run()] if replicator is not None else []),
        )
        _log.info("metrics drains")
        await server.set_serving(False)
        if replicator is not None:
            await replicator.finish(_GRACE_WALL_S)


async def _work(stop: asyncio.Event, *jobs: Coroutine[None, None, None]) -> None:
    """Run the endless jobs until ``stop`` is set. A job that fails ends the service: none may die unseen."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        await stop.wait()
        for task in tasks:
            task.cancel()

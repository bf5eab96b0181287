"""The whole service with a rule, and people at the end of a webhook: told once that it fires, once that it is over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from derivfleet.common.clock import FleetClock
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.own_token import bearer
from derivfleet.v1 import orders_pb2, watching_pb2, watching_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conftest import GatewayPeer, Receiver, Running

    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.v1.orders_pb2 import OrderEvent

    RunMetrics = Callable[..., AbstractAsyncContextManager[Running]]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeEvent = Callable[..., OrderEvent]

RULES = """
alerts:
  every_s: 1
  rules:
    - {name: lost, when: unknown_orders, clear_for_s: 1}
"""
SECRET = "T0CANARY/B1CANARY/canary-of-the-webhook"


@pytest.fixture
def rules(tmp_path: Path, settings: MetricsSettings) -> str:
    """The fleet file with a rule."""
    path = tmp_path / "fleet.yaml"
    path.write_text(settings.fleet.read_text() + RULES)
    return str(path)


def unknown(make_event: MakeEvent, position: int) -> OrderEvent:
    event = make_event(position, "a", time_s=FleetClock().now_s())
    event.order.state = orders_pb2.ORDER_STATE_UNKNOWN
    return event


@pytest.mark.usefixtures("rules")
async def test_a_process_tells_once_that_it_fires_and_once_that_it_is_over(
    settings: MetricsSettings,
    gateway: GatewayPeer,
    receiver: Receiver,
    make_event: MakeEvent,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    """Across a restart in between; and the address, which is a secret, is in no line of the log."""
    own = settings.model_copy(update={"gateway": f"127.0.0.1:{gateway.port}"}).model_dump(exclude_defaults=True)
    environment = {
        **os.environ,
        **{f"DERIVFLEET_METRICS_{name}".upper(): str(value) for name, value in own.items()},
        "DERIVFLEET_METRICS_LOG_LEVEL": "debug",
        "ALERT_WEBHOOK_URL": f"{receiver.url}/services/{SECRET}",
    }
    log = tmp_path / "metrics.log"

    async def run() -> asyncio.subprocess.Process:
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "derivfleet.metrics", env=environment, stderr=output
            )

    async def end(process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0

    async def taken(count: int) -> None:
        async def enough() -> bool:
            return len(receiver.taken) >= count

        await eventually(enough)

    receiver.answers = [(500, {}), (503, {})]
    process = await run()
    await gateway.add(unknown(make_event, 1))
    await taken(1)
    await end(process)
    process = await run()
    await gateway.add(make_event(2, "a", time_s=FleetClock().now_s()))
    await taken(2)
    await end(process)
    fired, cleared = receiver.texts
    assert fired == "[test] FIRING lost over-4: 1 order unknown (threshold 0)"
    assert cleared.startswith("[test] CLEARED lost over-4 after ")
    assert {path for path, _, _ in receiver.taken} == {f"/services/{SECRET}"}
    assert [key for _, _, key in receiver.taken] == ["derivfleet-1", "derivfleet-2"]
    told = log.read_text()
    assert told.count("metrics serves") == 2
    assert told.count("alert not told, trying again") == 2
    assert "canary" not in told.lower()


@pytest.mark.usefixtures("rules")
async def test_operators_see_and_silence_alerts_and_prometheus_scrapes_them(
    run_metrics: RunMetrics, gateway: GatewayPeer, make_event: MakeEvent, eventually: Eventually
) -> None:
    async with run_metrics(gateway) as service, open_channel(service.otlp) as channel:
        stub = watching_pb2_grpc.WatchingServiceStub(channel)
        operator = bearer(service.token("operator"))

        async def board() -> watching_pb2.ListAlertsResponse:
            return await stub.ListAlerts(watching_pb2.ListAlertsRequest(), metadata=operator, timeout=60)

        async def gauges() -> list[str]:
            async with aiohttp.ClientSession() as session, session.get(f"{service.url}/metrics") as answer:
                return (await answer.text()).splitlines()

        assert 'derivfleet_alert{bot="",rule="lost"} 0.0' in await gauges()
        asked = watching_pb2.SilenceAlertsRequest(rule="lost", bot="over-4", duration_s=60, reason="known")
        silence = (await stub.SilenceAlerts(asked, metadata=operator, timeout=60)).silence
        await gateway.add(unknown(make_event, 1))

        async def fires() -> bool:
            return bool((await board()).alerts)

        await eventually(fires)
        seen = await board()
        assert [(one.rule, one.bot, one.value, one.silenced) for one in seen.alerts] == [("lost", "over-4", "1", True)]
        assert (list(seen.silences), list(seen.rules), list(seen.channels)) == ([silence], ["lost"], [])
        assert 'derivfleet_alert{bot="over-4",rule="lost"} 1.0' in await gauges()
        ended = await stub.EndSilences(watching_pb2.EndSilencesRequest(rule="lost", bot="over-4"), metadata=operator)
        assert ended.ended == 1
        assert not (await stub.GetReplication(watching_pb2.GetReplicationRequest(), metadata=operator)).enabled


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({"rule": "none", "duration_s": 60}, "rule: there is no rule 'none'; known are lost"),
        ({"bot": "none", "duration_s": 60}, "bot: there is no bot 'none' in the fleet"),
        ({"rule": "lost"}, "duration_s: must be 1 to 2592000 seconds"),
    ],
)
@pytest.mark.usefixtures("rules")
async def test_a_silence_that_cannot_be_is_refused_with_the_field_named(
    run_metrics: RunMetrics, request_: dict[str, Any], problem: str
) -> None:
    async with run_metrics() as service, open_channel(service.otlp) as channel:
        stub = watching_pb2_grpc.WatchingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.SilenceAlerts(
                watching_pb2.SilenceAlertsRequest(**request_), metadata=bearer(service.token("operator"))
            )
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, problem)
        with pytest.raises(grpc.aio.AioRpcError) as stranger:
            await stub.ListAlerts(watching_pb2.ListAlertsRequest(), metadata=bearer(service.token("over-4")))
        assert stranger.value.code() is grpc.StatusCode.PERMISSION_DENIED

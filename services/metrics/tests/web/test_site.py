"""The page's server over a real socket: what it serves, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from derivfleet.common.clock import FleetClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import GatewayPeer, Running

    from derivfleet.v1.orders_pb2 import OrderEvent

    RunMetrics = Callable[..., AbstractAsyncContextManager[Running]]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeEvent = Callable[..., OrderEvent]


@pytest.fixture
async def browser() -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with aiohttp.ClientSession() as session:
        yield session


async def first_event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    event = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 10)
    assert event.startswith(b"data: ")
    return json.loads(event.removeprefix(b"data: "))


async def test_the_page_and_all_it_names_come_from_here(
    run_metrics: RunMetrics, browser: aiohttp.ClientSession
) -> None:
    async with run_metrics() as service:
        seen: dict[str, str] = {}
        wanted = ["", "format.js", "chart.js"]
        while wanted:
            name = wanted.pop()
            async with browser.get(f"{service.url}/{name}") as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                seen[name] = await answer.text()
            named = re.findall(r'(?:src|href)="([\w.-]+\.\w+)"|from "\./([\w.-]+)"', seen[name])
            wanted += [one for pair in named for one in pair if one and one not in seen]
        scripts = {"app.js", "bots.js", "chart.js", "format.js", "limits.js", "panels.js"}
        assert set(seen) == {"", "style.css", "icon.svg", *scripts}
        for text in seen.values():
            outside = set(re.findall(r"https?://[^\s\"']+", text))
            assert outside <= {"http://www.w3.org/2000/svg"}
            assert "style=" not in text


async def test_events_show_the_fleet_and_stop_with_the_service(
    run_metrics: RunMetrics,
    gateway: GatewayPeer,
    make_event: MakeEvent,
    eventually: Eventually,
    browser: aiohttp.ClientSession,
) -> None:
    now_s = FleetClock().now_s()
    gateway.events = [make_event(1, "a", "0.33", time_s=now_s), make_event(2, "b", "-0.35", time_s=now_s)]
    async with run_metrics(gateway) as service:

        async def kept() -> bool:
            async with browser.get(f"{service.url}/api/orders") as answer:
                return len((await answer.json())["orders"]) == 2

        await eventually(kept)
        async with browser.get(f"{service.url}/events") as one, browser.get(f"{service.url}/events") as other:
            assert one.content_type == "text/event-stream"
            told = await first_event(one)
            assert (told["fleet"], told["total"]["profit"], told["total"]["settled"]) == ("test", "-0.02", 2)
            assert [bot["bot"] for bot in told["bots"]] == ["over-4", "trend-75"]
            assert [order["order_id"] for order in told["orders"]] == ["b", "a"]
            assert told["gateway"]["connected"]
            while not told["gateway"]["shares"]:  # the gateway's status comes by another call than its orders
                told = await first_event(one)
            assert told["gateway"]["quota"][0]["reserved"] == 34
            assert [(one["bot"], one["borrowed"]) for one in told["gateway"]["shares"]] == [("over-4", 9)]
            assert (await first_event(other))["fleet"] == "test"
            async with browser.get(f"{service.url}/healthz") as answer:
                assert (await answer.json())["watchers"] == 2
            service.stop.set()
            rest = await asyncio.wait_for(one.content.read(), 10)
            assert rest == b"" or rest.endswith(b"\n\n")
            assert one.content.at_eof()


async def test_the_report_is_json_with_numbers_as_numbers_and_money_as_text(
    run_metrics: RunMetrics,
    gateway: GatewayPeer,
    make_event: MakeEvent,
    eventually: Eventually,
    browser: aiohttp.ClientSession,
) -> None:
    now_s = FleetClock().now_s()
    gateway.events = [make_event(1, "a", time_s=now_s)]
    async with run_metrics(gateway) as service:

        async def settled() -> bool:
            async with browser.get(f"{service.url}/api/report?period=86400&at={int(now_s)}") as answer:
                return (await answer.json())["fleet"]["settled"] == 1

        await eventually(settled)
        async with browser.get(f"{service.url}/api/report?period=86400") as answer:
            report = await answer.json()
        assert report["fleet"]["profit"] == "0.33"
        assert report["end_epoch_s"] - report["start_epoch_s"] == 86_400
        assert report["completeness"]["feed_connected"] is True
        assert report["bots"][0]["phases"] == []
        async with browser.get(f"{service.url}/api/orders?bot=over-4&state=settled&limit=5") as answer:
            (order,) = (await answer.json())["orders"]
        assert (order["profit"], order["contract_id"]) == ("0.33", 900_000_000_001)


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("api/report?period=week", 400, "period"),
        ("api/report?period=-1", 400, "period_s"),
        ("api/report?at=99999999999", 400, "at_epoch_s"),
        ("api/report?account=other", 400, "account"),
        ("api/orders?limit=0", 400, "limit"),
        ("api/orders?state=lost", 400, "state"),
        ("api/nothing", 404, None),
        ("passwords.txt", 404, None),
        ("..%2fsite.py", 404, None),
    ],
)
async def test_a_bad_request_names_its_field(
    run_metrics: RunMetrics, browser: aiohttp.ClientSession, path: str, status: int, field: str | None
) -> None:
    async with run_metrics() as service, browser.get(f"{service.url}/{path}") as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error.get("field")) == (status, field)
        assert error["message"]
        assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7680", 200),
        ("127.0.0.1", 200),
        ("[::1]:7680", 200),
        ("evil.example:7680", 403),
        ("evil.example", 403),
    ],
)
async def test_on_loopback_only_loopbacks_names_are_answered(
    run_metrics: RunMetrics, browser: aiohttp.ClientSession, host: str, status: int
) -> None:
    async with run_metrics() as service, browser.get(f"{service.url}/", headers={"Host": host}) as answer:
        assert answer.status == status


async def test_on_an_open_address_any_name_is_answered(run_metrics: RunMetrics, browser: aiohttp.ClientSession) -> None:
    async with (
        run_metrics(web="0.0.0.0:0") as service,
        browser.get(f"{service.url}/healthz", headers={"Host": "metrics.fleet"}) as answer,
    ):
        assert answer.status == 200

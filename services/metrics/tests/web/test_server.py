"""The page's server over a real socket: what it serves, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from pydantic import SecretStr

from derivfleet.common.clock import FleetClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conftest import GatewayPeer, Running

    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.v1.orders_pb2 import OrderEvent

    RunMetrics = Callable[..., AbstractAsyncContextManager[Running]]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeEvent = Callable[..., OrderEvent]

PATIENCE_S = 60.0


@pytest.fixture
async def browser(settings: MetricsSettings, tmp_path: Path) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """Somebody who shows the token of a reader."""
    assert settings.tokens == tmp_path / "tokens.json"
    token = (tmp_path / "page_reader.token").read_text()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        yield session


@pytest.fixture
async def stranger() -> AsyncGenerator[aiohttp.ClientSession, None]:
    """Somebody without a token, who keeps cookies as a browser does."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def first_event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    event = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), PATIENCE_S)
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
        modules = ("app", "alerts", "bots", "chart", "format", "keys", "limits", "orders", "overview", "reports")
        scripts = {f"{name}.js" for name in (*modules, "service", "theme", "times", "trace")}
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
            # The gateway's status comes by another call than its orders, and is shown before all of it is kept.
            while not (told["gateway"]["shares"] and told["gateway"]["quota"]):
                told = await first_event(one)
            assert told["gateway"]["quota"][0]["reserved"] == 34
            assert [(one["bot"], one["borrowed"]) for one in told["gateway"]["shares"]] == [("over-4", 9)]
            assert (await first_event(other))["fleet"] == "test"
            async with browser.get(f"{service.url}/healthz") as answer:
                assert (await answer.json())["watchers"] == 2
            service.stop.set()
            rest = await asyncio.wait_for(one.content.read(), PATIENCE_S)
            assert rest == b"" or rest.endswith(b"\n\n")
            assert one.content.at_eof()


async def test_the_page_tells_how_far_the_copy_at_supabase_is_behind(
    run_metrics: RunMetrics,
    gateway: GatewayPeer,
    make_event: MakeEvent,
    browser: aiohttp.ClientSession,
) -> None:
    now_s = FleetClock().now_s()
    gateway.events = [make_event(1, "a", time_s=now_s - 60), make_event(2, "b", time_s=now_s - 60)]
    nobody = {"supabase_url": "http://127.0.0.1:1", "supabase_service_key": SecretStr("a key")}
    async with (
        run_metrics(gateway, **nobody) as service,
        browser.get(f"{service.url}/events") as events,
        asyncio.timeout(PATIENCE_S),
    ):
        copy = (await first_event(events))["copy"]
        while copy["behind_rows"] < 2 or not copy["problem"]:
            copy = (await first_event(events))["copy"]
        assert (copy["behind_rows"], copy["refused_rows"], copy["problem"]) == (2, 0, "UNREACHABLE")
        assert copy["behind_s"] >= 60


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
        ("api/orders?before=soon", 400, "before"),
        ("api/course?kind=week", 400, "kind"),
        ("api/order?id=nobody", 404, None),
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


async def test_what_tells_of_the_fleet_is_for_readers(run_metrics: RunMetrics, stranger: aiohttp.ClientSession) -> None:
    async with run_metrics() as service:
        for path in ("events", "api/report", "api/course", "api/orders", "api/order?id=a", "api/nothing"):
            async with stranger.get(f"{service.url}/{path}") as answer:
                assert answer.status == 401, path
                assert "derivfleet page" in (await answer.json())["error"]["message"]
        for path in ("", "app.js", "healthz", "metrics", "session"):
            async with stranger.get(f"{service.url}/{path}") as answer:
                assert answer.status == 200, path
        bot = {"Authorization": f"Bearer {service.token('over-4')}"}
        async with stranger.get(f"{service.url}/api/report", headers=bot) as answer:
            assert answer.status == 403


async def test_a_browser_signs_in_and_out_by_a_cookie_that_no_script_sees(
    run_metrics: RunMetrics, stranger: aiohttp.ClientSession
) -> None:
    async with run_metrics() as service:
        session = f"{service.url}/session"
        async with stranger.post(session, json={"token": "page_reader.guess"}) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
        async with stranger.post(session, json={"token": service.token("page_reader")}) as answer:
            assert await answer.json() == {"name": "page_reader", "role": "observer"}
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert str(service.ports.web) in cookie.partition("=")[0]
        async with stranger.get(f"{service.url}/api/report") as answer:
            assert answer.status == 200
        async with stranger.delete(session) as answer:
            assert answer.status == 204
        async with stranger.get(session) as answer:
            assert (await answer.json())["name"] is None


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"token=x", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"token": 5}', "application/json", 400),
        (b"{" + b" " * 20_000, "application/json", 413),
    ],
)
async def test_signing_in_takes_a_small_json_object_and_nothing_else(
    run_metrics: RunMetrics, stranger: aiohttp.ClientSession, body: bytes, kind: str, status: int
) -> None:
    async with (
        run_metrics() as service,
        stranger.post(f"{service.url}/session", data=body, headers={"Content-Type": kind}) as answer,
    ):
        assert answer.status == status


async def test_an_order_comes_with_its_trace_and_a_period_with_the_one_before(
    run_metrics: RunMetrics,
    gateway: GatewayPeer,
    make_event: MakeEvent,
    eventually: Eventually,
    browser: aiohttp.ClientSession,
) -> None:
    now_s = int(FleetClock().now_s())
    hour_s = now_s - now_s % 3600
    gateway.events = [
        make_event(1, "a", "0.33", time_s=hour_s - 1_800),
        make_event(2, "b", "-0.35", time_s=hour_s),
        make_event(3, "c", "0.20", time_s=hour_s),
    ]
    async with run_metrics(gateway) as service:

        async def kept() -> bool:
            async with browser.get(f"{service.url}/api/orders") as answer:
                return len((await answer.json())["orders"]) == 3

        await eventually(kept)
        async with browser.get(f"{service.url}/api/course?kind=hour&at={hour_s}") as answer:
            course = await answer.json()
        assert course["course"] == [[course["slot_s"], "-0.15"]]
        assert [profit for _, profit in course["before"]] == ["0.33"]
        assert course["periods"][-1] == {
            "start_s": hour_s,
            "end_s": hour_s + 3600,
            "settled": 2,
            "wins": 1,
            "profit": "-0.15",
        }
        async with browser.get(f"{service.url}/api/order?id=a") as answer:
            told = await answer.json()
        assert told["order"]["profit"] == "0.33"
        assert told["trace"] == {"complete": False, "begin_s": 0.0, "spans": []}
        async with browser.get(f"{service.url}/api/orders?text=b&limit=1") as answer:
            page = await answer.json()
        assert [one["order_id"] for one in page["orders"]] == ["b"]
        assert page["before"] == 2

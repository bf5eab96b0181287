"""Notices on their way to a real receiver on loopback: once each, whatever happens in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.alerts.channels import Telegram, Webhook
from derivfleet.metrics.alerts.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import aiohttp
    from conftest import Receiver

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.alerts.channels import Channel
    from derivfleet.metrics.store.store import Store

    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

SECRET = "T0CANARY/B1CANARY/canary-of-the-webhook"


async def enqueue(store: Store, clock: ManualClock, *texts: str, channel: str = "webhook") -> None:
    for text in texts:
        await store.write(lambda one, text=text: alert_table.add_notice(one, [channel], text, clock.now_ns()))


async def deliver(
    store: Store, clock: ManualClock, channel: Channel, session: aiohttp.ClientSession, until: Callable[[], bool]
) -> None:
    """Run a notifier until something holds, letting virtual time pass as it waits; then end it in order."""
    task = asyncio.create_task(Notifier(store, clock, channel, session).run())
    async with asyncio.timeout(60):
        while not until():
            await clock.advance(1)
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def waiting(store: Store) -> int:
    return await store.read(alert_table.untold)


async def test_a_restart_neither_loses_nor_repeats_a_notice(
    store: Store,
    clock: ManualClock,
    session: aiohttp.ClientSession,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A machine that takes longer than that to write a notice down has it told twice: not what is tried here.
    monkeypatch.setattr("derivfleet.metrics.alerts.notifier._LAST_WALL_S", 60.0)
    await enqueue(store, clock, *(f"notice {number}" for number in range(1, 6)))
    for number in range(1, 6):
        # Ended as soon as the receiver has taken one: what is under way is still written down.
        await deliver(store, clock, Webhook(receiver.url), session, lambda number=number: len(receiver.taken) >= number)
    assert receiver.texts == [f"notice {number}" for number in range(1, 6)]
    assert [key for _, _, key in receiver.taken] == [f"derivfleet-{number}" for number in range(1, 6)]
    assert await waiting(store) == 0


async def test_an_outage_is_waited_out_in_order(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    receiver.answers = [(500, {}), (503, {}), (429, {"Retry-After": "30"}), (404, {})]
    await enqueue(store, clock, "first", "second & <third>")
    begun_ns = clock.now_ns()
    await deliver(store, clock, Webhook(receiver.url), session, lambda: len(receiver.taken) == 2)
    assert receiver.texts == ["first", "second &amp; &lt;third&gt;"]
    assert receiver.asked == 6
    # What the receiver asked for was waited.
    assert clock.now_ns() - begun_ns >= 30 * 10**9


async def test_what_could_not_be_told_for_a_day_is_given_up(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    await enqueue(store, clock, "old news")
    await clock.advance(24 * 3600)
    await enqueue(store, clock, "news")
    receiver.answers = [(500, {})]
    await deliver(store, clock, Webhook(receiver.url), session, lambda: len(receiver.taken) == 1)
    assert receiver.texts == ["news"]
    assert await waiting(store) == 0


async def test_telegram_gets_what_its_bot_api_asks_for(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    await enqueue(store, clock, "a < b", channel="telegram")
    channel = Telegram("123456:canary-token", "-100200300", receiver.url)
    await deliver(store, clock, channel, session, lambda: len(receiver.taken) == 1)
    ((path, body, _),) = receiver.taken
    assert path == "/bot123456:canary-token/sendMessage"
    assert body == {"chat_id": "-100200300", "text": "a < b", "disable_web_page_preview": True}


class Chat:
    """A receiver that refuses some notices for good: a group that has moved, or a text that it does not take."""

    def __init__(self, refuses: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self.url = ""
        self.taken: list[str] = []
        self._refuses = refuses

    async def post(self, request: web.Request) -> web.Response:
        body = await request.json()
        refusal = self._refuses(body)
        if refusal is not None:
            return web.json_response(refusal, status=400)
        self.taken.append(body["text"])
        return web.json_response({"ok": True})


@asynccontextmanager
async def listening(chat: Chat) -> AsyncGenerator[Chat, None]:
    app = web.Application()
    app.router.add_post("/{path:.*}", chat.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    chat.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield chat
    finally:
        await runner.cleanup()


async def deliver_for(
    store: Store, clock: ManualClock, channel: Channel, session: aiohttp.ClientSession, seconds: int
) -> None:
    end_ns = clock.now_ns() + seconds * 10**9
    await deliver(store, clock, channel, session, lambda: clock.now_ns() >= end_ns)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the new id that Telegram tells of a group is not read")
async def test_a_group_that_has_moved_is_told_at_its_new_id(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession
) -> None:
    def moved(body: dict[str, Any]) -> dict[str, Any] | None:
        told = {"ok": False, "description": "Bad Request: group chat was upgraded to a supergroup chat"}
        return {**told, "parameters": {"migrate_to_chat_id": -1002}} if str(body["chat_id"]) == "-1001" else None

    async with listening(Chat(moved)) as chat:
        await enqueue(store, clock, "first", "second", channel="telegram")
        await deliver_for(store, clock, Telegram("1:x", "-1001", chat.url), session, 120)
        assert chat.taken == ["first", "second"]


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the oldest notice is tried for a day before the next")
async def test_a_notice_that_is_refused_for_good_does_not_hold_up_the_others(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession
) -> None:
    async with listening(Chat(lambda body: {"error": "invalid_blocks"} if body["text"] == "odd" else None)) as chat:
        await enqueue(store, clock, "odd", "FIRING gateway", "FIRING drawdown")
        await deliver_for(store, clock, Webhook(chat.url), session, 900)
        assert chat.taken == ["FIRING gateway", "FIRING drawdown"]

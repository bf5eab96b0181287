"""Notices on their way to a real receiver on loopback: once each, whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.redaction import hide
from derivfleet.metrics.alerts import records
from derivfleet.metrics.alerts.channels import ChannelError, Telegram, Webhook
from derivfleet.metrics.alerts.courier import Courier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    from conftest import Receiver

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.alerts.channels import Channel
    from derivfleet.metrics.store import Store

    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

SECRET = "T0CANARY/B1CANARY/canary-of-the-webhook"


async def enqueue(store: Store, clock: ManualClock, *texts: str, channel: str = "webhook") -> None:
    for text in texts:
        await store.write(lambda one, text=text: records.add_notice(one, [channel], text, clock.now_ns()))


async def carry(
    store: Store, clock: ManualClock, channel: Channel, session: aiohttp.ClientSession, until: Callable[[], bool]
) -> None:
    """Run a courier until something holds, letting virtual time pass as it waits; then end it in order."""
    task = asyncio.create_task(Courier(store, clock, channel, session).run())
    async with asyncio.timeout(60):
        while not until():
            await clock.advance(1)
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def waiting(store: Store) -> int:
    return await store.read(records.untold)


async def test_a_restart_neither_loses_nor_repeats_a_notice(
    store: Store,
    clock: ManualClock,
    session: aiohttp.ClientSession,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A machine that takes longer than that to write a notice down has it told twice: not what is tried here.
    monkeypatch.setattr("derivfleet.metrics.alerts.courier._LAST_WALL_S", 60.0)
    await enqueue(store, clock, *(f"notice {number}" for number in range(1, 6)))
    for number in range(1, 6):
        # Ended as soon as the receiver has taken one: what is under way is still written down.
        await carry(store, clock, Webhook(receiver.url), session, lambda number=number: len(receiver.taken) >= number)
    assert receiver.texts == [f"notice {number}" for number in range(1, 6)]
    assert [key for _, _, key in receiver.taken] == [f"derivfleet-{number}" for number in range(1, 6)]
    assert await waiting(store) == 0


async def test_an_outage_is_waited_out_in_order(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    receiver.answers = [(500, {}), (503, {}), (429, {"Retry-After": "30"}), (404, {})]
    await enqueue(store, clock, "first", "second & <third>")
    begun_ns = clock.now_ns()
    await carry(store, clock, Webhook(receiver.url), session, lambda: len(receiver.taken) == 2)
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
    await carry(store, clock, Webhook(receiver.url), session, lambda: len(receiver.taken) == 1)
    assert receiver.texts == ["news"]
    assert await waiting(store) == 0


async def test_telegram_gets_what_its_bot_api_asks_for(
    store: Store, clock: ManualClock, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    await enqueue(store, clock, "a < b", channel="telegram")
    channel = Telegram("123456:canary-token", "-100200300", receiver.url)
    await carry(store, clock, channel, session, lambda: len(receiver.taken) == 1)
    ((path, body, _),) = receiver.taken
    assert path == "/bot123456:canary-token/sendMessage"
    assert body == {"chat_id": "-100200300", "text": "a < b", "disable_web_page_preview": True}


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_no_secret_is_in_what_is_said_of_a_failure(
    session: aiohttp.ClientSession, receiver: Receiver, status: int
) -> None:
    hide(SECRET)
    url = f"{receiver.url}/services/{SECRET}"
    receiver.answers = [(status, {"Location": "http://127.0.0.1:1/elsewhere"})]
    with pytest.raises(ChannelError) as caught:
        await Webhook(url).tell(session, 1, "x")
    with pytest.raises(ChannelError) as unreachable:
        await Webhook(f"http://127.0.0.1:1/services/{SECRET}").tell(session, 1, "x")
    for error in (caught.value, unreachable.value):
        assert "canary" not in str(error).lower()
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
    assert "canary" not in repr(Webhook(url)).lower() + repr(Telegram("canary", "1", url)).lower()

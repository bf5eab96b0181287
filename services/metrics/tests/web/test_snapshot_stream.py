from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import yaml

from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.metrics.ingest.order_feed import OrderFeed
from derivfleet.metrics.ingest.trace_receiver import IngestCounts
from derivfleet.metrics.reports.reports import Reports
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.metrics.web.dashboard_state import DashboardState
from derivfleet.metrics.web.snapshot_stream import SnapshotStream, TooManySubscribersError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.store.store import Store

    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

FLEET = Fleet.model_validate(
    yaml.safe_load("{fleet: test, bots: [{name: over-4, strategy: digit_frequency, symbols: [1HZ100V]}]}")
)


@pytest.fixture
async def stream(store: Store, clock: ManualClock, tmp_path: Path) -> AsyncGenerator[SnapshotStream, None]:
    channel = open_channel("127.0.0.1:1")
    issue_tokens({"metrics": Role.OBSERVER}, tmp_path)
    token = OwnToken(tmp_path / "metrics.token", "token")
    feed = OrderFeed(channel, token, store, clock, FeedMark())
    reports = Reports(store, feed, clock, FLEET)
    dashboard = DashboardState(store, clock, "demo", 3_600)
    made = SnapshotStream(store, reports, feed, IngestCounts(), dashboard, clock, FLEET, "demo", {})
    job = asyncio.create_task(made.run())
    yield made
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    await channel.close(None)


async def test_a_watcher_gets_one_snapshot_a_second(stream: SnapshotStream, clock: ManualClock) -> None:
    times_s: list[float] = []
    async with aclosing(stream.subscribe()) as snapshots:
        async for text in snapshots:
            times_s.append(json.loads(text)["time_s"])
            if len(times_s) == 3:
                break
            await clock.settle()
            await clock.advance(1)
    assert [time_s - times_s[0] for time_s in times_s] == [0.0, 1.0, 2.0]
    assert stream.subscribers == 0


async def test_who_comes_later_gets_the_latest_at_once(stream: SnapshotStream) -> None:
    async with aclosing(stream.subscribe()) as first, aclosing(stream.subscribe()) as second:
        text = await anext(first)
        assert await anext(second) == text


async def test_closing_ends_every_watch(stream: SnapshotStream) -> None:
    async with aclosing(stream.subscribe()) as snapshots:
        await anext(snapshots)
        await stream.close()
        with pytest.raises(StopAsyncIteration):
            await anext(snapshots)


async def test_there_is_an_end_to_how_many_may_watch(stream: SnapshotStream) -> None:
    watches = [stream.subscribe() for _ in range(64)]
    await asyncio.gather(*(anext(watch) for watch in watches))
    with pytest.raises(TooManySubscribersError):
        await anext(stream.subscribe())
    for watch in watches:
        await watch.aclose()
    assert stream.subscribers == 0


def damage(folder: Path, sql: str) -> None:
    connection = sqlite3.connect(folder / "unit.sqlite")
    connection.execute(sql)
    connection.close()


async def test_a_store_that_fails_for_a_while_only_delays_the_page(
    stream: SnapshotStream,
    clock: ManualClock,
    tmp_path: Path,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(tmp_path, "ALTER TABLE orders RENAME TO hidden")
    async with aclosing(stream.subscribe()) as snapshots:
        waiting = asyncio.create_task(anext(snapshots))
        said: list[str] = []

        async def warned() -> bool:
            await clock.advance(1)
            said.append(capsys.readouterr().out)
            return "no snapshot for the page" in said[-1]

        await eventually(warned)
        for _ in range(3):  # it is said once, however often it fails
            await asyncio.sleep(0.05)
            await clock.advance(1)
        assert not waiting.done()
        damage(tmp_path, "ALTER TABLE hidden RENAME TO orders")

        async def shown() -> bool:
            await clock.advance(1)
            return waiting.done()

        await eventually(shown)
        assert json.loads(await waiting)["fleet"] == "test"
    assert ("".join(said) + capsys.readouterr().out).count("no snapshot for the page") == 1

"""The copy against real PostgreSQL and PostgREST, through Supabase's own client; outages of hours on virtual time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from derivfleet.common.clock import NS_PER_S, ManualClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.order_state import OrderState
from derivfleet.common.redaction import hide
from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.alerts.alert_table import Alert
from derivfleet.metrics.records.order import OrderRecord
from derivfleet.metrics.replicate.outbox import FLEETS, TABLES, iso
from derivfleet.metrics.replicate.remote import RemoteError
from derivfleet.metrics.replicate.replicator import Replicator, replicator_of
from derivfleet.metrics.replicate.supabase import Supabase
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from conftest import GatewayPeer
    from supabase_pair import Database, Pair

    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.metrics.store.store import Store
    from derivfleet.v1.orders_pb2 import OrderEvent

    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeOrder = Callable[..., OrderRecord]

FLEET = {"fleet": "test", "account": "demo", "bots": ["over-4", "trend-75"]}
BATCH = 100
ORDERS = "select * from public.orders order by position"


@asynccontextmanager
async def copying(store: Store, clock: Unhurried, pair: Pair) -> AsyncGenerator[Replicator, None]:
    """A replicator that runs; a block after a block is a restart."""
    remote = Supabase(pair.url, pair.key("service_role"))
    replicator = Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH)
    task = asyncio.create_task(replicator.run())
    try:
        yield replicator
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await remote.close()


class Unhurried(ManualClock):
    """Time that waits for the one who copies: what goes over sockets takes none of it, however slow the machine."""

    def __init__(self, start_s: float) -> None:
        super().__init__(start_s)
        self._waiting = 0

    async def sleep_until_ns(self, time_ns: int) -> None:
        self._waiting += 1
        try:
            await super().sleep_until_ns(time_ns)
        finally:
            self._waiting -= 1

    async def passes(self, seconds: float, step_s: float = 5.0) -> None:
        """Let time pass, as soon as somebody waits for it."""
        for _ in range(round(seconds / step_s)):
            async with asyncio.timeout(60):
                while not self._waiting:  # noqa: ASYNC110 - what is waited for happens behind a socket
                    await asyncio.sleep(0.001)
            await self.advance(step_s)


@pytest.fixture
def clock() -> Unhurried:
    return Unhurried(1_795_161_600)


async def caught_up(replicator: Replicator, clock: Unhurried) -> None:
    async with asyncio.timeout(60):
        while any(one.behind_rows for one in await replicator.progress()) or replicator.problem:
            await clock.passes(5)


def assert_same(kept: list[OrderRecord], copied: list[dict[str, Any]]) -> None:
    """Every order of the store is there once, field by field, and nothing else is."""
    assert [row["order_id"] for row in copied] == [order.order_id for order in kept]
    for order, row in zip(kept, copied, strict=True):
        assert row["fleet"] == "test"
        for field in fields(OrderRecord):
            value = getattr(order, field.name)
            if field.name.endswith("_ns"):
                told = row[f"{field.name.removesuffix('_ns')}_at"]
                assert told == iso(value) or told == (iso(value) or "").replace(".000000", "")
            elif isinstance(value, Decimal):
                assert Decimal(str(row[field.name])) == value
            else:
                assert row[field.name] == value, field.name


async def kept_orders(store: Store) -> list[OrderRecord]:
    return sorted(await store.orders("demo", limit=100_000), key=lambda order: order.position)


async def test_two_hours_without_supabase_lose_nothing_and_repeat_nothing(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    position = 0

    async def trade(count: int) -> None:
        """New orders, and the settlement of half of the last ones."""
        nonlocal position
        first = position
        opened = [
            make_order(first + n, f"o{first + n}", state=OrderState.CONFIRMED, settled_ns=0, changed_ns=clock.now_ns())
            for n in range(1, count + 1)
        ]
        position += count
        settled = [
            make_order(position + n, order.order_id, "-0.35", changed_ns=clock.now_ns())
            for n, order in enumerate(opened[::2], 1)
        ]
        position += len(settled)
        await store.keep_orders([*opened, *settled], FeedMark(position, clock.now_ns()))

    await trade(150)
    async with copying(store, clock, pair) as replicator:
        await caught_up(replicator, clock)
        assert_same(await kept_orders(store), database.rows(ORDERS))
        await pair.stop()
        asked = pair.asked.total()
        for _ in range(12):
            await trade(50)
            await clock.passes(300)
        behind = {one.table: one for one in await replicator.progress()}["orders"]
        assert replicator.problem == "PROBLEM"
        assert behind.behind_rows == 600
        assert behind.behind_s >= 3600
    # A restart in the middle of the outage, and another hour of it.
    async with copying(store, clock, pair) as replicator:
        for _ in range(12):
            await trade(50)
            await clock.passes(300)
        # It kept trying, and no more often than a minute's backoff lets it.
        assert 100 <= pair.asked.total() - asked <= 300
        await pair.start()
        await caught_up(replicator, clock)
        assert_same(await kept_orders(store), database.rows(ORDERS))
        assert len(database.rows(ORDERS)) == 1350


async def test_a_batch_whose_answer_was_lost_is_there_once(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder, eventually: Eventually
) -> None:
    await store.keep_orders([make_order(n, f"o{n}") for n in range(1, 331)], FeedMark(330, 1))
    pair.lose_answers = 3
    async with copying(store, clock, pair) as replicator:
        await caught_up(replicator, clock)
    assert pair.lose_answers == 0
    assert_same(await kept_orders(store), database.rows(ORDERS))
    # Ended in the middle of a batch, again and again: the next one goes on from the mark.
    await store.keep_orders([make_order(n, f"o{n}") for n in range(331, 1200)], FeedMark(1199, 1))
    for _ in range(4):
        wanted = pair.asked["orders"] + 2

        async def under_way(wanted: int = wanted) -> bool:
            return pair.asked["orders"] >= wanted

        async with copying(store, clock, pair):
            await eventually(under_way)
    async with copying(store, clock, pair) as replicator:
        await caught_up(replicator, clock)
    assert_same(await kept_orders(store), database.rows(ORDERS))


async def test_what_the_end_left_over_is_copied_and_an_outage_holds_up_no_end(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    remote = Supabase(pair.url, pair.key("service_role"))
    replicator = Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH)
    await store.keep_orders([make_order(n, f"o{n}") for n in range(1, 151)], FeedMark(150, 1))
    await replicator.finish(60.0)
    assert_same(await kept_orders(store), database.rows(ORDERS))
    await store.keep_orders([make_order(151, "late")], FeedMark(151, 1))
    pair.delay_s = 60.0
    async with asyncio.timeout(30):
        await replicator.finish(0.1)
    pair.delay_s = 0.0
    await remote.close()
    async with copying(store, clock, pair) as next_one:
        await caught_up(next_one, clock)
    assert_same(await kept_orders(store), database.rows(ORDERS))


async def test_an_older_state_that_arrives_late_changes_nothing(
    store: Store, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    remote = Supabase(pair.url, pair.key("service_role"))
    await remote.put(FLEETS, [FLEET])
    await store.keep_orders([make_order(1, "a", state=OrderState.CONFIRMED, settled_ns=0)], FeedMark(1, 1))
    orders = TABLES[0]
    (old,) = await store.read(lambda one: orders.read(one, "test", 0, 10))
    await store.keep_orders([make_order(2, "a")], FeedMark(2, 2))
    (new,) = await store.read(lambda one: orders.read(one, "test", 0, 10))
    await remote.put(orders.target, new.rows)
    await remote.put(orders.target, old.rows)
    await remote.close()
    assert [(row["state"], row["position"]) for row in database.rows(ORDERS)] == [("settled", 2)]


async def test_a_row_that_can_never_go_in_is_counted_and_holds_up_nothing(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    # PostgreSQL's text takes no NUL.
    orders = [make_order(n, f"o{n}", error_message="\0" if n == 77 else "") for n in range(1, 151)]
    await store.keep_orders(orders, FeedMark(150, 1))
    async with copying(store, clock, pair) as replicator:
        await caught_up(replicator, clock)
        progress = {one.table: one for one in await replicator.progress()}["orders"]
    assert (progress.rows, progress.refused, progress.behind_rows) == (149, 1, 0)
    assert len(database.rows(ORDERS)) == 149


async def test_reports_and_their_revisions_and_alerts_are_copied(
    store: Store, clock: Unhurried, pair: Pair, database: Database
) -> None:
    def report(profit: str) -> bytes:
        bot = reports_pb2.BotReport(
            bot="over-4", ops=5, buys=2, settled=2, wins=1, win_rate=0.5, profit=profit, staked="0.70"
        )
        whole = reports_pb2.BotReport(ops=5, buys=2, settled=2, wins=1, win_rate=0.5, profit=profit, staked="0.70")
        return reports_pb2.Report(
            account="demo", start_epoch_s=1_795_161_600, end_epoch_s=1_795_161_900, bots=[bot], fleet=whole
        ).SerializeToString()

    async def keep(revision: int, profit: str) -> None:
        row = ("demo", "5m", 1_795_161_600, revision, 1_795_161_900, clock.now_ns(), 1, report(profit))
        await store.write(
            lambda connection: (
                connection.execute(
                    "INSERT INTO reports (account, kind, start_s, revision, end_s, made_ns, complete, body) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
                and None
            )
        )

    await keep(1, "0.33")
    fired_ns = clock.now_ns()
    alert = Alert("lost", "over-4", "unknown_orders", Decimal(0), Decimal(1), fired_ns)
    await store.write(lambda connection: alert_table.keep_alert(connection, alert))
    async with copying(store, clock, pair) as replicator:
        await caught_up(replicator, clock)
        await keep(2, "0.32")
        until_ns = fired_ns + 60 * NS_PER_S
        await store.write(
            lambda connection: alert_table.clear_alert(connection, "lost", "over-4", fired_ns, Decimal(0), until_ns)
        )
        await caught_up(replicator, clock)
    found = database.rows("select bot, revision, profit from public.reports order by revision, bot")
    assert [(row["bot"], row["revision"], row["profit"]) for row in found] == [
        ("", 1, 0.33),
        ("over-4", 1, 0.33),
        ("", 2, 0.32),
        ("over-4", 2, 0.32),
    ]
    latest = database.rows("select bot, revision, start_at from public.latest_reports order by bot")
    assert [(row["bot"], row["revision"]) for row in latest] == [("", 2), ("over-4", 2)]
    assert latest[0]["start_at"].startswith("2026-11-")
    (one,) = database.rows("select * from public.alerts")
    assert (one["rule"], one["value"], one["cleared_at"] is not None) == ("lost", 0, True)
    assert database.rows("select * from public.firing_alerts") == []


async def test_a_wrong_key_and_missing_tables_are_told_by_their_names(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    canary = f"{pair.key('service_role')}canary"
    hide(canary)
    wrong = Supabase(pair.url, canary)
    reader = Supabase(pair.url, pair.key("authenticated"))
    away = Supabase("http://127.0.0.1:1", canary)
    caplog.set_level(0)
    found: list[tuple[str, str]] = []
    for remote in (wrong, reader, away):
        with pytest.raises(RemoteError) as caught:
            await remote.put(FLEETS, [FLEET])
        found.append((caught.value.code, f"{caught.value} {caught.value.__cause__}"))
        await remote.close()
    assert [code for code, _ in found] == ["KEY", "KEY", "UNREACHABLE"]
    told = "".join(text for _, text in found) + caplog.text
    assert "canary" not in told
    assert canary[:40] not in told


async def test_a_service_killed_in_mid_batch_goes_on_where_it_was(
    settings: MetricsSettings,
    gateway: GatewayPeer,
    pair: Pair,
    database: Database,
    make_event: Callable[..., OrderEvent],
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    """The whole process, killed while a batch is on its way; its log and its spans never have the key."""
    key = pair.key("service_role")
    gateway.events = [make_event(n, f"o{n}") for n in range(1, 2001)]
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(f"{fleet.read_text()}\nsupabase: {{every_s: 1, batch_rows: 50}}\n")
    own = settings.model_copy(update={"gateway": f"127.0.0.1:{gateway.port}"}).model_dump(exclude_defaults=True)
    environment = {
        **os.environ,
        **{f"DERIVFLEET_METRICS_{name}".upper(): str(value) for name, value in own.items()},
        "DERIVFLEET_METRICS_LOG_LEVEL": "debug",
        "SUPABASE_URL": pair.url,
        "SUPABASE_SERVICE_KEY": key,
    }
    log = tmp_path / "metrics.log"

    async def run() -> asyncio.subprocess.Process:
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "derivfleet.metrics", env=environment, stderr=output
            )

    pair.delay_s = 0.02
    for batches in (5, 15):
        process = await run()

        async def under_way(batches: int = batches) -> bool:
            return pair.asked["orders"] >= batches

        await eventually(under_way)
        process.kill()
        await process.wait()
        assert 0 < len(database.rows("select order_id from public.orders")) < 2000
    pair.delay_s = 0.0
    process = await run()

    async def all_there() -> bool:
        (row,) = database.rows("select count(*) as found from public.orders")
        return row["found"] == 2000

    await eventually(all_there)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    ids = [row["order_id"] for row in database.rows("select order_id from public.orders")]
    assert sorted(ids) == sorted(f"o{n}" for n in range(1, 2001))
    assert key not in log.read_text()
    assert log.read_text().count("metrics serves") == 3


@asynccontextmanager
async def larger_than(limit: int, pair: Pair) -> AsyncGenerator[str, None]:
    """A front door before a pair that takes no body above so many bytes."""

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > limit:
            return web.Response(status=413, text="<html>413 Request Entity Too Large</html>", content_type="text/html")
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, f"{pair.url}{request.path_qs}", data=body, headers=headers) as answer,
        ):
            kind = answer.headers.get("Content-Type", "application/json")
            return web.Response(status=answer.status, body=await answer.read(), headers={"Content-Type": kind})

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.xfail(
    strict=True, raises=RemoteError, reason="a batch too large for the front door is sent again as it is"
)
async def test_a_batch_that_is_too_large_goes_in_smaller_ones(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    await store.keep_orders([make_order(n, f"o{n}") for n in range(1, 151)], FeedMark(150, 1))
    async with larger_than(20_000, pair) as url:
        remote = Supabase(url, pair.key("service_role"))
        try:
            await Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH).copy()
        finally:
            await remote.close()
    assert len(database.rows(ORDERS)) == 150


@pytest.mark.xfail(strict=True, raises=RemoteError, reason="a batch too slow for the database is sent again as it is")
async def test_a_batch_that_takes_the_database_too_long_goes_in_smaller_ones(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    await store.keep_orders([make_order(n, f"o{n}") for n in range(1, 101)], FeedMark(100, 1))
    database.run(
        "create function public.slow() returns trigger language plpgsql as "
        "$$ begin perform pg_sleep(0.02); return new; end $$; "
        "create trigger slow before insert on public.orders for each row execute function public.slow(); "
        "alter role authenticator set statement_timeout = '1s';"
    )
    remote = Supabase(pair.url, pair.key("service_role"))
    try:
        await pair.stop()
        await pair.start()
        await Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH).copy()
    finally:
        await remote.close()
        database.run("alter role authenticator reset statement_timeout; drop function public.slow() cascade;")
    assert len(database.rows(ORDERS)) == 100


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a row with a NUL in a text is left out, with its money")
async def test_the_money_of_an_order_is_copied_whatever_its_texts_hold(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder
) -> None:
    await store.keep_orders([make_order(1, "a"), make_order(2, "b", error_message="bad \0 byte")], FeedMark(2, 1))
    remote = Supabase(pair.url, pair.key("service_role"))
    await Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH).copy()
    await remote.close()
    assert [(row["order_id"], row["profit"]) for row in database.rows(ORDERS)] == [("a", 0.33), ("b", 0.33)]


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="one code with a NUL keeps the whole report out")
async def test_a_report_is_copied_whatever_codes_it_counts(
    store: Store, clock: Unhurried, pair: Pair, database: Database
) -> None:
    for start_s, code in ((1_795_161_600, "EVIL\0"), (1_795_161_900, "RateLimit")):
        report = reports_pb2.Report(
            account="demo", kind="window", start_epoch_s=start_s, end_epoch_s=start_s + 300, revision=1, made_time_ns=1
        )
        report.fleet.profit = report.fleet.staked = "1"
        report.bots.add(bot="over-4", profit="1", staked="1").errors.add(code=code, count=1)
        await store.keep_report(report)
    remote = Supabase(pair.url, pair.key("service_role"))
    await Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH).copy()
    await remote.close()
    assert len(database.rows("select * from public.latest_reports where bot = ''")) == 2


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the copy's days are days of UTC, whatever the zone")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("view", ["fleet_days", "bot_days"])
async def test_a_day_of_the_copy_is_a_day_of_the_fleets_zone(
    store: Store, clock: Unhurried, pair: Pair, database: Database, make_order: MakeOrder, zone: str, view: str
) -> None:
    day = datetime(2026, 11, 20, tzinfo=ZoneInfo(zone))
    start_s, end_s = (int((day + timedelta(days=number)).timestamp()) for number in (0, 1))
    times = [start_s + 600, start_s + 43_200, end_s - 600]
    orders = [
        make_order(n, f"o{n}", settled_ns=at * NS_PER_S, changed_ns=at * NS_PER_S) for n, at in enumerate(times, 1)
    ]
    await store.keep_orders(orders, FeedMark(3, 1))
    report = reports_pb2.Report(
        account="demo", kind="day", start_epoch_s=start_s, end_epoch_s=end_s, revision=1, made_time_ns=1, time_zone=zone
    )
    report.fleet.profit, report.fleet.staked, report.fleet.settled = "0.99", "1.05", 3
    await store.keep_report(report)
    remote = Supabase(pair.url, pair.key("service_role"))
    await Replicator(store, remote, clock, FLEET, every_s=5, batch_rows=BATCH).copy()
    await remote.close()
    found = database.rows(f"select day, settled, profit from public.{view}")
    assert [(row["day"], row["settled"], row["profit"]) for row in found] == [("2026-11-20", 3, 0.99)]


async def test_half_of_what_supabase_needs_is_refused(
    settings: MetricsSettings, fleet: Fleet, store: Store, clock: Unhurried
) -> None:
    async with AsyncExitStack() as ending:
        for missing, half in (
            ("SUPABASE_SERVICE_KEY", {"supabase_url": "https://abc.supabase.co"}),
            ("SUPABASE_URL", {"supabase_service_key": SecretStr("canary")}),
        ):
            with pytest.raises(ConfigurationError) as error:
                await replicator_of(settings.model_copy(update=half), fleet, store, clock, ending)
            assert error.value.key == missing
        assert await replicator_of(settings, fleet, store, clock, ending) is None

"""``derivfleet up`` with a Supabase project and a chat beside it: all that the fleet did is there and told, once."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from aiohttp import web
from commands import ROOT, first_port, start
from running_fleet import eventually, one_bot

from derivfleet.v1 import reports_pb2
from services.metrics.tests.supabase_pair import LOCKS, Database, Pair, install

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

SPEED = 30
FLEET = {
    "fleet": "copied",
    "accounts": [{"key": "demo"}],
    "bots": [one_bot("digits"), one_bot("evens", symbols=["1HZ50V"]), one_bot("sevens", symbols=["1HZ75V"])],
    "alerts": {
        "every_s": 10,
        "rules": [
            {"name": "down", "when": "bot_down", "clear_for_s": 30},
            {"name": "away", "when": "gateway_down"},
        ],
    },
}


@dataclass
class Chat:
    """A webhook that takes what Slack's takes, and notes it."""

    url: str = ""
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    @property
    def lines(self) -> list[str]:
        return [body["text"] for _, body in self.told]

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        self.told.append((request.headers["Idempotency-Key"], await request.json()))
        return web.Response(text="ok")


@asynccontextmanager
async def chat() -> AsyncGenerator[Chat, None]:
    found = Chat()
    app = web.Application()
    app.router.add_post("/services/canary", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/canary"
    try:
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def project(database: Database) -> AsyncGenerator[Pair, None]:
    """What is behind a Supabase project's address."""
    pair = Pair(database, install(LOCKS, ROOT / "build" / "database"))
    try:
        await pair.open()
        yield pair
    finally:
        await pair.close()


@contextmanager
def frozen(fleet: subprocess.Popen[str], bot: str) -> Generator[None, None, None]:
    """One bot of the fleet stands still, as on a machine that hangs."""
    # A forked bot shows its server's environment, and its own name; elsewhere than on Linux it is the other way round.
    children = psutil.Process(fleet.pid).children(recursive=True)
    (process,) = (child for child in children if bot in (child.name(), child.environ().get("DERIVFLEET_BOT_NAME", "")))
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def assert_same(store: Path, database: Database) -> None:
    """The project has every row of the service's own store, and no other."""
    connection = sqlite3.connect(store)
    kept = connection.execute("SELECT order_id, state, profit, position, contract_id FROM orders").fetchall()
    copied = database.rows("select order_id, state, profit::text, position, contract_id from public.orders")
    assert sorted(tuple(row.values()) for row in copied) == sorted(kept)
    wanted: list[tuple[str, int, int, str, Decimal]] = []
    for kind, start_s, revision, body in connection.execute("SELECT kind, start_s, revision, body FROM reports"):
        report = reports_pb2.Report.FromString(body)
        wanted += [(kind, start_s, revision, one.bot, Decimal(one.profit)) for one in (report.fleet, *report.bots)]
    rows = database.rows(
        "select period, extract(epoch from start_at)::int8 as start_s, revision, bot, profit::text from public.reports"
    )
    found = [(row["period"], row["start_s"], row["revision"], row["bot"], Decimal(row["profit"])) for row in rows]
    assert sorted(found) == sorted(wanted)
    alerts = connection.execute("SELECT rule, bot, cleared_ns != 0 FROM alerts").fetchall()
    connection.close()
    copies = database.rows("select rule, bot, (cleared_at is not null)::int as over from public.alerts")
    assert sorted(tuple(row.values()) for row in copies) == sorted(alerts)


async def test_a_fleet_is_copied_whole_and_its_alert_told_once_each_way(tmp_path: Path) -> None:
    file, folder = tmp_path / "fleet.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(FLEET))
    with Database() as database:
        async with project(database) as pair, chat() as told:
            key = pair.key("service_role")
            words = ("up", str(file), "--simulator", "--speed", str(SPEED))
            fleet = start(
                *words,
                *("--run-dir", str(folder), "--ports", first_port()),
                SUPABASE_URL=pair.url,
                SUPABASE_SERVICE_KEY=key,
                ALERT_WEBHOOK_URL=told.url,
            )
            try:

                async def settled() -> list[dict[str, Any]]:
                    return database.rows("select distinct bot from public.orders where state = 'settled'")

                async def lines() -> list[str]:
                    return told.lines

                async def reports() -> list[dict[str, Any]]:
                    return database.rows("select profit from public.latest_reports where settled > 0 and bot = ''")

                await eventually(settled, lambda bots: len(bots) == len(FLEET["bots"]))
                with frozen(fleet, "evens"):
                    await eventually(lines, bool)
                await eventually(lines, lambda found: len(found) > 1)
                await eventually(reports, bool)
            finally:
                fleet.send_signal(signal.SIGINT)
                out, _ = await asyncio.to_thread(fleet.communicate, timeout=60)
            assert fleet.returncode == 0, out
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["ledger_match"] is True
        assert_same(folder / "metrics.simulator.sqlite", database)
        copied = database.rows(
            "select bot, count(*) as settled, sum(profit)::text as profit from public.orders group by 1"
        )
        by_bot = {row["bot"]: (row["settled"], Decimal(row["profit"])) for row in copied}
        assert by_bot == {bot["bot"]: (bot["settled"], Decimal(bot["profit"])) for bot in summary["bots"]}
        assert {row["fleet"] for row in database.rows("select fleet from public.fleets")} == {"copied (simulated)"}
    first, second = told.lines
    assert first.startswith("[copied] FIRING down evens: ")
    assert second.startswith("[copied] CLEARED down evens after ")
    assert all(set(body) == {"text"} for _, body in told.told)
    assert len({number for number, _ in told.told}) == len(told.told)
    written = out + "".join(path.read_text() for path in (folder / "logs").iterdir())
    assert not [secret for secret in (key, "services/canary") if secret in written]

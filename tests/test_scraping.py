"""What Prometheus is told by each service, of a fleet that trades."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from running_fleet import TOKEN, eventually, one_bot, running_fleet

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from running_fleet import RunningFleet

    Scraped = dict[str, dict[str, Metric]]
PAGE = (Path(__file__).parents[1] / "docs/telemetry.md").read_text()


async def scraped(fleet: RunningFleet) -> Scraped:
    """By service and name."""
    found: Scraped = {}
    async with aiohttp.ClientSession() as session:
        for service, url in fleet.scrape_urls.items():
            async with session.get(url) as answer:
                assert answer.status == 200
                text = await answer.text()
                assert TOKEN not in text
                found[service] = {family.name: family for family in text_string_to_metric_families(text)}
    return found


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """By the values of the labels."""
    return {tuple(one.labels.values()): one.value for one in family.samples}


def rows() -> set[tuple[str, str, tuple[str, ...]]]:
    """Service, name and labels as the page shows them."""
    table = PAGE.partition("<!-- gauges -->")[2].partition("<!-- /gauges -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {(service, name.strip("`"), tuple(re.findall(r"`([^`]+)`", labels))) for service, name, labels, _ in cells}


async def test_each_service_tells_prometheus_what_the_page_says(tmp_path: Path) -> None:
    bots = [one_bot(), one_bot("idle", symbols=["R_10"])]
    async with running_fleet(tmp_path, bots=bots, running=("one",), with_metrics=True, scraped=True) as fleet:
        found = await eventually(
            lambda: scraped(fleet),
            lambda told: values(told["gateway"]["derivfleet_orders"])["demo", "one", "settled"] >= 5,
        )
        await fleet.stop_bots()
        del fleet.scrape_urls["one"]
        found |= await eventually(
            lambda: scraped(fleet),
            lambda told: sum(values(told["gateway"]["derivfleet_orders_open"]).values()) == 0,
        )
        account = await fleet.account()
        ledger = await fleet.fetch(f"{fleet.simulator_url}/ledger/calls")
    gateway, bot, simulator = found["gateway"], found["one"], found["simulator"]
    (one,) = [status for status in account.bots if status.bot == "one"]
    orders = values(gateway["derivfleet_orders"])
    assert orders["demo", "one", "asked"] == one.buys
    assert orders["demo", "one", "settled"] == one.settled
    assert orders["demo", "idle", "asked"] == 0
    calls = values(gateway["derivfleet_deriv_calls"])
    assert calls["demo", "buy", "answered"] == one.buys
    told = values(simulator["derivfleet_simulator_calls"])
    assert told["buy", "accepted"] == ledger["calls"]["buy"]["accepted"] == one.buys
    assert values(gateway["derivfleet_socket_up"]) == {("demo", "orders"): 1, ("demo", "reads"): 1}
    assert values(simulator["derivfleet_simulator_sockets"]) == {(): 2}
    windows = {("demo", window.bucket, str(window.window_s)): window.limit for window in account.windows}
    assert values(gateway["derivfleet_quota_limit"]) == windows
    assert values(gateway["derivfleet_quota_used"]).keys() == windows.keys()
    assert values(bot["derivfleet_bot_trades"])["one", "settled"] >= 1
    assert 0 < values(bot["derivfleet_bot_last_decision_seconds"])["one",] <= fleet.clock.now_s()
    # No label is an id, so what a fleet makes of series does not grow with its trades.
    names = {"demo", "one", "idle", *(window.bucket for window in account.windows)}
    known = re.compile(r"[a-z_]+|\d{1,5}")
    for service in ("gateway", "one", "simulator"):
        shown: set[tuple[str, str, tuple[str, ...]]] = set()
        for name, family in found[service].items():
            if not name.startswith("derivfleet_"):
                continue
            (labels,) = {tuple(sample.labels) for sample in family.samples} or {()}
            total = "_total" if family.type == "counter" else ""
            shown.add(("bot" if service == "one" else service, name + total, labels))
            for sample in family.samples:
                assert all(value in names or known.fullmatch(value) for value in sample.labels.values()), sample
        expected = {row for row in rows() if row[0] == ("bot" if service == "one" else service)}
        assert {row[:2] for row in shown} == {row[:2] for row in expected}
        assert {row for row in shown if row[2]} <= expected

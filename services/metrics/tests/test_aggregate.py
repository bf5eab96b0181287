"""Figures against two oracles that share nothing with them: SQL over the same rows, and the standard library."""

from __future__ import annotations

import sqlite3
from collections import Counter
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.common.spans import SpanName
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.metrics.aggregate import PeriodRows, Settlement, SpanRow, figures_of, nearest_rank
from derivfleet.metrics.quota import Limits
from derivfleet.metrics.status import Window

BOTS = ("over-4", "trend-75")
LIMITS = Limits(OPTIONS_LIMITS, (Window("trade", 60, 0, 342, 360), Window("trade", 3600, 0, 13_680, 14_400)))

span_rows = st.builds(
    SpanRow,
    name=st.sampled_from([*SpanName, "a.stranger"]),
    bot=st.sampled_from(["", "gateway", *BOTS, "newcomer"]),
    start_ns=st.just(0),
    end_ns=st.integers(0, 10**10),
    call=st.sampled_from(["", "buy", "proposal_open_contract", "ping", "unheard_of"]),
    error_code=st.sampled_from(["", "RateLimit", "QUOTA_DEADLINE"]),
    rate_refused=st.booleans(),
    unanswered=st.booleans(),
)
cents = st.integers(-50_000, 50_000).map(lambda value: Decimal(value).scaleb(-2))
settlements = st.builds(
    Settlement,
    bot=st.sampled_from([*BOTS, "newcomer"]),
    profit=cents,
    staked=st.integers(35, 100_000).map(lambda value: Decimal(value).scaleb(-2)),
    traced=st.booleans(),
)


@given(st.lists(span_rows, max_size=60), st.lists(settlements, max_size=40))
def test_figures_equal_sql_over_the_same_rows(spans: list[SpanRow], settled: list[Settlement]) -> None:
    purchases = {"over-4": 3}
    figures = figures_of(PeriodRows(iter(spans), settled, purchases, 7), 300, BOTS, LIMITS)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE spans (name, bot, start_ns, end_ns, call, code, refused, unanswered)")
    database.executemany("INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [tuple(map(plain, row)) for row in spans])
    database.execute("CREATE TABLE settled (bot, cents INTEGER, staked INTEGER, traced)")
    database.executemany(
        "INSERT INTO settled VALUES (?, ?, ?, ?)",
        [(one.bot, int(one.profit * 100), int(one.staked * 100), one.traced) for one in settled],
    )

    def one(sql: str, *arguments: object) -> int:
        return database.execute(sql, arguments).fetchone()[0] or 0

    known = {bot.bot for bot in figures.bots}
    named = database.execute("SELECT bot FROM spans WHERE bot NOT IN ('', 'gateway') UNION SELECT bot FROM settled")
    assert known == {*BOTS, *(row[0] for row in named)}
    for bot in figures.bots:
        assert bot.ops == one("SELECT COUNT(*) FROM spans WHERE bot = ? AND name GLOB 'gateway.*'", bot.bot)
        assert bot.buys == purchases.get(bot.bot, 0)
        assert bot.settled == one("SELECT COUNT(*) FROM settled WHERE bot = ?", bot.bot)
        assert bot.wins == one("SELECT COUNT(*) FROM settled WHERE bot = ? AND cents > 0", bot.bot)
        assert bot.profit * 100 == one("SELECT SUM(cents) FROM settled WHERE bot = ?", bot.bot)
        assert bot.staked * 100 == one("SELECT SUM(staked) FROM settled WHERE bot = ?", bot.bot)
        errors = database.execute(
            "SELECT code, COUNT(*) FROM spans WHERE bot = ? AND code != '' AND (name GLOB 'gateway.*' OR unanswered) "
            "GROUP BY code",
            (bot.bot,),
        )
        assert dict(bot.errors) == dict(errors.fetchall())
    assert figures.fleet.settled == len(settled)
    assert figures.fleet.profit == sum((one.profit for one in settled), Decimal(0))
    assert figures.fleet.ops == one(
        "SELECT COUNT(*) FROM spans WHERE bot NOT IN ('', 'gateway') AND name GLOB 'gateway.*'"
    )
    assert figures.calls_refused == one("SELECT COUNT(*) FROM spans WHERE name = 'deriv.call' AND refused")
    trade = one("SELECT COUNT(*) FROM spans WHERE name = 'deriv.call' AND call IN ('buy', 'proposal_open_contract')")
    assert [quota.calls for quota in figures.quota if quota.bucket == "trade"] == [trade]
    seen = figures.completeness
    assert seen.orders_in_feed - seen.orders_traced == one("SELECT COUNT(*) FROM settled WHERE NOT traced")
    assert seen.profit_untraced * 100 == one("SELECT SUM(cents) FROM settled WHERE NOT traced")
    assert seen.profit_traced + seen.profit_untraced == figures.fleet.profit
    assert seen.traces_without_order == 7
    database.close()


def plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([50, 95, 99]))
def test_nearest_rank_is_the_smallest_value_that_enough_values_do_not_exceed(values: list[int], percent: int) -> None:
    ordered = sorted(values)
    found = nearest_rank(ordered, percent)
    counted = Counter(values)
    enough = [value for value in counted if 100 * sum(other <= value for other in values) >= percent * len(values)]
    assert found == min(enough)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_phases_of_the_fleet_are_over_all_bots_together(durations_ns: list[int]) -> None:
    spans = [SpanRow(SpanName.BUY, BOTS[index % 2], 0, duration) for index, duration in enumerate(durations_ns)]
    figures = figures_of(PeriodRows(spans, [], {}, 0), 300, BOTS, None)
    (phase,) = figures.fleet.phases
    assert (phase.phase, phase.count) == ("buy", len(durations_ns))
    assert phase.p50_ms == sorted(durations_ns)[(len(durations_ns) - 1) // 2] / 1e6
    assert phase.p99_ms == max(durations_ns) / 1e6


def test_only_purchases_count_as_time_upstream() -> None:
    spans = [
        SpanRow(SpanName.DERIV_CALL, "over-4", 0, 1_000_000, call="buy"),
        SpanRow(SpanName.DERIV_CALL, "over-4", 0, 9_000_000, call="proposal_open_contract"),
    ]
    figures = figures_of(PeriodRows(spans, [], {}, 0), 300, BOTS, LIMITS)
    assert [(one.phase, one.count, one.p99_ms) for one in figures.bots[0].phases] == [("upstream", 1, 1.0)]
    assert [one.calls for one in figures.quota if one.bucket == "trade"] == [2]


def test_a_silent_bot_has_a_line_of_zeros() -> None:
    figures = figures_of(PeriodRows([], [], {}, 0), 300, BOTS, None)
    assert [bot.bot for bot in figures.bots] == list(BOTS)
    assert all((bot.ops, bot.settled, bot.win_rate, bot.profit) == (0, 0, 0.0, Decimal(0)) for bot in figures.bots)
    assert figures.quota == ()


def test_an_error_that_the_gateway_saw_is_counted_once() -> None:
    seen = [
        SpanRow(SpanName.GATEWAY_BUY, "over-4", 0, 1, error_code="QUOTA_DEADLINE"),
        SpanRow(SpanName.BUY, "over-4", 0, 1, error_code="QUOTA_DEADLINE", unanswered=False),
        SpanRow(SpanName.BUY, "over-4", 0, 1, error_code="UNAVAILABLE", unanswered=True),
    ]
    figures = figures_of(PeriodRows(seen, [], {}, 0), 300, BOTS, None)
    assert dict(figures.bots[0].errors) == {"QUOTA_DEADLINE": 1, "UNAVAILABLE": 1}

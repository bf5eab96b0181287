"""Figures of sums, counted by other means."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from span_rows import BOTS, NOTHING_ELSE, START_NS, aggregates_of, span_rows

from derivfleet.common.spans import SpanName
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.metrics.records.gateway_status import QuotaWindow
from derivfleet.metrics.reports.figures import figures_of
from derivfleet.metrics.reports.messages import report_message
from derivfleet.metrics.reports.periods import Kind, Period
from derivfleet.metrics.reports.quota_use import Limits
from derivfleet.metrics.sums.profit_and_loss import BOT, FLEET, ProfitAndLoss
from derivfleet.metrics.sums.span_aggregates import SpanAggregate
from derivfleet.metrics.sums.time_levels import HOUR_S

if TYPE_CHECKING:
    from derivfleet.metrics.records.span import SpanRow

LIMITS = Limits(OPTIONS_LIMITS, (QuotaWindow("trade", 60, 0, 342, 360), QuotaWindow("trade", 3600, 0, 13_680, 14_400)))


def by_bot(rows: list[SpanRow]) -> dict[str, SpanAggregate]:
    found: dict[str, SpanAggregate] = {}
    for _, _, bot, aggregate in aggregates_of(rows).rolled_up(HOUR_S):
        found.setdefault(bot, SpanAggregate()).add(aggregate)
    return found


@given(st.lists(span_rows, max_size=60))
def test_figures_are_the_counts_of_the_spans(rows: list[SpanRow]) -> None:
    figures = figures_of(by_bot(rows), {}, 2 * HOUR_S, BOTS, LIMITS)
    assert [bot.bot for bot in figures.bots][:2] == list(BOTS)
    assert {bot.bot for bot in figures.bots} == {*BOTS} | {row.bot for row in rows} - {"", "gateway"}
    for bot in figures.bots:
        own = [row for row in rows if row.bot == bot.bot]
        calls = [row for row in own if row.name.startswith("gateway.")]
        assert bot.ops == sum(row.weight for row in calls)
        expected: Counter[str] = Counter()
        for row in calls:
            expected[row.error_code] += row.weight
        assert dict(bot.errors) == {code: count for code, count in expected.items() if code}
        waits = [row for row in own if row.name == SpanName.QUOTA_WAIT]
        assert {wait.cause: wait.count for wait in bot.waits} == {
            cause: sum(row.weight for row in waits if row.bucket == cause) for cause in {row.bucket for row in waits}
        }
        waited_ns = sum((row.end_ns - row.start_ns) * row.weight for row in waits)
        assert abs(sum(wait.total_s for wait in bot.waits) - waited_ns / 1e9) < 1e-3
    calls = [row for row in rows if row.name == SpanName.DERIV_CALL]
    assert figures.calls_refused == sum(row.weight for row in calls if row.rate_refused)
    trade = sum(row.weight for row in calls if row.call in ("buy", "proposal_open_contract"))
    assert [quota.calls for quota in figures.quota if quota.bucket == "trade"] == [trade]
    assert figures.completeness.spans == len(rows)
    assert figures.completeness.spans_sampled == sum(row.weight > 1 for row in rows)


def test_only_purchases_count_as_time_upstream() -> None:
    rows = [
        NOTHING_ELSE._replace(name=SpanName.DERIV_CALL, call="buy", start_ns=START_NS, end_ns=START_NS + 10**6),
        NOTHING_ELSE._replace(name=SpanName.DERIV_CALL, call="balance", start_ns=START_NS, end_ns=START_NS + 10**7),
    ]
    figures = figures_of(by_bot(rows), {}, 300, BOTS, LIMITS)
    ((phase, count),) = [(one.phase, one.count) for one in figures.bots[0].phases]
    assert (phase, count) == ("upstream", 1)
    assert [one.phase for one in figures.bots[0].operations] == ["call balance", "call buy"]


def test_a_silent_bot_has_a_line_of_zeros() -> None:
    figures = figures_of({}, {}, 300, BOTS, None)
    assert [bot.bot for bot in figures.bots] == list(BOTS)
    assert all(
        (bot.ops, bot.pnl.settled, bot.pnl.win_rate, bot.pnl.profit) == (0, 0, 0.0, Decimal(0)) for bot in figures.bots
    )
    assert (figures.quota, figures.bottlenecks) == ((), ())


def test_the_bottleneck_is_named_with_its_part_of_the_time() -> None:
    waited = NOTHING_ELSE._replace(name=SpanName.QUOTA_WAIT, start_ns=START_NS, end_ns=START_NS + 123 * 10**9)
    rows = [
        waited._replace(bucket="trade/3600s"),
        waited._replace(bucket="cap/buy", bot="trend-75", end_ns=START_NS + 30 * 10**9),
        NOTHING_ELSE._replace(name=SpanName.DERIV_CALL, call="buy", start_ns=START_NS, end_ns=START_NS + 6 * 10**9),
        waited._replace(bucket="trade/60s", end_ns=START_NS + 10**9),
    ]
    figures = figures_of(by_bot(rows), {}, 300, BOTS, None)
    assert [one.text for one in figures.bottlenecks] == [
        "over-4 waits for the hour window of trade calls 41% of the time",
        "trend-75 waits for its cap on buy calls 10% of the time",
        "over-4 waits for Deriv's answers 2% of the time",
    ]


def test_money_comes_from_the_orders_and_bots_known_only_to_them_have_a_line() -> None:
    pnl = ProfitAndLoss(settled=3, wins=2, profit=Decimal("0.31"), untraced=1, untraced_profit=Decimal("-0.35"))
    figures = figures_of({}, {(FLEET, ""): pnl, (BOT, "newcomer"): pnl}, 300, BOTS, None)
    assert [bot.bot for bot in figures.bots] == [*BOTS, "newcomer"]
    assert figures.bots[2].pnl.profit == figures.fleet.pnl.profit == Decimal("0.31")
    assert (figures.completeness.orders_in_feed, figures.completeness.orders_traced) == (3, 2)
    assert not figures.completeness.is_whole


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="every name that a stranger sends gets a line")
def test_a_report_fits_into_a_message_however_many_bots_somebody_invents() -> None:
    names = [*BOTS, *(f"stranger-{number}".ljust(250, "x") for number in range(8_000))]
    kinds = (SpanName.GATEWAY_BUY, SpanName.QUOTA_WAIT, SpanName.DERIV_CALL, SpanName.BUY, SpanName.DECIDE)
    spans = [NOTHING_ELSE._replace(name=kind, bot=bot, end_ns=1) for bot in names for kind in kinds]
    figures = figures_of(by_bot(spans), {}, 300, BOTS, LIMITS)
    period = Period(0, 300, Kind.WINDOW)
    report = report_message("demo", period, figures, filled_to_s=300, passed_s=300, saved={}, calls_refused=0)
    assert [bot.bot for bot in report.bots][:2] == list(BOTS)
    # What a client of gRPC takes unless it is told otherwise.
    assert report.ByteSize() < 4 * 1024 * 1024

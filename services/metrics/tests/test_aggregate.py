"""Figures of sums, and sums of sums: pieces of time against the whole, counted by other means."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.common.spans import SpanName
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.metrics.aggregate import figures_of
from derivfleet.metrics.cells import HOUR_S, LEVELS_S, MINUTE_S, WINDOW_S, Cell, Cells, SpanRow, pieces
from derivfleet.metrics.messages import report_message
from derivfleet.metrics.periods import Kind, Period
from derivfleet.metrics.quota import Limits
from derivfleet.metrics.sketch import RELATIVE_ERROR, bin_of, quantile, value_of
from derivfleet.metrics.status import Window
from derivfleet.metrics.takings import BOT, FLEET, Takings

if TYPE_CHECKING:
    import random

BOTS = ("over-4", "trend-75")
LIMITS = Limits(OPTIONS_LIMITS, (Window("trade", 60, 0, 342, 360), Window("trade", 3600, 0, 13_680, 14_400)))
START_NS = 1_795_161_600 * 10**9
NOTHING_ELSE = SpanRow("", "demo", "over-4", "", "", "", "", "", False, 0, 0, 1, b"", b"", "", "")

span_rows = st.builds(
    NOTHING_ELSE._replace,
    name=st.sampled_from([*SpanName, "a.stranger"]),
    bot=st.sampled_from(["", "gateway", *BOTS, "newcomer"]),
    start_ns=st.integers(START_NS - 10**10, START_NS),
    end_ns=st.integers(START_NS, START_NS + 2 * HOUR_S * 10**9),
    call=st.sampled_from(["", "buy", "proposal_open_contract", "ping", "unheard_of"]),
    bucket=st.sampled_from(["trade", "trade/3600s", "cap/buy"]),
    error_code=st.sampled_from(["", "RateLimit", "QUOTA_DEADLINE"]),
    rate_refused=st.booleans(),
    weight=st.sampled_from([1, 1, 1, 4]),
)


def cells_of(rows: list[SpanRow]) -> Cells:
    cells = Cells()
    for row in rows:
        cells.add(row, START_NS + 2 * HOUR_S * 10**9)
    return cells


def by_bot(rows: list[SpanRow]) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for _, _, bot, cell in cells_of(rows).rolled_up(HOUR_S):
        found.setdefault(bot, Cell()).add(cell)
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


@given(st.lists(span_rows, max_size=60), st.randoms(use_true_random=False))
def test_short_pieces_add_up_to_long_ones_in_any_order(rows: list[SpanRow], shuffle: random.Random) -> None:
    whole = {(start_s, bot): cell.body() for start_s, _, bot, cell in cells_of(rows).rolled_up(HOUR_S)}
    for level_s in (MINUTE_S, WINDOW_S):
        parts: dict[tuple[int, str], Cell] = {}
        found = list(cells_of(rows).rolled_up(level_s))
        shuffle.shuffle(found)
        for start_s, _, bot, cell in found:
            stored = Cell.of(cell.body())
            parts.setdefault((start_s - start_s % HOUR_S, bot), Cell()).add(stored)
        assert {key: cell.body() for key, cell in parts.items()} == whole


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_quantile_is_within_the_stated_error_of_the_value_of_its_rank(values: list[int], percent: int) -> None:
    true = sorted(values)[max(0, ceil(percent * len(values) / 100) - 1)]
    found = quantile(Counter(map(bin_of, values)), percent)
    assert abs(found - true) <= true * RELATIVE_ERROR * (1 + 1e-9)


@given(st.integers(0, 2**63 - 1))
def test_a_bin_is_near_what_it_holds(value: int) -> None:
    assert abs(value_of(bin_of(value)) - value) <= value * RELATIVE_ERROR * (1 + 1e-9)


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
    assert all((bot.ops, bot.settled, bot.win_rate, bot.profit) == (0, 0, 0.0, Decimal(0)) for bot in figures.bots)
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
    takings = Takings(settled=3, wins=2, profit=Decimal("0.31"), untraced=1, untraced_profit=Decimal("-0.35"))
    figures = figures_of({}, {(FLEET, ""): takings, (BOT, "newcomer"): takings}, 300, BOTS, None)
    assert [bot.bot for bot in figures.bots] == [*BOTS, "newcomer"]
    assert figures.bots[2].profit == figures.fleet.profit == Decimal("0.31")
    assert (figures.completeness.orders_in_feed, figures.completeness.orders_traced) == (3, 2)
    assert not figures.completeness.is_whole


@given(st.integers(0, 5_000), st.integers(1, 5_000))
def test_pieces_fill_a_run_without_gap_or_overlap(start_minute: int, minutes: int) -> None:
    start_s, end_s = start_minute * 60, (start_minute + minutes) * 60
    at_s = start_s
    for level_s, first_s, last_s in pieces(start_s, end_s):
        assert first_s == at_s
        assert level_s in LEVELS_S
        assert first_s % level_s == last_s % level_s == 0
        at_s = last_s
    assert at_s == end_s
    assert len(pieces(start_s, end_s)) <= 5


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="invented buckets use up the names that calls need")
def test_calls_keep_their_names_however_many_buckets_somebody_invents() -> None:
    waits = [NOTHING_ELSE._replace(name=SpanName.QUOTA_WAIT, bucket=f"x{number}") for number in range(250)]
    buys = [NOTHING_ELSE._replace(name=SpanName.DERIV_CALL, call="buy")] * 40
    assert cells_of([*waits, *buys]).cell("demo", "over-4", 0).named("call ") == {"buy": 40}


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

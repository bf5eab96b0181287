from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import asdict, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.order_state import OrderState
from derivfleet.common.spans import SpanName
from derivfleet.metrics.records.gateway_status import samples_of
from derivfleet.metrics.store import order_table
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.metrics.store.order_table import OrderSearch, UnknownOrders
from derivfleet.metrics.store.schema import VERSION
from derivfleet.metrics.store.span_rollups import PendingRollups
from derivfleet.metrics.store.store import Store, StoreError
from derivfleet.metrics.sums.profit_and_loss import BOT, EMPTY, FLEET, STRATEGY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.records.otlp import Received
    from derivfleet.metrics.records.span import SpanRecord
    from derivfleet.metrics.sums.profit_and_loss import OrderSums
    from derivfleet.metrics.sums.span_aggregates import SpanAggregate
    from derivfleet.v1.control_pb2 import GetStatusResponse

    MakeSpan = Callable[..., SpanRecord]
    MakeExport = Callable[[Sequence[SpanRecord]], Received]
    MakeOrder = Callable[..., OrderRecord]
    MakeStatus = Callable[..., GetStatusResponse]

START_NS = 1_795_161_600 * NS_PER_S
END_NS = START_NS + 300 * NS_PER_S


def sums(
    store: Store, start_ns: int = START_NS, end_ns: int = END_NS
) -> Awaitable[tuple[dict[str, SpanAggregate], OrderSums]]:
    return store.sums("demo", start_ns // NS_PER_S, end_ns // NS_PER_S, END_NS + 10**12, {"over-4": "digit_frequency"})


async def counted(store: Store, bot: str = "over-4", end_ns: int = END_NS) -> dict[str, int]:
    aggregates, _ = await sums(store, end_ns=end_ns)
    return aggregates[bot].counts if bot in aggregates else {}


async def test_a_span_is_kept_once(store: Store, make_span: MakeSpan, make_export: MakeExport) -> None:
    first, second = make_span(1, "gateway.buy"), make_span(2, "gateway.buy")
    assert await store.keep_spans([make_export([first])], START_NS) == [1]
    both = make_export([first, second, replace(first, bot="other")])
    assert await store.keep_spans([both, make_export([second])], START_NS) == [1, 0]
    assert await store.keep_spans([both], START_NS) == [0]
    assert await store.keep_spans([], START_NS) == []
    assert (await counted(store))["op gateway.buy"] == 2
    assert await counted(store, "other") == {}


async def test_a_span_belongs_to_the_period_of_its_end(
    store: Store, make_span: MakeSpan, make_export: MakeExport
) -> None:
    ends = [START_NS - 1, START_NS, END_NS - 1, END_NS]
    spans = [make_span(number + 1, "trade.buy", start_ns=1, end_ns=end_ns) for number, end_ns in enumerate(ends)]
    await store.keep_spans([make_export(spans)], END_NS)
    assert (await counted(store))["spans"] == 2
    assert (await counted(store, end_ns=START_NS + 60 * NS_PER_S))["spans"] == 1


async def test_spans_of_another_account_are_left_out_and_those_of_none_are_not(
    store: Store, make_span: MakeSpan, make_export: MakeExport
) -> None:
    accounts = ["demo", "", "other"]
    spans = [make_span(number + 1, "trade.decide", account=account) for number, account in enumerate(accounts)]
    await store.keep_spans([make_export(spans)], END_NS)
    assert (await counted(store))["spans"] == 2


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("child_first", [False, True])
async def test_an_error_of_a_purchase_counts_unless_the_gateway_was_reached(
    store: Store, make_span: MakeSpan, make_export: MakeExport, child_first: bool, apart: bool
) -> None:
    bought = make_span(1, SpanName.BUY, order_id="a", error_code="UNAVAILABLE")
    child = make_span(
        2, SpanName.GATEWAY_BUY, order_id="a", trace_id=bought.trace_id, parent_id=bought.span_id, error_code="SLOW"
    )
    lone = make_span(3, SpanName.BUY, order_id="b", error_code="UNAVAILABLE")
    await store.keep_spans([make_export([child if child_first else bought, lone])], END_NS)
    if apart:
        before = {"error UNAVAILABLE": 1, "error SLOW": 1} if child_first else {"error UNAVAILABLE": 2}
        assert {name: n for name, n in (await counted(store)).items() if name.startswith("error")} == before
    await store.keep_spans([make_export([bought if child_first else child])], END_NS)
    told = {name: count for name, count in (await counted(store)).items() if name.startswith("error")}
    assert told == {"error UNAVAILABLE": 1, "error SLOW": 1}


async def test_what_was_not_summed_up_before_a_crash_is_summed_up_after_it(
    tmp_path: Path, make_span: MakeSpan, make_export: MakeExport
) -> None:
    path = tmp_path / "crash.sqlite"
    first = await Store.open(path, "STORE")
    await first.keep_spans([make_export([make_span(1, "gateway.buy")])], START_NS)
    await first.roll_up()
    await first.keep_spans([make_export([make_span(2, "gateway.buy")])], START_NS)
    # As a crash leaves it: committed, not summed up, never closed.
    second = await Store.open(path, "STORE")
    assert (await counted(second))["op gateway.buy"] == 2
    assert await second.keep_spans([make_export([make_span(2, "gateway.buy")])], START_NS) == [0]
    await second.close()
    third = await Store.open(path, "STORE")
    assert (await counted(third))["op gateway.buy"] == 2
    await third.close()
    first._pending = PendingRollups()  # pyright: ignore[reportPrivateUsage] - what a crash forgets
    await first.close()


async def test_minutes_in_which_a_bot_was_heard_of_count_once(
    store: Store, make_span: MakeSpan, make_export: MakeExport
) -> None:
    for number, end_s in enumerate((1, 2, 61, 3, 62)):
        span = make_span(number + 1, "trade", start_ns=START_NS, end_ns=START_NS + end_s * NS_PER_S)
        await store.keep_spans([make_export([span])], END_NS)
        await store.roll_up()
    assert (await counted(store))["minutes"] == 2


async def test_the_latest_state_of_an_order_wins_however_the_events_come(store: Store, make_order: MakeOrder) -> None:
    confirmed = make_order(4, "a", state=OrderState.CONFIRMED, settled_ns=0, profit="0")
    settled = make_order(9, "a", "-0.35")
    await store.keep_orders([confirmed], FeedMark(4))
    assert await store.open_orders("demo") == {"over-4": 1}
    await store.keep_orders([settled], FeedMark(9))
    await store.keep_orders([confirmed], FeedMark(4))
    (kept,) = await store.orders("demo")
    assert kept == settled
    assert kept.profit == Decimal("-0.35")
    assert await store.open_orders("demo") == {}
    assert await store.mark() == FeedMark(9)


async def test_a_settlement_is_told_once_even_if_the_order_changes_again(store: Store, make_order: MakeOrder) -> None:
    await store.keep_orders([make_order(3, "a"), make_order(5, "b")], FeedMark(5))
    await store.keep_orders([make_order(8, "a", error_message="late note")], FeedMark(8))
    told = await store.settlements("demo", 0, 0, 10)
    assert [(row.position, row.bot, row.profit) for row in told] == [
        (3, "over-4", Decimal("0.33")),
        (5, "over-4", Decimal("0.33")),
    ]
    assert await store.settlements("demo", 5, 0, 10) == []
    assert len(await store.settlements("demo", 0, 0, 1)) == 1


async def test_an_order_is_traced_when_a_span_of_the_gateway_names_it(
    store: Store, make_span: MakeSpan, make_export: MakeExport, make_order: MakeOrder
) -> None:
    await store.keep_orders([make_order(1, "a"), make_order(2, "b"), make_order(3, "c")], FeedMark(3))
    stray = {"order_id": "ghost", "attributes": '{"derivfleet.profit": "-0.35"}'}
    spans = [
        make_span(1, SpanName.SETTLE, order_id="a", end_ns=END_NS + 1),
        make_span(2, SpanName.TRADE, order_id="b"),
        make_span(3, SpanName.SETTLE, **stray),
        make_span(4, SpanName.GATEWAY_BUY, order_id="refused-before-it-was-an-order"),
        make_span(5, SpanName.GATEWAY_BUY, order_id="ghost-2", state="confirmed"),
    ]
    _, before = await sums(store)
    assert before[FLEET, ""].untraced == 3
    await store.keep_spans([make_export(spans)], END_NS)
    _, told = await sums(store)
    fleet = told[FLEET, ""]
    assert (fleet.settled, fleet.buys, fleet.untraced, fleet.untraced_profit) == (3, 3, 2, Decimal("0.66"))
    assert (fleet.strays, fleet.strays_profit) == (2, Decimal("-0.35"))
    assert told[STRATEGY, "digit_frequency"].profit == told[BOT, "over-4"].profit == Decimal("0.99")
    await store.keep_orders([make_order(4, "ghost", "-0.35")], FeedMark(4))
    _, after = await sums(store)
    assert (after[FLEET, ""].strays, after[FLEET, ""].settled, after[FLEET, ""].untraced) == (1, 4, 2)


async def test_money_at_stake_counts_while_it_is(store: Store, make_order: MakeOrder) -> None:
    long = make_order(1, "a", bought_ns=START_NS - 30 * NS_PER_S, settled_ns=END_NS + 60 * NS_PER_S)
    still = replace(long, state=OrderState.CONFIRMED, profit=None, settled_ns=0, changed_ns=START_NS)
    await store.keep_orders([still], FeedMark(1))
    _, told = await sums(store)
    assert (told[FLEET, ""].held, told[FLEET, ""].settled) == (Decimal("0.35") * 300, 0)
    await store.keep_orders([replace(long, position=2)], FeedMark(2))
    _, told = await sums(store, START_NS - 300 * NS_PER_S, END_NS + 300 * NS_PER_S)
    assert told[FLEET, ""].held == Decimal("0.35") * 390
    assert told[FLEET, ""].peak == Decimal("0.35")


async def test_money_that_may_be_spent_is_at_stake_until_that_is_known(store: Store, make_order: MakeOrder) -> None:
    """A lost purchase counts from its beginning on, through windows that were summed up before, and then never did."""
    unknown = replace(
        make_order(1, "a", state=OrderState.UNKNOWN, settled_ns=0, bought_ns=0),
        intended_ns=START_NS + 60 * NS_PER_S,
        stake=Decimal("0.50"),
        buy_price=None,
        profit=None,
        changed_ns=START_NS + 70 * NS_PER_S,
    )
    later_ns = END_NS + 300 * NS_PER_S

    async def held(end_ns: int) -> Decimal:
        _, told = await sums(store, START_NS, end_ns)
        return told[FLEET, ""].held if told else Decimal(0)

    assert await held(later_ns) == 0
    await store.keep_orders([unknown], FeedMark(1))
    assert await held(END_NS) == Decimal("0.50") * 240
    assert await held(later_ns) == Decimal("0.50") * 540
    doubtful = replace(unknown, position=2, doubt="foreign_trades", changed_ns=START_NS + 80 * NS_PER_S)
    await store.keep_orders([doubtful], FeedMark(2))
    assert await store.unknown_orders("demo") == {"over-4": UnknownOrders(1, 1, Decimal("0.50"))}
    assert await store.unknown_orders("demo", START_NS + 60 * NS_PER_S) == {}
    assert await held(later_ns) == Decimal("0.50") * 540
    gone = replace(doubtful, position=3, state=OrderState.NOT_FOUND, doubt="", changed_ns=END_NS + 10 * NS_PER_S)
    await store.keep_orders([gone], FeedMark(3))
    assert await held(later_ns) == 0
    assert await store.unknown_orders("demo") == {}
    shown_late = replace(gone, position=4, doubt="more_candidates")
    await store.keep_orders([shown_late], FeedMark(4))
    assert await store.unknown_orders("demo") == {"over-4": UnknownOrders(1, 1, Decimal("0.50"))}
    await store.keep_orders([replace(gone, position=5)], FeedMark(5))
    assert await store.unknown_orders("demo") == {}


async def test_orders_are_listed_newest_first_and_filtered(store: Store, make_order: MakeOrder) -> None:
    await store.keep_orders(
        [
            make_order(1, "a"),
            make_order(2, "b", bot="trend-75"),
            make_order(3, "c", state=OrderState.DENIED, settled_ns=0, bought_ns=0),
        ],
        FeedMark(3),
    )
    assert [one.order_id for one in await store.orders("demo")] == ["c", "b", "a"]
    assert [one.order_id for one in await store.orders("demo", limit=1)] == ["c"]
    assert [one.order_id for one in await store.orders("demo", OrderSearch(bot="over-4", state="settled"))] == ["a"]
    assert await store.orders("other") == []


async def test_orders_are_searched_by_a_part_of_their_id_or_a_whole_contract_id_page_by_page(
    store: Store, make_order: MakeOrder
) -> None:
    await store.keep_orders(
        [
            make_order(1, "over-4:R_75:1:0", symbol="R_75"),
            make_order(2, "over-4:R_75:2:0", symbol="R_75"),
            make_order(3, "x"),
        ],
        FeedMark(3),
    )

    async def found(**search: Any) -> list[str]:
        return [one.order_id for one in await store.orders("demo", OrderSearch(**search))]

    assert await found(text="R_75:2") == ["over-4:R_75:2:0"]
    assert await found(text="900000000003") == ["x"]
    assert await found(text="%") == []
    assert await found(symbol="R_75", before=2) == ["over-4:R_75:1:0"]
    one = await store.read(lambda connection: order_table.order(connection, "demo", "x"))
    assert one is not None
    assert one.position == 3
    assert await store.read(lambda connection: order_table.order(connection, "demo", "y")) is None


async def test_the_status_of_a_time_is_the_last_one_before_it(store: Store, make_status: MakeStatus) -> None:
    assert await store.status("demo", 0) is None
    times_s = (1_795_161_600, 1_795_161_605, 1_795_161_610)
    samples = [samples_of(make_status(time_s, rejected))[0] for rejected, time_s in enumerate(times_s)]
    await store.keep_status(samples)
    await store.keep_status(samples[:1])
    assert await store.status("demo", samples[1].time_ns + 1) == samples[1]
    assert await store.status("demo", 5) == samples[0]
    counts = await store.refused_counts("demo", samples[1].time_ns, samples[2].time_ns)
    assert [count.count for count in counts] == [1, 2]


async def test_a_window_kept_before_reserves_were_told_has_none(
    tmp_path: Path, store: Store, make_status: MakeStatus
) -> None:
    (sample,) = samples_of(make_status())
    await store.keep_status([sample])
    earlier = [{key: value for key, value in asdict(one).items() if key != "reserved"} for one in sample.windows]
    with sqlite3.connect(tmp_path / "unit.sqlite") as connection:
        connection.execute("UPDATE status_samples SET windows = ?", (json.dumps(earlier),))
    connection.close()
    read = await store.status("demo", sample.time_ns)
    assert read is not None
    assert [(one.used, one.reserved) for one in read.windows] == [(120, 0), (3_000, 0)]


async def test_old_rows_are_forgotten_and_open_orders_are_not(
    store: Store, make_span: MakeSpan, make_export: MakeExport, make_order: MakeOrder, make_status: MakeStatus
) -> None:
    for number, end_ns in enumerate((START_NS - 300 * NS_PER_S, END_NS)):
        one = make_span(number + 1, "gateway.check", start_ns=1, end_ns=end_ns, order_id="new")
        await store.keep_spans([make_export([one])], END_NS)
    await store.keep_orders(
        [
            make_order(1, "old", changed_ns=START_NS),
            make_order(2, "open", state=OrderState.CONFIRMED, settled_ns=0, changed_ns=START_NS),
            make_order(3, "new", changed_ns=END_NS),
        ],
        FeedMark(3),
    )
    await store.keep_status(samples_of(make_status(START_NS / NS_PER_S)))
    assert await store.forget(START_NS + 1, START_NS + 1) == 5, "batch, key, minute, sample, order"
    assert {one.order_id for one in await store.orders("demo")} == {"open", "new"}
    assert [one.span_id for one in await store.spans_of_order("demo", "new", 9)] == [f"{2:016x}"]
    assert await store.forget(START_NS + 1, START_NS + 1) == 0
    assert await store.mark() == FeedMark(3)


async def test_everything_is_there_after_a_restart(tmp_path: Path, make_order: MakeOrder) -> None:
    path = tmp_path / "deep" / "metrics.sqlite"
    first = await Store.open(path, "STORE")
    await first.keep_orders([make_order(7, "a")], FeedMark(7, 99, 1))
    await first.close()
    second = await Store.open(path, "STORE")
    assert await second.mark() == FeedMark(7, 99, 1)
    assert [one.order_id for one in await second.orders("demo")] == ["a"]
    await second.close()


async def test_a_failed_write_leaves_neither_orders_nor_mark(store: Store, make_order: MakeOrder) -> None:
    broken = make_order(2, "b", bot=None)
    with pytest.raises(StoreError):
        await store.keep_orders([make_order(1, "a"), broken], FeedMark(2))
    assert await store.orders("demo") == []
    assert await store.mark() == FeedMark()


async def test_writers_in_a_hurry_do_not_meet(store: Store, make_span: MakeSpan, make_export: MakeExport) -> None:
    kept = await asyncio.gather(
        *(
            store.keep_spans([make_export([make_span(batch * 10 + one + 1, "trade") for one in range(15)])], END_NS)
            for batch in range(20)
        )
    )
    assert sum(count for (count,) in kept) == 205
    assert (await counted(store))["spans"] == 205


def write(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (f"PRAGMA user_version = {VERSION + 1}", "written by a newer derivfleet"),
        ("CREATE TABLE theirs (x)", "a database of another program"),
    ],
)
async def test_a_strange_database_is_refused_by_name(tmp_path: Path, sql: str, said: str) -> None:
    path = tmp_path / "strange.sqlite"
    write(path, sql)
    with pytest.raises(ConfigurationError, match=said) as error:
        await Store.open(path, "DERIVFLEET_METRICS_STORE")
    assert error.value.key == "DERIVFLEET_METRICS_STORE"


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than the header of one " * 10)
    with pytest.raises(ConfigurationError, match="cannot use"):
        await Store.open(path, "STORE")


@pytest.mark.xfail(
    strict=True,
    raises=(AssertionError, StoreError, ArithmeticError),
    reason="what spans say of money is kept and added up without a look at it",
)
@pytest.mark.parametrize("text", ["abc", "NaN", "Infinity", "1e999999999", "1E+40000"])
@pytest.mark.parametrize("attribute", ["derivfleet.profit", "derivfleet.stake"])
async def test_a_span_whose_money_is_no_amount_adds_none(
    store: Store, make_span: MakeSpan, make_export: MakeExport, attribute: str, text: str
) -> None:
    span = make_span(
        1, SpanName.GATEWAY_BUY, order_id="forged", state="settled", attributes=json.dumps({attribute: text})
    )
    await store.keep_spans([make_export([span])], 0)
    _, found_sums = await sums(store)
    found = found_sums.get((FLEET, ""), EMPTY)
    assert (found.strays_profit, found.strays_staked) == (0, 0)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="of one second, the order ids say what came first")
async def test_the_drawdown_does_not_depend_on_names(store: Store, make_order: MakeOrder) -> None:
    profits = ["-1", "-1", "0.95"]
    drawdowns: list[Decimal] = []
    for number, names in enumerate([("a", "b", "c"), ("d", "f", "e")]):
        # The same three in one second of two windows, in the same order on the feed, called otherwise.
        time_ns = START_NS + (300 * number + 10) * NS_PER_S
        made = [
            make_order(3 * number + place, name, profit, settled_ns=time_ns, bought_ns=time_ns)
            for place, (name, profit) in enumerate(zip(names, profits, strict=True), 1)
        ]
        await store.keep_orders(made, FeedMark(3 * number + 3))
        _, found = await sums(store, START_NS + 300 * number * NS_PER_S, END_NS + 300 * number * NS_PER_S)
        drawdowns.append(found[FLEET, ""].drawdown)
    assert drawdowns[0] == drawdowns[1]

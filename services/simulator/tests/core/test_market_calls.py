"""Ticks, histories and the catalogue, as the wire reference says."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.candles import candles_of
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from conftest import Harness, MakeHarness

BOTH = pytest.mark.parametrize("dialect", Dialect)


@BOTH
def test_one_tick(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect, login=False)
    harness.wait(1)
    answer = harness.one(number, ticks="R_100")
    (expected,) = quotes("1", "R_100", harness.now_s - 1, harness.now_s)
    tick = answer["tick"]
    assert (tick["epoch"], tick["quote"]) == expected
    assert tick["epoch"] == harness.now_s - 1
    assert (tick["symbol"], tick["pip_size"]) == ("R_100", 2)
    assert tick["ask"] - tick["bid"] == Decimal("0.2")
    assert "subscription" not in answer
    assert "id" not in tick
    harness.wait(10)
    assert harness.inbox(number) == []


@BOTH
def test_a_stream_of_ticks_begins_with_the_latest_and_misses_none(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect, login=False)
    first = harness.one(number, ticks="R_10", subscribe=1, req_id=7)
    harness.wait(9.5)
    frames = [first, *harness.inbox(number)]
    assert [(frame["tick"]["epoch"], frame["tick"]["quote"]) for frame in frames] == quotes(
        "1", "R_10", harness.now_s - 9, harness.now_s
    )
    for frame in frames:
        assert frame["msg_type"] == "tick"
        assert frame["req_id"] == 7
        assert frame["echo_req"] == {"ticks": "R_10", "subscribe": 1, "req_id": 7}
        assert frame["subscription"]["id"] == frame["tick"]["id"] == first["subscription"]["id"]


def test_an_array_of_symbols_opens_a_stream_each(harness: Harness) -> None:
    number = harness.connect()
    answers = harness.ask(number, ticks=["R_10", "1HZ10V"], subscribe=1)
    assert [answer["tick"]["symbol"] for answer in answers] == ["R_10", "1HZ10V"]
    assert answers[0]["subscription"] != answers[1]["subscription"]
    harness.wait(2)
    assert sorted(frame["tick"]["symbol"] for frame in harness.inbox(number)) == ["1HZ10V", "1HZ10V", "R_10"]


def test_an_array_with_an_unknown_symbol_opens_nothing(harness: Harness) -> None:
    number = harness.connect()
    assert harness.refused(number, ticks=["R_10", "R_7"], subscribe=1) == "InvalidSymbol"
    harness.wait(4)
    assert harness.inbox(number) == []


def test_the_same_symbol_twice_is_refused_on_one_socket_only(harness: Harness) -> None:
    one, other = harness.connect(), harness.connect()
    harness.one(one, ticks="R_10", subscribe=1)
    assert harness.refused(one, ticks="R_10", subscribe=1) == "AlreadySubscribed"
    harness.one(other, ticks="R_10", subscribe=1)
    harness.wait(2)
    assert len(harness.inbox(one)) == len(harness.inbox(other)) == 1


def test_the_hundred_and_first_stream_is_refused(make_harness: MakeHarness) -> None:
    harness = make_harness(streams_per_connection=3)
    number = harness.connect()
    for symbol in ("R_10", "R_25", "R_50"):
        harness.one(number, ticks=symbol, subscribe=1)
    assert harness.refused(number, ticks="R_100", subscribe=1) == "RateLimit"
    harness.one(number, forget_all="ticks")
    harness.one(number, ticks="R_100", subscribe=1)


def history(harness: Harness, number: int, **fields: Any) -> list[tuple[int, Decimal]]:
    found = harness.one(number, **{"end": "latest", **fields})["history"]
    return list(zip(found["times"], found["prices"], strict=True))


@BOTH
def test_a_history_is_the_market_and_ends_now(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    harness.wait(3)
    now_s = harness.now_s
    assert history(harness, number, ticks_history="1HZ100V", count=50) == quotes("1", "1HZ100V", now_s - 49, now_s)
    assert len(history(harness, number, ticks_history="R_100")) == 1000
    assert len(history(harness, number, ticks_history="R_100", count=9999)) == 5000


def test_histories_by_range(harness: Harness) -> None:
    number, now_s = harness.connect(), harness.now_s
    start_s = now_s - 1000
    found = history(harness, number, ticks_history="R_50", start=start_s, end=str(start_s + 100))
    assert found == quotes("1", "R_50", start_s, start_s + 100)
    found = history(harness, number, ticks_history="R_50", start=start_s, end=str(start_s + 100), count=3)
    assert [epoch for epoch, _ in found] == [start_s + 96, start_s + 98, start_s + 100]
    found = history(harness, number, ticks_history="R_50", end=str(now_s + 10_000), count=2)
    assert [epoch for epoch, _ in found] == [now_s - 2, now_s]
    assert harness.refused(number, ticks_history="R_50", start=now_s, end=str(now_s - 1)) == "InvalidStartEnd"
    assert harness.refused(number, ticks_history="R_7", end="latest") == "InvalidSymbol"


def test_a_range_too_far_back_is_the_latest_instead(harness: Harness) -> None:
    number, now_s = harness.connect(), harness.now_s
    found = history(harness, number, ticks_history="R_50", start=now_s - 366 * 86_400, end=str(now_s - 86_400), count=2)
    assert found[-1][0] == now_s


@BOTH
@pytest.mark.parametrize("granularity_s", [60, 3600, 86_400])
def test_candles_are_those_of_the_ticks(harness: Harness, dialect: Dialect, granularity_s: int) -> None:
    number = harness.connect(dialect)
    harness.wait(7)
    answer = harness.one(
        number, ticks_history="R_50", end="latest", style="candles", granularity=granularity_s, count=2
    )
    expected = candles_of(quotes("1", "R_50", harness.now_s - 2 * granularity_s, harness.now_s), granularity_s)[-2:]
    found = [(c["epoch"], c["open"], c["high"], c["low"], c["close"]) for c in answer["candles"]]
    assert found == [(c.epoch_s, c.open, c.high, c.low, c.close) for c in expected]
    assert answer["pip_size"] == 4


def test_candles_of_a_range_and_their_cap(make_harness: MakeHarness) -> None:
    harness = make_harness(history_candles=4)
    number, now_s = harness.connect(), harness.now_s
    asked: dict[str, Any] = {"ticks_history": "R_50", "style": "candles"}
    answer = harness.one(number, **asked, start=now_s - 90, end=str(now_s))
    assert [candle["epoch"] for candle in answer["candles"]] == [now_s - 120, now_s - 60, now_s]
    answer = harness.one(number, **asked, end="latest")
    assert len(answer["candles"]) == 4


def test_the_running_candle_is_sent_with_every_tick(harness: Harness) -> None:
    number = harness.connect()
    first = harness.one(number, ticks_history="1HZ10V", end="latest", count=1, style="candles", subscribe=1)
    harness.wait(61)
    frames = harness.inbox(number)
    assert [frame["ohlc"]["epoch"] for frame in frames] == list(range(harness.now_s - 60, harness.now_s + 1))
    assert {frame["ohlc"]["open_time"] for frame in frames} == {harness.now_s - 61, harness.now_s - 1}
    (last,) = candles_of(quotes("1", "1HZ10V", harness.now_s - 1, harness.now_s), 60)
    ohlc = frames[-1]["ohlc"]
    assert (ohlc["open"], ohlc["high"]) == (str(last.open), str(last.high))
    assert (ohlc["low"], ohlc["close"]) == (str(last.low), str(last.close))
    assert frames[-1]["subscription"] == first["subscription"]
    assert harness.one(number, forget_all="candles")["forget_all"] == [first["subscription"]["id"]]


def test_a_history_of_ticks_is_followed_by_ticks(harness: Harness) -> None:
    number = harness.connect()
    harness.one(number, ticks_history="1HZ10V", end="latest", count=1, subscribe=1)
    assert harness.refused(number, ticks_history="1HZ10V", end="latest", subscribe=1) == "AlreadySubscribed"
    harness.one(number, ticks="1HZ10V", subscribe=1)
    harness.wait(1)
    assert [frame["msg_type"] for frame in harness.inbox(number)] == ["tick", "tick"]


@BOTH
def test_the_catalogue_lists_every_symbol(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect, login=False)
    rows = harness.one(number, active_symbols="brief")["active_symbols"]
    name = "symbol" if dialect is Dialect.LEGACY else "underlying_symbol"
    pip = "pip" if dialect is Dialect.LEGACY else "pip_size"
    assert {row[name]: row[pip] for row in rows} == {symbol.name: symbol.pip for symbol in SYMBOLS.values()}
    offers = harness.one(number, contracts_for="R_100")["contracts_for"]["available"]
    assert {offer["underlying_symbol"] for offer in offers} == {"R_100"}
    assert harness.refused(number, contracts_for="R_7") == "InvalidSymbol"

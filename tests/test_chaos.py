"""A few faults in a trading fleet, and whether the check of the ledger sees what it must see."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2
from tests.chaos.callers import CallerOrder
from tests.chaos.chaos_run import ChaosRun, RunProgress
from tests.chaos.ledger_check import Contract, LedgerCheck, chance_of_more, check_ledger, waits_of
from tests.chaos.operator_client import Transition
from tests.chaos.proxy import Cut, Proxy, proxied

if TYPE_CHECKING:
    from pathlib import Path

SETTLED, UNKNOWN = orders_pb2.ORDER_STATE_SETTLED, orders_pb2.ORDER_STATE_UNKNOWN
CONFIRMED, SENT = orders_pb2.ORDER_STATE_CONFIRMED, orders_pb2.ORDER_STATE_SENT
NOT_FOUND, DENIED = orders_pb2.ORDER_STATE_NOT_FOUND, orders_pb2.ORDER_STATE_DENIED
S = 10**9


async def test_nothing_is_lost_doubled_or_left_in_doubt_when_gateways_and_bots_are_killed_and_lines_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # what is killed cannot write down what it ran
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    looks: list[RunProgress] = []
    chaos_run = ChaosRun(2, 10, 1, 10, 2, 3, 3.0, 0.4, Dialect.OPTIONS, tmp_path / "run", looks.append)
    report = await chaos_run.run()
    assert report.problems == []
    facts = report.facts
    assert (facts["kills"], facts["cuts"]) == (2, 10)
    wrong = ("duplicates", "lost", "silently_unknown", "wrong_profit", "unresolved", "feed_gaps")
    assert {name: facts[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert facts["orders"] > 20
    assert facts["takeover_ms"]["n"] >= 1
    assert facts["calls_refused_for_rate"] == 0
    assert {look.stage for look in looks} == {"starting", "warming up", "faults", "calm"}


def order(order_id: str = "c-1", state: int = SETTLED, contract_id: int = 7, **more: Any) -> orders_pb2.Order:
    bought: dict[str, Any] = {"buy_price": "1.00", "sell_price": "1.95", "profit": "0.95"} if state == SETTLED else {}
    terms = orders_pb2.ContractTerms(stake=more.pop("stake", "1.00"))
    return orders_pb2.Order(
        order_id=order_id,
        bot="c",
        state=state,  # pyright: ignore[reportArgumentType] - an enum's number
        contract_id=contract_id,
        terms=terms,
        **{**bought, **more},
    )


CONTRACT = Contract(7, Decimal("1.00"), Decimal("1.95"), Decimal("0.95"))
TOLD = CallerOrder("c-1", "c", Decimal("1.00"), [CONFIRMED], 7)


def ledger_check_of(orders: list[orders_pb2.Order], contracts: list[Contract], *told: CallerOrder) -> LedgerCheck:
    return check_ledger(orders, contracts, told, None)


def test_what_agrees_is_clean() -> None:
    check = ledger_check_of([order(), order("c-2", DENIED, 0, stake="1.01")], [CONTRACT], TOLD)
    assert check.is_clean
    assert (check.orders, check.contracts) == (2, 1)


CASES: list[Any] = [
    ("duplicates", [order()], [CONTRACT, replace(CONTRACT, contract_id=8)]),
    ("duplicates", [], [CONTRACT]),
    ("duplicates", [order(stake="1.00")], [CONTRACT, Contract(9, Decimal("0.35"), None, None)]),
    ("lost", [order()], []),
    ("lost", [order("c-9", DENIED, 0, stake="1.09")], []),
    ("lost", [order(contract_id=8)], [replace(CONTRACT, contract_id=8)]),
    ("silently_unknown", [order(state=NOT_FOUND, contract_id=0)], [CONTRACT]),
    ("silently_unknown", [order(state=SENT, contract_id=0)], []),
    ("silently_unknown", [order(), order("c-2", stake="1.01")], [CONTRACT]),
    ("wrong_profit", [order(profit="0.94")], [CONTRACT]),
    ("wrong_profit", [order()], [replace(CONTRACT, sell_price=None, profit=None)]),
    ("unresolved", [order(state=UNKNOWN, contract_id=0)], []),
    ("unresolved", [order(state=CONFIRMED)], [CONTRACT]),
]


@pytest.mark.parametrize(("kind", "orders", "contracts"), CASES)
def test_each_kind_of_wrong_is_seen(kind: str, orders: list[orders_pb2.Order], contracts: list[Contract]) -> None:
    check = ledger_check_of(orders, contracts, TOLD)
    assert check.counts[kind] >= 1
    assert not check.is_clean


def step(position: int, order_id: str, bot: str, state: int, at_s: float, sent_s: float = 0.0) -> Transition:
    intended_ns = round(at_s * S) if not sent_s else round((sent_s - (sent_s - at_s)) * S)
    return Transition(position, round(max(at_s, sent_s) * S), order_id, bot, state, 0, intended_ns, round(sent_s * S))


def test_the_feed_must_tell_the_last_state_and_leave_a_final_one() -> None:
    steps = [step(1, "c-1", "c", SETTLED, 1.0), step(2, "c-1", "c", UNKNOWN, 2.0)]
    check = check_ledger([order()], [CONTRACT], [], steps)
    assert check.feed_gaps == 2
    corrected = [step(1, "c-1", "c", NOT_FOUND, 1.0), step(2, "c-1", "c", SETTLED, 2.0)]
    assert check_ledger([order()], [CONTRACT], [], corrected).is_clean


def _waiting(wait_ms_with: float, wait_ms_without: float) -> list[Transition]:
    """A hundred orders of two bots; a third one has an unknown order in the second half."""
    steps = [step(1, "u-1", "u", UNKNOWN, 500.0)]
    for number in range(100):
        at_s = 10.0 * (number + 1)
        wait_s = (wait_ms_with if at_s >= 500 else wait_ms_without) / 1000
        steps.append(step(number + 2, f"a-{number}", "a", SENT, at_s, at_s + wait_s * (1 + number % 7 / 10)))
    return steps


def test_waits_because_of_others_are_seen() -> None:
    found = waits_of(_waiting(200, 10), [], 2000 * S)
    assert found["caused_by_others"]
    assert found["others_unknown"]["n"] + found["nobody_unknown"]["n"] == 100


def test_equal_waits_are_caused_by_nobody_and_those_after_a_cut_do_not_count() -> None:
    assert not waits_of(_waiting(10, 10), [], 2000 * S)["caused_by_others"]
    cuts = [round((10.0 * number - 1) * S) for number in range(51, 101)]
    found = waits_of(_waiting(200, 10), cuts, 2000 * S)
    assert (found["others_unknown"]["n"], found["enough"], found["caused_by_others"]) == (1, False, False)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_chance_of_a_longer_wait_is_counted_pair_by_pair(these: list[int], those: list[int]) -> None:
    chance, low = chance_of_more([float(one) for one in these], [float(one) for one in those])
    pairs = [(a > b) + (a == b) / 2 for a in these for b in those]
    assert chance == pytest.approx(sum(pairs) / len(pairs))
    assert low < chance


async def _through(proxy: Proxy, cut: Cut | None, part: float = 0.5) -> bytes:
    """Ask an echo for a hundred bytes over a line; what comes back until it ends, or for half a second."""
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        if cut is not None:
            (link,) = proxy.links.values()
            link.hit(cut, 0.001, part, lasts_s=0.3)
            if cut in (Cut.SLOW, Cut.DRIBBLE):
                writer.write(b"y" * 100)
                return await reader.readexactly(100)
        writer.write(b"y" * 100)
        return await asyncio.wait_for(reader.read(-1), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("cut", "back"),
    [
        (Cut.RESET, 0),
        (Cut.CLOSE, 0),
        (Cut.MID_ANSWER, 30),
        (Cut.MID_CALL, 30),
        (Cut.DEAF, 0),
        (Cut.SILENT, 0),
        (Cut.SLOW, 100),
        (Cut.DRIBBLE, 100),
    ],
)
async def test_a_line_breaks_as_it_is_told_to(cut: Cut, back: int) -> None:
    heard = bytearray()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                heard.extend(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # as it should be, when the line is reset
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, proxied(address) as proxy:
        came = await _through(proxy, cut, 0.3)
    if cut is Cut.MID_CALL:
        assert len(heard) == 1 + back
    else:
        assert len(came) == back
    assert len(heard) == (101 if cut in (Cut.MID_ANSWER, Cut.DEAF, Cut.SLOW, Cut.DRIBBLE) else len(heard))

"""Clocks that are wrong: of the machine, of Deriv, of a successor. None of them may hide a purchase or stop a bot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.common.clock import FleetClock
from derivfleet.deriv.vocabulary import Dialect
from tests.virtual_gateway import VirtualGateway, virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.virtual_gateway import Frame, Socket

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
HOUR_NS = 3600 * 10**9
NO_ORDERS = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="0 orders in two minutes: every tick looks half a minute old"
)


def not_found(off_s: float) -> Any:
    """A clock that is off by so much, and what it hides today."""
    reason = f"a lost purchase ends as not_found at a clock {off_s:+g} s off"
    return pytest.param(off_s, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))


async def assert_is_found(fleet: VirtualGateway, order_id: str) -> None:
    await asyncio.sleep(200)
    assert await fleet.state(order_id) == "settled"
    assert (await fleet.status()).foreign_trades == 0


@DIALECTS
@pytest.mark.parametrize("off_s", [-1.0, 0.0, 1.0, *map(not_found, (-30, -3, 3, 30))])
@virtual_time
async def test_a_clock_a_few_seconds_off_does_not_hide_the_first_purchase(
    tmp_path: Path, dialect: Dialect, off_s: float
) -> None:
    async with virtual_gateway(tmp_path, dialect, ahead_s=off_s) as fleet:
        await fleet.lose("first")
        await assert_is_found(fleet, "first")


@DIALECTS
@pytest.mark.parametrize("off_s", [-30.0, 30.0])
@virtual_time
async def test_a_clock_that_receipts_have_shown_to_be_off_does_not_hide_a_purchase(
    tmp_path: Path, dialect: Dialect, off_s: float
) -> None:
    async with virtual_gateway(tmp_path, dialect, ahead_s=off_s) as fleet:
        for number in range(8):
            await fleet.buy(f"before-{number}")
        await fleet.lose("lost")
        await assert_is_found(fleet, "lost")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="not_found after the clock stood still for 4 s or an hour, whatever receipts came since",
)
@DIALECTS
@pytest.mark.parametrize("receipts", [0, 7])
@pytest.mark.parametrize("slept_s", [4.0, 3600.0])
@virtual_time
async def test_a_purchase_lost_after_the_machine_slept_is_found(
    tmp_path: Path, dialect: Dialect, slept_s: float, receipts: int
) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        for number in range(20):
            await fleet.buy(f"before-{number}")
        fleet.deriv.clock.ahead_s += slept_s  # the lid was closed, and the gateway's clock stood still
        await asyncio.sleep(5)
        for number in range(receipts):
            await fleet.buy(f"after-{number}")
        await fleet.lose("lost")
        await assert_is_found(fleet, "lost")


@DIALECTS
@pytest.mark.parametrize("behind_s", [0.0, *map(not_found, (10, 3600))])
@virtual_time
async def test_a_successor_whose_clock_is_behind_finds_what_was_on_its_way(
    tmp_path: Path, dialect: Dialect, behind_s: float
) -> None:
    def keep_receipts(frame: Frame, _: Socket) -> Frame | None:
        return None if frame.get("msg_type") == "buy" else frame

    async with virtual_gateway(tmp_path, dialect) as fleet:
        fleet.deriv.on_answer = keep_receipts
        buying = asyncio.create_task(fleet.buy("lost"))
        await asyncio.sleep(0.5)
        assert await fleet.state("lost") == "sent"
        await fleet.die(behind_s)
        await assert_is_found(fleet, "lost")
        buying.cancel()


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="fleet time goes on by 1 ms in an hour with the lid closed"
)
def test_fleet_time_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FleetClock()
    began_ns, wall_ns, monotonic_ns = clock.now_ns(), time.time_ns(), time.monotonic_ns()
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    # An hour with the lid closed: Linux stops CLOCK_MONOTONIC then, CLOCK_BOOTTIME and the wall go on.
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns + HOUR_NS)
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns + 10**6)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock=0: boot_ns + HOUR_NS)
    assert clock.now_ns() - began_ns > 0.9 * HOUR_NS


@DIALECTS
@pytest.mark.parametrize("off_s", [-30.0, 0.0, pytest.param(30.0, marks=NO_ORDERS)])
@virtual_time
async def test_bots_trade_at_a_clock_that_is_half_a_minute_off(tmp_path: Path, dialect: Dialect, off_s: float) -> None:
    async with virtual_gateway(tmp_path, dialect, ahead_s=off_s) as fleet:
        fleet.run_bot()
        await asyncio.sleep(120)
        await fleet.stop_bots()
        assert len(await fleet.orders()) > 20


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="nothing in the status tells of clocks that are 30 s apart"
)
@DIALECTS
@virtual_time
async def test_the_status_tells_that_the_clocks_are_apart(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect, ahead_s=30) as fleet:
        for number in range(8):
            await fleet.buy(f"o{number}")
        assert "clock" in str(await fleet.status())

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from derivfleet.common.clock import FleetClock, ManualClock, clock_from_environment
from derivfleet.common.errors import ConfigurationError

TOLERANCE_NS = 50_000_000


def test_an_unhurried_clock_shows_the_wall() -> None:
    before_ns = time.time_ns()
    shown_ns = FleetClock().now_ns()
    after_ns = time.time_ns()
    assert before_ns - TOLERANCE_NS < shown_ns < after_ns + TOLERANCE_NS


def test_two_fast_clocks_with_one_origin_agree() -> None:
    origin_ns = time.time_ns()
    first, second = FleetClock(60, origin_ns), FleetClock(60, origin_ns)
    before_ns, shown_ns, after_ns = first.now_ns(), second.now_ns(), first.now_ns()
    assert before_ns - 60 * TOLERANCE_NS < shown_ns < after_ns + 60 * TOLERANCE_NS
    assert first.wall_s(60) == 1
    assert first.fleet_s(1) == 60


async def test_a_fast_clock_waits_less() -> None:
    clock = FleetClock(1000, time.time_ns())
    wall_start = time.monotonic()
    start_ns = clock.now_ns()
    await clock.sleep_until_ns(start_ns + 40_000_000_000)
    assert clock.now_ns() - start_ns >= 40_000_000_000
    await clock.sleep(40)
    with pytest.raises(TimeoutError):
        async with clock.timeout(40):
            await asyncio.Event().wait()
    assert time.monotonic() - wall_start < 30, "each of the three would take forty seconds of the wall"


async def test_no_timeout_is_for_ever() -> None:
    async with FleetClock().timeout(None):
        await asyncio.sleep(0)


async def test_virtual_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(1000)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now_s()))

    tasks = [asyncio.create_task(sleeper(name, span)) for name, span in (("late", 5), ("early", 2), ("never", 99))]
    await clock.advance(10)
    assert woken == [("early", 1002), ("late", 1005)]
    assert clock.now_s() == 1010
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await clock.advance(100)
    assert len(woken) == 2


async def test_virtual_time_stands_still_while_anything_runs_or_comes_over_a_socket() -> None:
    clock = ManualClock(1000)
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    echo, back = await asyncio.open_connection(sock=there)
    finished_s: list[float] = []

    async def answer() -> None:
        while byte := await echo.read(1):
            back.write(byte)

    async def ask() -> None:
        await clock.sleep(1)
        for _ in range(5):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        for _ in range(10):
            await asyncio.sleep(0)
        finished_s.append(clock.now_s())

    tasks = [asyncio.create_task(work) for work in (answer(), ask(), clock.sleep(2))]
    await clock.advance(2)
    assert finished_s == [1001]
    writer.close()
    await asyncio.gather(*tasks)
    back.close()


async def test_virtual_timeouts_expire_by_virtual_time() -> None:
    clock = ManualClock()
    outcomes: list[str] = []

    async def wait() -> None:
        try:
            async with clock.timeout(3):
                await asyncio.Event().wait()
        except TimeoutError:
            outcomes.append("expired")
        async with clock.timeout(3):
            outcomes.append("in time")
        async with clock.timeout(None):
            outcomes.append("for ever")

    task = asyncio.create_task(wait())
    await clock.advance(2)
    assert outcomes == []
    await clock.advance(2)
    await task
    assert outcomes == ["expired", "in time", "for ever"]
    assert (clock.speed, clock.wall_s(3), clock.fleet_s(3)) == (1.0, 3, 3)


async def test_a_wait_that_is_over_returns_at_once() -> None:
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep_until_ns(0)


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "1e9", "nan"])
def test_a_wrong_speed_is_named(speed: str) -> None:
    with pytest.raises(ConfigurationError, match="SPEED: must be a number"):
        clock_from_environment({"SPEED": speed})


def test_a_fast_clock_needs_the_shared_origin() -> None:
    with pytest.raises(ConfigurationError, match="DERIVFLEET_CLOCK_ORIGIN_NS"):
        clock_from_environment({"SPEED": "60"})
    assert clock_from_environment({"SPEED": "60", "DERIVFLEET_CLOCK_ORIGIN_NS": "5"}).speed == 60
    assert clock_from_environment({}).speed == 1

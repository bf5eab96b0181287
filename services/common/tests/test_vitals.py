"""What a process tells of what it holds on to."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.vitals import Vitals, every_wall_s, tell


@pytest.mark.parametrize(("text", "every_s"), [("0", 0.0), ("0.5", 0.5), ("86400", 86_400.0)])
def test_how_often_is_read_from_the_environment(text: str, every_s: float) -> None:
    assert every_wall_s({"DERIVFLEET_VITALS_WALL_S": text}) == every_s
    assert every_wall_s({}) == 0


@pytest.mark.parametrize("text", ["", "often", "-1", "86401", "nan"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="DERIVFLEET_VITALS_WALL_S: must be a number of seconds"):
        every_wall_s({"DERIVFLEET_VITALS_WALL_S": text})


async def test_tasks_are_counted_and_what_a_service_adds() -> None:
    vitals = Vitals()
    vitals.add(lambda: {"orders_open": 3})
    before = vitals.look()
    task = asyncio.create_task(asyncio.Event().wait())
    after = vitals.look()
    task.cancel()
    assert (after["tasks"] - before["tasks"], after["orders_open"]) == (1, 3)
    assert after["objects"] > 0
    assert after["threads"] > 0


async def test_they_are_logged_again_and_again() -> None:
    with capture_logs() as logs:
        telling = asyncio.create_task(tell(Vitals(), 0.0))
        while len(logs) < 2:  # noqa: ASYNC110 - log lines set no event
            await asyncio.sleep(0)
        telling.cancel()
    assert {line["event"] for line in logs} == {"vitals"}
    assert all(line["tasks"] >= 1 for line in logs)

"""doctor against real sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from typer.testing import CliRunner

from derivfleet.cli.checks.result import Mark
from derivfleet.cli.checks.services import check_deriv
from derivfleet.cli.commands import app
from derivfleet.common.clock import FleetClock
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from conftest import Fleet


@pytest.fixture
def deriv(serve: Callable[[web.Application], Awaitable[str]]) -> Callable[[str], Awaitable[str]]:
    """Starts a server that answers every message with a text; gives its host:port."""

    async def start(answer: str) -> str:
        async def talk(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                assert json.loads(message.data)["time"] == 1
                await socket.send_str(answer)
            return socket

        application = web.Application()
        application.router.add_get("/trading/v1/options/ws/public", talk)
        return await serve(application)

    return start


@pytest.mark.parametrize(
    ("off_s", "mark", "words"),
    [(0, Mark.GOOD, "agrees"), (900, Mark.BAD, "behind"), (-900, Mark.BAD, "ahead")],
)
async def test_the_clock_is_compared_with_derivs(
    deriv: Callable[[str], Awaitable[str]], off_s: int, mark: Mark, words: str
) -> None:
    clock = FleetClock()
    address = await deriv(json.dumps({"msg_type": "time", "time": int(clock.now_s()) + off_s}))
    result = await check_deriv("Deriv", f"ws://{address}/trading/v1/options/ws/public", clock)
    assert result.mark is mark
    assert words in result.line


@pytest.mark.parametrize("answer", [json.dumps({"msg_type": "time", "error": {"code": "X"}}), "not json", "[]"])
async def test_an_answer_that_is_no_time_is_a_finding(deriv: Callable[[str], Awaitable[str]], answer: str) -> None:
    result = await check_deriv("Deriv", f"ws://{await deriv(answer)}/trading/v1/options/ws/public", FleetClock())
    assert result.mark is Mark.BAD
    assert "something else than its time" in result.line


async def test_a_deriv_that_cannot_be_reached_is_a_finding() -> None:
    result = await check_deriv("Deriv", "ws://127.0.0.1:1/x", FleetClock())
    assert result.mark is Mark.BAD
    assert "cannot be reached" in result.line
    assert len(result.line.splitlines()) == 1


async def test_a_running_fleet_is_examined(fleet: Fleet, fleet_file: Path) -> None:
    result = await fleet.run("doctor", str(fleet_file))
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert any(line.startswith("✓ the gateway answers") for line in lines)
    assert any(line.startswith("✓ its orders connection of demo is ready") for line in lines)
    assert "✗ its reads connection of demo is waiting: no route to host" in lines
    assert any(line.startswith("✗ Deriv refused 1 calls") for line in lines)
    assert any(line.startswith("✗ 2 trades on demo are not the fleet's") for line in lines)
    assert any(line.startswith("✓ the metrics service answers") for line in lines)


async def test_services_of_a_running_fleet_that_are_gone_are_findings(fleet: Fleet, fleet_file: Path) -> None:
    fleet.write()
    result = await fleet.run("doctor", str(fleet_file))
    assert result.exit_code == 1
    assert sum("does not answer at 127.0.0.1:1" in line for line in result.stdout.splitlines()) == 2


async def test_a_lost_order_feed_is_a_finding(fleet: Fleet, fleet_file: Path) -> None:
    fleet.reports.report.completeness.feed_connected = False
    result = await fleet.run("doctor", str(fleet_file))
    assert "✗ the metrics service has lost the gateway's order feed" in result.stdout


def test_before_a_first_simulated_run_all_is_well(tmp_path: Path, fleet_file: Path) -> None:
    base = free_port(80, 100, 200)
    words = ["doctor", str(fleet_file), "--simulator", "--run-dir", str(tmp_path), "--ports", str(base)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stdout
    assert f"✓ the ports are free (127.0.0.1:{base} and following)" in result.stdout
    assert "· no fleet runs in" in result.stdout


def test_a_broken_fleet_file_is_a_matter_of_configuration(tmp_path: Path, fleet_file: Path) -> None:
    fleet_file.write_text("bots: [{name: x, strategy: digit_frequency, symbols: [R_7]}]")
    words = ["doctor", str(fleet_file), "--simulator", "--run-dir", str(tmp_path), "--ports", "21600"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "✗ fleet.yaml: bots.x.symbols: unknown symbol R_7" in result.stdout

"""``probe`` before it measures anything, and how it deals with the process that does."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from derivfleet.cli.commands import app
from derivfleet.cli.probe.process import run_probe
from derivfleet.cli.probe.progress import ProbeProgress
from derivfleet.cli.probe.session import gateway_beside
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.run_dir import RunDir
from derivfleet.cli.run.supervisor import Program
from derivfleet.common.clock import ManualClock
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Fleet
    from typer.testing import Result

TALKATIVE = """
import sys
print('{"event": "plan", "login_id": "DOT1"}', flush=True)
print("probe: DERIV_TOKEN: Deriv does not accept it", file=sys.stderr)
sys.exit(2)
"""
ORDERLY = """
import signal, sys, time
def end(*_):
    print('{"event": "report"}', flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
print('{"event": "step"}', flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"event": "step"}', flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DERIV_TOKEN", "DERIV_APP_ID"):
        monkeypatch.delenv(name, raising=False)


def refused(folder: Path, *words: str, ports: int = 0) -> Result:
    base = ports or free_port(80, 100, 200)
    places = ("--out", str(folder / "probe"), "--run-dir", str(folder / "run"), "--ports", str(base))
    result = CliRunner().invoke(app, ["probe", *words, *places])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert not (folder / "probe").exists(), "nothing was begun"
    return result


def test_without_simulator_a_credential_is_needed(fleet_file: Path) -> None:
    line = refused(fleet_file.parent, str(fleet_file)).stderr
    assert line == "derivfleet: DERIV_TOKEN: is not set: export DERIV_TOKEN and DERIV_APP_ID, or add --simulator\n"


def test_a_broken_fleet_file_is_named(fleet_file: Path) -> None:
    fleet_file.write_text("bots: [{name: x, strategy: digit_frequency, symbols: [R_100], stake: much}]")
    assert "bots.x.stake" in refused(fleet_file.parent, str(fleet_file), "--simulator").stderr


def test_a_port_in_use_is_named(fleet_file: Path) -> None:
    base = free_port(80, 100, 200)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 200))
        taken.listen()
        line = refused(fleet_file.parent, str(fleet_file), "--simulator", ports=base).stderr
    assert line.startswith(f"derivfleet: port {base + 200}: the simulator cannot listen there")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--speed", "10"), "--speed"),
        (("--simulator-settings", "/nonexistent.yaml"), "--simulator-settings"),
        (("--simulator", "--simulator-settings", "/nonexistent.yaml"), "--simulator-settings"),
        (("--simulator", "--only", "buying"), "--only"),
        (("--simulator", "--dialect", "esperanto"), "--dialect"),
    ],
)
def test_options_that_make_no_sense_are_named(
    fleet_file: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], names: str
) -> None:
    monkeypatch.setenv("DERIV_TOKEN", "pat_of_the_test")
    monkeypatch.setenv("DERIV_APP_ID", "myapp")
    line = refused(fleet_file.parent, str(fleet_file), *words).stderr
    assert names in line
    assert "pat_of_the_test" not in line


async def test_a_gateway_that_runs_beside_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    address = fleet.folder.read_file().gateway
    elsewhere = RunDir(tmp_path / "elsewhere")
    nobody = replace(Ports.from_base(7600), gateway="127.0.0.1:1")
    usual = replace(nobody, gateway=address)
    assert await gateway_beside(elsewhere, usual) == address
    assert await gateway_beside(elsewhere, nobody) == ""
    assert await gateway_beside(fleet.folder, nobody) == "", "a simulated one uses another account"
    fleet.write(gateway=address, simulated=False)
    assert await gateway_beside(fleet.folder, nobody) == address
    fleet.write(gateway="127.0.0.1:1", simulated=False)
    assert await gateway_beside(fleet.folder, nobody) == ""


def program(folder: Path, code: str) -> Program:
    return Program("probe", (sys.executable, "-c", code), dict(os.environ), folder / "logs" / "probe.log")


async def test_what_a_probe_says_is_heard_and_what_it_logs_is_kept(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    assert await run_probe(program(tmp_path, TALKATIVE), heard.append) == 2
    assert heard == [{"event": "plan", "login_id": "DOT1"}]
    assert (tmp_path / "logs/probe.log").read_text() == "probe: DERIV_TOKEN: Deriv does not accept it\n"


async def test_one_interrupt_lets_it_end_in_order(tmp_path: Path) -> None:
    heard: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        heard.append(event["event"])
        if event["event"] == "step":
            os.kill(os.getpid(), signal.SIGINT)

    assert await run_probe(program(tmp_path, ORDERLY), hear) == 1
    assert heard == ["step", "report"]


async def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    async def insist() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    insisting: list[asyncio.Task[None]] = []
    code = await run_probe(program(tmp_path, STUBBORN), lambda _: insisting.append(asyncio.create_task(insist())))
    await insisting[0]
    assert code == -signal.SIGKILL


async def test_a_probe_does_not_outlive_whoever_waits_for_it(tmp_path: Path) -> None:
    begun = asyncio.Event()
    waiting = asyncio.create_task(run_probe(program(tmp_path, STUBBORN), lambda _: begun.set()))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()


def test_in_a_pipe_each_step_is_a_line() -> None:
    out = io.StringIO()
    progress = ProbeProgress(100, 1.0, ManualClock(), Console(file=out, width=120))
    progress.hear({"event": "plan"})
    progress.hear({"event": "step", "name": "latency", "what": "how long answers take", "usual_s": 20})
    progress.hear({"event": "waiting", "seconds": 5})
    progress.hear({"event": "step", "name": "window", "what": "how lists are counted", "usual_s": 80})
    assert out.getvalue() == "how long answers take …\nhow lists are counted …\n"


async def test_on_a_terminal_it_shows_how_far_it_is() -> None:
    out, clock = io.StringIO(), ManualClock()
    progress = ProbeProgress(100, 10.0, clock, Console(file=out, width=120, force_terminal=True))
    showing = asyncio.create_task(progress.show())
    progress.hear({"event": "step", "name": "latency", "what": "how long answers take", "usual_s": 20})
    await clock.advance(1)
    assert progress.done_s == pytest.approx(10)
    await clock.advance(60)
    assert progress.done_s == pytest.approx(20), "a step that takes longer than usual does not run ahead"
    progress.hear({"event": "step", "name": "window", "what": "how lists are counted", "usual_s": 80})
    progress.hear({"event": "waiting", "seconds": 50})
    await clock.advance(1)
    assert progress.done_s == pytest.approx(30)
    showing.cancel()
    await asyncio.wait((showing,))
    assert "window (waiting 4" in out.getvalue()

"""How a service starts and ends, seen from outside: a real process."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 60
PROGRAM = """
import asyncio, sys
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.service import run_service
from derivfleet.common.settings import ServiceSettings

async def work(settings, clock, telemetry, stop):
    print("up", flush=True)
    match sys.argv[1]:
        case "serve":
            await stop.wait()
            print("drained", flush=True)
        case "misconfigured":
            raise ConfigurationError("listen", "port 1 is in use")
        case "broken":
            raise RuntimeError("unforeseen")

sys.exit(run_service("thing", ServiceSettings, work))
"""


def start(folder: Path, mode: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    program = folder / "thing.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), mode]
    return subprocess.Popen(  # noqa: S603 - our own program
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "serve")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert out == "drained\n"
    assert process.returncode == 0


def test_wrong_configuration_ends_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    process = start(tmp_path, "misconfigured")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert err == "thing: listen: port 1 is in use\n"
    assert process.returncode == 2


def test_a_wrong_setting_ends_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    process = start(tmp_path, "serve", {"SPEED": "warp"})
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (out, process.returncode) == ("", 2)
    assert err == "thing: SPEED: must be a number from 0.1 to 1000, not 'warp'\n"


def test_the_unforeseen_is_logged_and_ends_in_exit_code_1(tmp_path: Path) -> None:
    process = start(tmp_path, "broken")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "unforeseen" in err

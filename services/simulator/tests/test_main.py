"""The service as a process: it starts, serves, ends, and says in one line what it cannot do."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 60


def environment(**told: str) -> dict[str, str]:
    """This process's, without what another simulator was told."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("DERIVFLEET_") and name != "SPEED"
    }
    return clean | {f"DERIVFLEET_SIMULATOR_{name}": value for name, value in told.items()}


def run(**told: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "derivfleet.simulator"]
    return subprocess.Popen(command, env=environment(**told), stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours


def test_it_serves_until_it_is_asked_to_stop() -> None:
    process = run(LISTEN="127.0.0.1:0", TOKEN="a1-SECRET", LOG_FORMAT="text")
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"address=127\.0\.0\.1:(\d+)", line)
    assert found, line
    with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/health", timeout=PATIENCE_S) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "a1-SECRET" not in line + rest


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "DERIVFLEET_SIMULATOR_TOKEN: is required"),
        ({"TOKEN": "bad token!"}, "DERIVFLEET_SIMULATOR_TOKEN"),
        ({"TOKEN": "a1", "LISTEN": "nowhere"}, "DERIVFLEET_SIMULATOR_LISTEN: must be host:port"),
        ({"TOKEN": "a1", "LISTEN": "127.0.0.1:99999"}, "DERIVFLEET_SIMULATOR_LISTEN: must be host:port"),
        ({"TOKEN": "a1", "COLOUR": "red"}, "DERIVFLEET_SIMULATOR_COLOUR"),
        ({"TOKEN": "a1", "SETTINGS": "/nowhere.yaml"}, "DERIVFLEET_SIMULATOR_SETTINGS: cannot read"),
    ],
)
def test_bad_configuration_ends_in_one_line(told: dict[str, str], words: str) -> None:
    process = run(**told)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert words in errors
    assert errors.count("\n") == 1


def test_a_port_in_use_ends_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = run(LISTEN=f"127.0.0.1:{port}", TOKEN="a1-SECRET")
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert f"DERIVFLEET_SIMULATOR_LISTEN: cannot listen on 127.0.0.1:{port}" in errors
    assert errors.count("\n") == 1


def test_a_settings_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text("start_balance: '7.00'\n")
    process = run(LISTEN="127.0.0.1:0", TOKEN="a1-SECRET", LOG_FORMAT="text", SETTINGS=str(path))
    assert process.stderr is not None
    found = re.search(r"address=127\.0\.0\.1:(\d+)", process.stderr.readline())
    assert found
    with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/ledger", timeout=PATIENCE_S) as answer:
        assert b'"balance": "7.00"' in answer.read()
    process.terminate()
    process.communicate(timeout=PATIENCE_S)

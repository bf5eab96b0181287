"""``derivfleet up`` as people type it: a real process with real children."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import CANARY, first_port, run, start


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def secrets_of(folder: Path) -> list[str]:
    return [CANARY, *(file.read_text() for file in (folder / "tokens").glob("*.token"))]


@pytest.mark.parametrize("dialect", ["options", pytest.param("legacy", marks=pytest.mark.long)])
def test_ten_bots_trade_and_the_ledger_agrees(tmp_path: Path, dialect: str) -> None:
    folder = tmp_path / "run"
    code, out = run(
        *("up", "fleet.yaml", "--simulator", "--dialect", dialect, "--duration", "20", "--speed", "5"),
        *("--run-dir", str(folder), "--ports", first_port()),
        DERIV_TOKEN=CANARY,
        DERIV_APP_ID="canary-app-id-5512",
    )
    assert code == 0, out
    summary = summary_of(folder)
    assert summary["dialect"] == dialect
    assert summary["ledger_match"] is True
    assert summary["quota"]["rejected_by_deriv"] == 0
    assert 0 < summary["quota"]["utilisation"] <= 1
    assert 0 < summary["seconds_to_first_trade"] < 60
    assert len(summary["bots"]) == 10
    for bot in summary["bots"]:
        assert bot["settled"] >= 1, out
        assert bot["latency_ms"]["p99"] >= bot["latency_ms"]["p50"] > 0
    bots = {bot["bot"] for bot in summary["bots"]}
    memory = summary["memory"]["by_process_mb"]
    assert set(memory) == {*bots, "gateway", "metrics", "simulator", "fork_server", "derivfleet up"}
    assert sum(memory.values()) == pytest.approx(summary["memory"]["total_mb"], abs=1)
    assert "matches to the cent" in out
    # The page is gone with the run, and that is said; its figures stay as a page of their own.
    report = (folder / "report.html").read_text()
    assert all(bot["bot"] in report for bot in summary["bots"])
    assert f"report: {folder / 'report.html'}" in out
    page = re.search(r"the page (http://127\.0\.0\.1:\d+) ended with the run", out)
    assert page is not None
    assert f"trading; the page is {page[1]} " in out
    # Secrets are in nobody's logs, records or output. Tokens lie in their own folder, readable by their owner alone.
    for file in folder.rglob("*"):
        if file.is_file() and file.parent.name != "tokens":
            content = file.read_bytes()
            assert not [secret for secret in secrets_of(folder) if secret.encode() in content], file
    assert not [secret for secret in secrets_of(folder) if secret in out]
    assert (folder / "tokens").stat().st_mode & 0o077 == 0


def test_one_interrupt_ends_everything(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("up", "--simulator", "--run-dir", str(folder), "--ports", first_port())
    assert process.stdout is not None
    for line in process.stdout:
        if "trading" in line:
            break
    children = subprocess.run(  # noqa: S603 - ps with our own pid
        ["/bin/ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert children
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bots: [{name: a, strategy: digit_frequency, symbols: [R_10], stake: x}]", "bots.a.stake"),
        ("bots: [{name: a, strategy: nothing, symbols: [R_10]}]", "unknown strategy 'nothing'"),
        ("bots: [{name: a, strategy: digit_frequency, symbols: [R_11]}]", "unknown symbol R_11"),
        ("bots: [{name: a, strategy: digit_frequency, symbols: [R_10], stak: 1}]", "bots.a.stak: unknown key"),
        ("bots: [", "is not YAML"),
    ],
)
def test_a_wrong_fleet_file_starts_nothing(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(text)
    code, out = run("up", str(file), "--simulator", "--run-dir", str(tmp_path / "run"))
    assert code == 2
    assert named in out
    assert len(out.strip().splitlines()) == 1
    assert not (tmp_path / "run/logs").exists()


def test_without_a_token_it_says_what_to_do(tmp_path: Path) -> None:
    code, out = run("up", "--run-dir", str(tmp_path / "run"), DERIV_TOKEN="", DERIV_APP_ID="")
    assert code == 2
    assert "DERIV_TOKEN" in out
    assert "--simulator" in out
    assert len(out.strip().splitlines()) == 1


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    base = first_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(base) + 100))
        taken.listen()
        code, out = run("up", "--simulator", "--run-dir", str(tmp_path / "run"), "--ports", base)
    assert code == 2
    assert str(int(base) + 100) in out
    assert len(out.strip().splitlines()) == 1

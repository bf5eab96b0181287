"""``derivfleet probe`` as people type it: a real process, which measures a simulator in another."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from commands import CANARY, first_port, run, start

from derivfleet.common.fleet import Limits

if TYPE_CHECKING:
    from pathlib import Path


def words(folder: Path, *more: str, speed: int = 10, settings: str = "streams_per_connection: 6") -> list[str]:
    file = folder / "simulator.yaml"
    file.write_text(settings)
    told = ["--simulator", "--simulator-settings", str(file), "--speed", str(speed), "--ports", first_port()]
    return ["probe", "fleet.yaml", *told, "--out", str(folder / "probe"), *more]


def assert_no_secret(folder: Path, out: str) -> None:
    assert "canary" not in out
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in files if b"canary" in file.read_bytes()]


@pytest.mark.parametrize(("dialect", "consent"), [("options", "--yes"), ("legacy", "y")])
def test_it_measures_and_says_so_in_all_forms(tmp_path: Path, dialect: str, consent: str) -> None:
    asked = [] if consent == "y" else [consent]
    process = start(
        *words(tmp_path, *asked, "--dialect", dialect, "--only", "streams", "--only", "sockets"),
        stdin=subprocess.PIPE,
        DERIV_TOKEN=CANARY,
        DERIV_APP_ID="canary-app-id-5512",
    )
    out, _ = process.communicate(f"{consent}\n", timeout=120)
    assert process.returncode == 0, out
    assert "it buys nothing" in out
    assert ("Go on?" in out) == (consent == "y")
    assert "how many streams a socket may hold …" in out
    folder = tmp_path / "probe"
    report = json.loads((folder / "report.json").read_text())
    assert report["dialect"] == dialect
    assert report["findings"]["streams_per_connection"]["values"] == [6]
    assert report["findings"]["connections"]["confidence"] == "measured"
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert Limits.model_validate(settings["accounts"][0]["limits"]).streams_per_connection == 6
    assert "| streams a socket | 6 | measured |" in (folder / "report.md").read_text()
    assert (folder / "settings.yaml").read_text() in out
    assert_no_secret(tmp_path, out)


def test_an_account_with_real_money_is_refused(tmp_path: Path) -> None:
    code, out = run(*words(tmp_path, "--yes", settings="account_type: real"), DERIV_TOKEN=CANARY)
    assert code == 3
    last = out.strip().splitlines()[-1]
    assert last.startswith("derivfleet: refused: account DOT90000001 holds real money")
    assert not (tmp_path / "probe/report.json").exists()
    assert_no_secret(tmp_path, out)


def test_without_a_yes_nothing_is_measured(tmp_path: Path) -> None:
    process = start(*words(tmp_path), stdin=subprocess.PIPE)
    out, _ = process.communicate("well\n", timeout=60)
    assert process.returncode == 1, out
    assert "DOT90000001, a demo account on the simulator's options API" in out
    assert out.endswith("Go on? [y/N] derivfleet: nothing was measured, for you did not say yes\n")


def test_an_interrupt_ends_it_with_what_was_found_so_far(tmp_path: Path) -> None:
    process = start(*words(tmp_path, "--yes", "--only", "streams", "--only", "window"))
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("how lists are counted: 30 a minute in which kind of window …"):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 1, rest
    assert "window was broken off: told to end" in rest
    report = json.loads((tmp_path / "probe/report.json").read_text())
    assert report["findings"]["streams_per_connection"]["values"] == [6]
    assert report["is_complete"] is False

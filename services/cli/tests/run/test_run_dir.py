"""The folder of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

from derivfleet.cli.errors import CommandError
from derivfleet.cli.run.run_dir import RunDir, RunFile
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from pathlib import Path


def run_file(pid: int, pid_started_s: float) -> RunFile:
    return RunFile(
        fleet="demo",
        account="demo",
        pid=pid,
        pid_started_s=pid_started_s,
        simulated=True,
        dialect="options",
        speed=1.0,
        origin_ns=0,
        gateway="127.0.0.1:7700",
        metrics="127.0.0.1:7600",
        web="127.0.0.1:7680",
    )


def test_a_simulated_accounts_records_begin_anew_and_a_real_ones_stay(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "run")
    folder.prepare(simulated=True)
    real, simulated = (folder.record("journal", simulated=kind) for kind in (False, True))
    wal = simulated.with_name(simulated.name + "-wal")
    for path in (real, simulated, wal, folder.log("gateway"), folder.summary):
        path.write_text("old")
    folder.prepare(simulated=True)
    assert real.exists()
    assert not any(path.exists() for path in (simulated, wal, folder.log("gateway"), folder.summary))
    simulated.write_text("old")
    folder.prepare(simulated=False)
    assert simulated.exists()


def test_what_is_written_is_read_and_a_living_supervisor_is_seen(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.write_file(run_file(os.getpid(), psutil.Process().create_time()))
    assert folder.running() == folder.read_file()


def test_a_process_id_that_is_used_again_is_not_the_fleet(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.write_file(run_file(os.getpid(), 1000.0))
    with pytest.raises(CommandError, match="has ended"):
        folder.running()


def test_a_folder_without_a_fleet_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="derivfleet up"):
        RunDir(tmp_path).running()
    (tmp_path / "fleet.json").write_text("{}")
    with pytest.raises(CommandError, match=r"fleet\.json is not what"):
        RunDir(tmp_path).running()


def test_a_folder_in_which_a_fleet_runs_is_not_used_twice(tmp_path: Path) -> None:
    parent = psutil.Process().parent()
    assert parent is not None
    folder = RunDir(tmp_path)
    folder.write_file(run_file(parent.pid, parent.create_time()))
    with pytest.raises(ConfigurationError, match="a fleet runs in"):
        folder.prepare(simulated=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot use"):
        RunDir(tmp_path / "file" / "run").prepare(simulated=True)


def test_a_disk_that_takes_nothing_is_one_line_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=f"cannot write in {tmp_path}: No such file"), RunDir(tmp_path).writing():
        (tmp_path / "gone/file").write_text("")


def test_the_fleet_that_is_kept_reads_back_as_the_same_fleet(tmp_path: Path, fleet_file: Path) -> None:
    fleet = load_fleet(fleet_file)
    kept = RunDir(tmp_path).write_fleet(fleet, Dialect.LEGACY)
    assert load_fleet(tmp_path / "fleet.yaml") == kept
    assert kept.bots == fleet.bots
    assert kept.accounts[0].dialect == "legacy"
    assert yaml.safe_load((tmp_path / "fleet.yaml").read_text())["bots"][0]["stake"] == "0.35"

"""``up`` before it starts anything: what it refuses, and in which words."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from derivfleet.cli.commands import app
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DERIV_TOKEN", "DERIV_APP_ID"):
        monkeypatch.delenv(name, raising=False)


def refused(folder: Path, *words: str, ports: int = 0) -> Result:
    places = ("--run-dir", str(folder / "run"), "--ports", str(ports or free_port(80, 100, 200)))
    result = CliRunner().invoke(app, ["up", *words, *places])
    assert result.exit_code == 2, result.output
    assert not (folder / "run").exists(), "nothing was begun"
    return result


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("colour: red\nbots: [{name: x, strategy: digit_frequency, symbols: [R_100]}]", "colour"),
        ("bots: [{name: x, strategy: martingale, symbols: [R_100]}]", "martingale"),
        ("bots: [{name: x, strategy: digit_frequency, symbols: [R_7]}]", "R_7"),
        ("bots: [{name: x, strategy: digit_frequency, symbols: [R_100], stake: much}]", "stake"),
        ("bots: [", "YAML"),
    ],
)
def test_a_broken_fleet_file_is_one_line_that_names_the_key(tmp_path: Path, text: str, names: str) -> None:
    (tmp_path / "fleet.yaml").write_text(text)
    result = refused(tmp_path, str(tmp_path / "fleet.yaml"), "--simulator")
    assert names in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_simulator_a_credential_is_needed(fleet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = refused(fleet_file.parent, str(fleet_file)).stderr
    assert line == "derivfleet: DERIV_TOKEN: is not set: export DERIV_TOKEN and DERIV_APP_ID, or add --simulator\n"
    monkeypatch.setenv("DERIV_TOKEN", "pat_of_the_test")
    line = refused(fleet_file.parent, str(fleet_file)).stderr
    assert "DERIV_APP_ID" in line.split(":")[1]
    assert "pat_of_the_test" not in line


def test_a_port_in_use_is_named(fleet_file: Path) -> None:
    base = free_port(80, 100, 200)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 100))
        taken.listen()
        line = refused(fleet_file.parent, str(fleet_file), "--simulator", ports=base).stderr
    assert line.startswith(f"derivfleet: port {base + 100}: the gateway cannot listen there")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--speed", "10"), "--speed"),
        (("--simulator-settings", "/nonexistent.yaml"), "--simulator-settings"),
        (("--simulator", "--simulator-settings", "/nonexistent.yaml"), "--simulator-settings"),
        (("--simulator", "--dialect", "esperanto"), "--dialect"),
        (("--simulator", "--duration", "soon"), "--duration"),
    ],
)
def test_options_that_make_no_sense_are_named(
    fleet_file: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], names: str
) -> None:
    monkeypatch.setenv("DERIV_TOKEN", "pat_of_the_test")
    monkeypatch.setenv("DERIV_APP_ID", "myapp")
    assert names in refused(fleet_file.parent, str(fleet_file), *words).stderr


@pytest.mark.parametrize("command", [[], ["up"], ["status"], ["quota"], ["orders"], ["report"], ["doctor"], ["probe"]])
def test_help_teaches_by_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "For example:" in result.stdout or not command
    assert f"derivfleet {' '.join(command)}".strip() in result.stdout

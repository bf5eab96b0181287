"""What each service is told, and above all what it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from derivfleet.cli.run.environments import OUTSIDE, environment_of, environment_of_probe
from derivfleet.cli.run.plan import Credential, Plan, Simulated
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.run_dir import RunDir

REAL_TOKEN = "the-users-own-token"
INHERITED = {
    "PATH": "/usr/bin",
    "DERIV_TOKEN": REAL_TOKEN,
    "DERIV_APP_ID": "real-app",
    "SPEED": "9",
    "DERIVFLEET_BOT_NAME": "of-another-run",
    "DERIVFLEET_CLOCK_ORIGIN_NS": "5",
}
SERVICES = ("simulator", "metrics", "gateway", "over-4")


def plan(*, simulated: bool) -> Plan:
    return Plan(
        run_dir=RunDir(Path("/run")),
        ports=Ports.from_base(7600),
        credential=Credential("made-up", "simulatedapp") if simulated else Credential(REAL_TOKEN, "real-app"),
        simulated=Simulated("42", Path("/settings.yaml")) if simulated else None,
        speed=10.0,
        origin_ns=1_795_161_600_000_000_000,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_the_users_token_reaches_nobody_in_a_simulated_run(service: str) -> None:
    environment = environment_of(service, plan(simulated=True), INHERITED)
    assert REAL_TOKEN not in environment.values()
    assert "real-app" not in environment.values()


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_gateway_gets_the_credential_of_a_real_account(service: str) -> None:
    environment = environment_of(service, plan(simulated=False), INHERITED)
    if service == "simulator":
        assert "DERIV_TOKEN" not in environment
    else:
        assert ("DERIV_TOKEN" in environment, REAL_TOKEN in environment.values()) == ((service == "gateway",) * 2)


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_metrics_service_gets_what_speaks_to_the_outside(service: str) -> None:
    own = {name: f"canary-{name}" for name in OUTSIDE}
    environment = environment_of(service, plan(simulated=True), INHERITED | own)
    assert {name: environment[name] for name in OUTSIDE if name in environment} == (own if service == "metrics" else {})


@pytest.mark.parametrize("service", SERVICES)
def test_all_share_one_clock_and_nothing_of_another_run(service: str) -> None:
    environment = environment_of(service, plan(simulated=True), INHERITED)
    assert environment["SPEED"] == "10"
    assert environment["DERIVFLEET_CLOCK_ORIGIN_NS"] == "1795161600000000000"
    assert environment["PATH"] == "/usr/bin"
    assert "of-another-run" not in environment.values()


def test_with_a_simulator_the_gateway_talks_to_it() -> None:
    environment = environment_of("gateway", plan(simulated=True), INHERITED)
    assert environment["DERIVFLEET_GATEWAY_DERIV_URL"] == "http://127.0.0.1:7800"
    assert environment["DERIVFLEET_GATEWAY_LEGACY_URL"] == "ws://127.0.0.1:7800"
    assert (environment["DERIV_TOKEN"], environment["DERIV_APP_ID"]) == ("made-up", "simulatedapp")
    assert environment["DERIVFLEET_GATEWAY_JOURNAL"] == "/run/journal.simulator.sqlite"
    simulator = environment_of("simulator", plan(simulated=True), INHERITED)
    assert simulator["DERIVFLEET_SIMULATOR_TOKEN"] == "made-up"
    assert simulator["DERIVFLEET_SIMULATOR_SEED"] == "42"
    assert simulator["DERIVFLEET_SIMULATOR_SETTINGS"] == "/settings.yaml"


def test_without_a_simulator_the_gateway_is_told_no_other_address() -> None:
    environment = environment_of("gateway", plan(simulated=False), INHERITED)
    assert not any(name.endswith("_URL") for name in environment)
    assert environment["DERIVFLEET_GATEWAY_JOURNAL"] == "/run/journal.sqlite"


def test_a_bot_is_told_its_name_and_its_own_token_file() -> None:
    environment = environment_of("over-4", plan(simulated=True), INHERITED)
    assert environment["DERIVFLEET_BOT_NAME"] == "over-4"
    assert environment["DERIVFLEET_BOT_TOKEN_FILE"] == "/run/tokens/over-4.token"
    assert environment["DERIVFLEET_BOT_OTLP_ENDPOINT"] == "127.0.0.1:7600"


def test_a_probe_logs_in_as_the_gateway_does_and_is_told_no_more_than_it_needs() -> None:
    real = environment_of_probe(plan(simulated=False), {"ACCOUNT": "demo"}, INHERITED)
    assert (real["DERIV_TOKEN"], real["DERIV_APP_ID"]) == (REAL_TOKEN, "real-app")
    assert {name for name in real if name.startswith("DERIVFLEET_")} == {
        "DERIVFLEET_PROBE_ACCOUNT",
        "DERIVFLEET_CLOCK_ORIGIN_NS",
    }
    simulated = environment_of_probe(plan(simulated=True), {"ACCOUNT": "demo"}, INHERITED)
    assert REAL_TOKEN not in simulated.values()
    assert simulated["DERIVFLEET_PROBE_DERIV_URL"] == "http://127.0.0.1:7800"
    assert simulated["DERIVFLEET_PROBE_LEGACY_URL"] == "ws://127.0.0.1:7800"
    assert simulated["SPEED"] == "10"

"""The probe finds out how the simulator was set, over real sockets in both dialects, and buys nothing.

Its experiments have bounds in time and tell windows from the moments at which calls were let through, so time passes
only when neither of the two has anything to do: see ``skipping``.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import yaml
from running_fleet import APP_IDS, TOKEN, running_fleet
from skipping import SkippingClock, skipping

from derivfleet.cli.verbs.probe import ExperimentChoice
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.status import problem_of
from derivfleet.connection.login import RealMoneyError
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.account.limits_table import table_of
from derivfleet.probe.__main__ import Probe
from derivfleet.probe.core.advice import advise
from derivfleet.probe.core.bounds import Experiment
from derivfleet.probe.core.findings import Confidence
from derivfleet.probe.core.theories import WindowKind
from derivfleet.probe.report import Report, json_of, markdown_of, settings_of, text_of
from derivfleet.probe.settings import ProbeSettings
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.simulator.wire.application import running
from derivfleet.v1 import trading_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
LOGIN_IDS = {Dialect.OPTIONS: "DOT90000001", Dialect.LEGACY: "VRTC90000001"}
BUCKETS = {Dialect.OPTIONS: "lists", Dialect.LEGACY: "outcome"}


@dataclass
class Simulated:
    """A simulator that runs, and a probe of it that has not begun."""

    exchange: Exchange
    url: str
    probe: Probe

    async def report(self) -> tuple[int, Report]:
        code = await self.probe.run()
        report = self.probe.report()
        assert report is not None
        return code, report

    def calls(self) -> int:
        """All that the simulator has counted, but for pings."""
        counts = self.exchange.counts
        return counts.accepted.total() + counts.refused.total() - counts.accepted["ping"]


@asynccontextmanager
async def simulated(
    dialect: Dialect, simulator: dict[str, Any] | None = None, **told: Any
) -> AsyncGenerator[Simulated, None]:
    clock = SkippingClock()
    settings = SimulatorSettings.model_validate(simulator or {})
    exchange = Exchange("1", Credentials(TOKEN, APP_IDS[dialect]), settings, int(clock.now_s()))
    async with running(exchange, clock, "127.0.0.1", 0) as served:
        probe = ProbeSettings.model_validate(
            {
                "confirmed": LOGIN_IDS[dialect],
                "deriv_url": f"http://127.0.0.1:{served.port}",
                "legacy_url": f"ws://127.0.0.1:{served.port}",
                "DERIV_TOKEN": TOKEN,
                "DERIV_APP_ID": APP_IDS[dialect],
                **told,
            }
        )
        yield Simulated(exchange, f"http://127.0.0.1:{served.port}", Probe(probe, clock))


async def window_found(dialect: Dialect, kind: WindowKind, counts_refused: bool, limit: int) -> dict[str, object]:
    """What the experiments on windows say of a simulator."""
    # An hour that the legacy server tells itself, and that a fixed window needs to show what refused calls do.
    sizes = {60: limit, 3600: 1500 if dialect is Dialect.OPTIONS else 120}
    simulator = {
        "window_kind": kind.value,
        "count_refused": counts_refused,
        "limits": {dialect.value: {BUCKETS[dialect]: sizes}},
    }
    async with simulated(dialect, simulator, experiments="window,hour") as one:
        code, report = await one.report()
    window = report.notebook.window
    assert code == 0, text_of(report)
    assert window.kind.confidence is Confidence.MEASURED
    return {
        "kind": window.kind.value,
        "limit": window.limit.value,
        "counts_refused": window.counts_refused.values,
        "is_shared": window.is_shared.value,
    }


@DIALECTS
@pytest.mark.parametrize("counts_refused", [True, False])
@skipping
async def test_windows_are_found_to_be_as_they_are(dialect: Dialect, counts_refused: bool) -> None:
    limits = {WindowKind.FIXED_FROM_FIRST_HIT: 30, WindowKind.FIXED_ALIGNED: 24, WindowKind.SLIDING: 33}
    found = await asyncio.gather(
        *(window_found(dialect, kind, counts_refused, limit) for kind, limit in limits.items())
    )
    assert found == [
        {"kind": kind, "limit": limit, "counts_refused": (counts_refused,), "is_shared": True}
        for kind, limit in limits.items()
    ]


@DIALECTS
@skipping
async def test_caps_clock_and_latencies_are_found_and_the_fleet_file_takes_them(dialect: Dialect) -> None:
    simulator = {"streams_per_connection": 12, "connections_per_user": 3, "window_kind": "sliding"}
    async with simulated(dialect, simulator) as one:
        code, report = await one.report()
        refused = one.exchange.counts.refused
        contracts = [account.contracts for account in one.exchange.ledger.accounts.values()]
        calls = one.calls()
    assert code == 0, text_of(report)
    note = report.notebook
    assert (note.streams.value, note.connections.value) == (12, 3)
    assert note.clock.confidence is Confidence.MEASURED
    assert note.clock.values[0].low_ns <= 0 <= note.clock.values[0].high_ns
    rows = {row.call: row for row in report.latencies}
    assert {"ping", "time", "balance", "statement", "proposal", "portfolio", "ticks_history"} <= rows.keys()
    assert all(0 < row.p50_ms <= row.p90_ms <= row.p99_ms for row in rows.values())
    assert rows["balance"].count >= 20
    # Nothing was bought, nothing else was refused, and no call went uncounted.
    assert contracts == [{}, {}]
    assert set(refused) == {"portfolio"}, "streams are refused after they were counted"
    assert note.surprises == 0
    assert report.calls - rows["ping"].count >= calls
    fleet = Fleet.model_validate(
        {
            **yaml.safe_load(settings_of(report)),
            "bots": [{"name": "one", "strategy": "digit_frequency", "symbols": ["R_100"]}],
        }
    )
    limits = fleet.accounts[0].limits
    assert (limits.headroom, limits.streams_per_connection, limits.connections) == (1.0, 12, 3)
    assert table_of(dialect, fleet.accounts[0]).buckets[BUCKETS[dialect]].windows[60] == 30
    told = json_of(report)
    assert told["findings"]["window_kind"]["values"] == ["sliding"]
    for text in (text_of(report), markdown_of(report), settings_of(report), json.dumps(told)):
        assert TOKEN not in text
        assert "sliding" in text or "headroom" in text


@DIALECTS
@skipping
async def test_an_account_with_real_money_is_never_probed(dialect: Dialect) -> None:
    async with simulated(dialect, {"account_type": "real"}) as one:
        with pytest.raises(RealMoneyError):
            await one.probe.run()
        assert one.calls() <= 1, "a legacy socket has to log in to know"
        assert one.probe.report() is None


@DIALECTS
@skipping
async def test_without_confirmation_it_only_says_what_it_would_do(
    dialect: Dialect, capsys: pytest.CaptureFixture[str]
) -> None:
    async with simulated(dialect, confirmed="") as one:
        assert await one.probe.run() == 0
        assert one.calls() <= 3
    (plan,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert (plan["event"], plan["login_id"], plan["stake"]) == ("plan", LOGIN_IDS[dialect], "0")
    assert [step["name"] for step in plan["steps"]] == [str(choice) for choice in ExperimentChoice]
    assert plan["calls"] >= sum(step["calls"] for step in plan["steps"])
    assert 60 < plan["usual_s"] < plan["most_s"]


@skipping
async def test_another_account_than_the_confirmed_one_is_left_alone() -> None:
    async with simulated(Dialect.OPTIONS, confirmed="DOT11") as one:
        with pytest.raises(ConfigurationError, match="DERIVFLEET_PROBE_CONFIRMED: is DOT11, but the token belongs to"):
            await one.probe.run()
        assert one.calls() <= 2


@skipping
async def test_a_wrong_token_is_a_matter_of_configuration() -> None:
    async with simulated(Dialect.OPTIONS, DERIV_TOKEN="wrong-token-71b") as one:
        with pytest.raises(ConfigurationError) as caught:
            await one.probe.run()
    assert caught.value.key == "DERIV_TOKEN"
    assert "wrong-token-71b" not in str(caught.value)


@skipping
async def test_an_account_that_moves_meanwhile_ends_the_probe() -> None:
    async with simulated(Dialect.OPTIONS, {"window_kind": "sliding"}, experiments="window,sockets") as one:
        probing = asyncio.ensure_future(one.report())
        while len(one.probe.notebook.seen) < 8:
            assert not probing.done()
            await asyncio.sleep(0.25)
        # Somebody buys on the same account, or, which Deriv tells in the same way, resets its balance.
        account = one.exchange.options_account
        account.balance -= 5
        headers = {"Authorization": f"Bearer {TOKEN}", "Deriv-App-ID": APP_IDS[Dialect.OPTIONS]}
        url = f"{one.url}/trading/v1/options/accounts/{account.loginid}/reset-demo-balance"
        async with aiohttp.ClientSession(headers=headers) as session, session.post(url) as answer:
            assert answer.status == 200
        code, report = await probing
    assert code == 1
    assert "the account has moved meanwhile" in report.notebook.troubles[Experiment.WINDOW]
    assert report.notebook.window.kind.values == ()
    assert "headroom" not in advise(report.notebook).limits


@skipping
async def test_a_socket_that_dies_ends_one_experiment_and_not_the_others() -> None:
    async with simulated(Dialect.OPTIONS, {"streams_per_connection": 5}, experiments="latency,streams") as one:
        rule = {"kind": "drop_before", "call": "statement", "count": 1}
        async with aiohttp.ClientSession() as session, session.post(f"{one.url}/faults", json=rule) as answer:
            assert answer.status == 200
        code, report = await one.report()
    assert code == 1
    assert report.notebook.troubles == {Experiment.LATENCY: "statement was not answered: ConnectionClosed"}
    assert report.notebook.streams.value == 5
    assert "latency was broken off: statement was not answered" in text_of(report)


async def test_the_gateway_keeps_to_the_caps_that_the_fleet_file_names(tmp_path: Path) -> None:
    accounts = [{"key": "demo", "limits": {"streams_per_connection": 6}}]
    async with running_fleet(tmp_path, accounts=accounts) as fleet:
        # Four of a socket's six are kept for the account's own streams, so two sockets hold four of the bots'.
        symbols = ["R_10", "R_25", "R_50", "R_75", "R_100"]
        request = trading_pb2.StreamTicksRequest(account="demo", symbols=symbols)
        stream = fleet.trading.StreamTicks(request, metadata=fleet.as_bot("one"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stream:
                pass
    assert problem_of(caught.value).reason == "STREAMS_FULL"


def test_the_command_names_the_experiments_as_the_probe_does() -> None:
    assert [str(choice) for choice in ExperimentChoice] == [str(one) for one in Experiment if one != "hour"]

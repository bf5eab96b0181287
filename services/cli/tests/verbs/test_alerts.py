"""alerts, silence and unsilence, and the line that status has of the copy at Supabase."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from derivfleet.cli.verbs.alerts import seconds_of
from derivfleet.common.errors import ConfigurationError
from derivfleet.v1 import watching_pb2

if TYPE_CHECKING:
    from conftest import Fleet

T0_NS = 1_795_161_600_000_000_000


async def test_a_fleet_without_rules_says_so(fleet: Fleet) -> None:
    result = await fleet.run("alerts")
    assert (result.exit_code, result.stdout.strip()) == (
        0,
        "nothing is watched: the fleet file has no rules under `alerts`",
    )


async def test_alerts_and_silences_are_shown(fleet: Fleet) -> None:
    fired = watching_pb2.Alert(
        rule="lost",
        bot="over-4",
        condition="unknown_orders",
        threshold="0",
        value="2",
        unit="orders unknown",
        fired_time_ns=T0_NS,
        silenced=True,
    )
    over = watching_pb2.Alert(
        rule="gateway",
        condition="gateway_down",
        threshold="30",
        value="1",
        unit="s behind the gateway",
        fired_time_ns=T0_NS,
        cleared_time_ns=T0_NS + 60_000_000_000,
    )
    silence = watching_pb2.Silence(id=1, rule="lost", until_time_ns=T0_NS, reason="known")
    fleet.watching.alerts = watching_pb2.ListAlertsResponse(
        alerts=[fired, over], silences=[silence], rules=["gateway", "lost"], channels=["webhook"], untold=3
    )
    shown = (await fleet.run("alerts")).stdout
    for words in (
        "2 rules, told to webhook; 3 notices wait",
        "FIRING, silenced",
        "2 orders unknown",
        "2026-11-20 08:01:00",
        "silent until 2026-11-20 08:00:00 UTC: lost of every bot: known",
    ):
        assert words in shown
    told = json.loads((await fleet.run("alerts", "--json")).stdout)
    assert [one["rule"] for one in told["alerts"]] == ["lost", "gateway"]


async def test_silence_is_asked_for_by_rule_bot_and_length(fleet: Fleet) -> None:
    words = ("alerts", "silence", "lost", "--bot", "over-4", "--for", "2h", "--reason", "moving it")
    result = await fleet.run(*words)
    assert (result.exit_code, result.stdout) == (0, "silent until 2026-11-20 10:00:00 UTC: lost of over-4\n")
    asked = watching_pb2.SilenceAlertsRequest(rule="lost", bot="over-4", duration_s=7200, reason="moving it")
    assert fleet.watching.silenced == [asked]
    assert (await fleet.run("alerts", "unsilence", "lost", "--bot", "over-4")).stdout == "1 ended: lost of over-4\n"
    assert (await fleet.run("alerts", "unsilence")).stdout == "nothing was silenced: every rule of every bot\n"


@pytest.mark.parametrize("text", ["", "2", "h", "0m", "-1h", "31d", "1w", "1.5h"])
def test_a_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--for: must be like 30m, 2h or 7d"):
        seconds_of(text)


async def test_status_tells_how_far_the_copy_at_supabase_is(fleet: Fleet) -> None:
    assert "Supabase" not in (await fleet.run("status")).stdout
    orders = watching_pb2.ReplicaStatus(table="orders", rows=5, behind_rows=40, behind_s=12.4)
    fleet.watching.replication = watching_pb2.GetReplicationResponse(
        enabled=True, replicas=[orders], problem="UNREACHABLE"
    )
    line = "copy at Supabase: behind by orders 40 rows, 12 s; UNREACHABLE, trying again"
    assert line in (await fleet.run("status")).stdout
    told = json.loads((await fleet.run("status", "--json")).stdout)
    assert told["replication"]["replicas"][0]["behind_rows"] == "40"
    fleet.watching.replication = watching_pb2.GetReplicationResponse(enabled=True)
    assert "copy at Supabase: up to date" in (await fleet.run("status")).stdout

"""What is seen on a real cluster, one check after the other on one installation."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cluster import NAMESPACE, RELEASE, Cluster, Timed, within

from derivfleet.common.rpc.own_token import bearer
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHECKS", "Facts"]

BOT = "over-4"
SYMBOLS = {"1HZ100V", "1HZ75V", "1HZ50V", "1HZ25V"}
MOVE_S = 5.0
INSTALL_S = 90.0
Facts = dict[str, Any]
FINAL = (
    orders_pb2.ORDER_STATE_SETTLED,
    orders_pb2.ORDER_STATE_DENIED,
    orders_pb2.ORDER_STATE_REJECTED,
    orders_pb2.ORDER_STATE_NOT_FOUND,
)


def installs_and_trades(cluster: Cluster, facts: Facts) -> None:
    """No values: all pods ready and a first settled trade within 90 s, under Pod Security "restricted"."""
    cluster.run("kubectl", "create", "namespace", NAMESPACE)
    restricted = "pod-security.kubernetes.io/enforce=restricted"
    cluster.run("kubectl", "label", "namespace", NAMESPACE, restricted)
    timed = Timed()
    cluster.helm("install", RELEASE, "helm/derivfleet")
    within(INSTALL_S, "all pods ready", cluster.all_ready)
    facts["ready_s"] = timed.seconds
    within(INSTALL_S - timed.seconds, "a settled trade", lambda: cluster.settled() > 0)
    facts["first_trade_s"] = timed.seconds


def helm_test_passes(cluster: Cluster, _facts: Facts) -> None:
    """The chart's own test."""
    cluster.helm("test", RELEASE, "--timeout", "3m")


def page_and_report_are_reachable(cluster: Cluster, _facts: Facts) -> None:
    """By the commands that NOTES prints."""
    with cluster.forwarded(f"service/{RELEASE}-metrics", 7680) as address:
        page = urllib.request.urlopen(f"http://{address}/", timeout=10).read()
        assert b"<html" in page
        bearing = {"Authorization": f"Bearer {cluster.token('operator')}"}
        asked = urllib.request.Request(f"http://{address}/api/report", headers=bearing)
        report = json.loads(urllib.request.urlopen(asked, timeout=10).read())  # noqa: S310 - of the line above
        assert report["account"] == "demo"


def only_the_right_tokens_open(cluster: Cluster, _facts: Facts) -> None:
    """None, garbage, wrong audience, another's: refused, and logged without the token."""
    operator = cluster.token("operator")
    elsewhere = cluster.token("operator", "https://elsewhere.example")
    bot = cluster.token(f"bot-{BOT}")
    with cluster.forwarded(f"service/{RELEASE}-gateway", 7700) as address, grpc.insecure_channel(address) as channel:
        control = control_pb2_grpc.ControlServiceStub(channel)
        trading = trading_pb2_grpc.TradingServiceStub(channel)

        def status(token: str) -> grpc.StatusCode | None:
            metadata = bearer(token) if token else ()
            try:
                control.GetStatus(control_pb2.GetStatusRequest(), metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] - the stub's base class lacks it
                return code
            return None

        assert status(operator) is None
        assert status("") is grpc.StatusCode.UNAUTHENTICATED
        assert status("garbage") is grpc.StatusCode.UNAUTHENTICATED
        assert status(elsewhere) is grpc.StatusCode.UNAUTHENTICATED
        assert status(bot) is grpc.StatusCode.PERMISSION_DENIED
        other = next(order for order in cluster.orders() if order.bot != BOT)
        request = trading_pb2.CheckRequest(account="demo", order_id=other.order_id)
        with pytest.raises(grpc.RpcError, match="has no order"):
            trading.Check(request, metadata=bearer(bot), timeout=10)
    log = cluster.kubectl("logs", f"{RELEASE}-gateway-0")
    assert "call refused" in log
    for token in (operator, elsewhere, bot):
        assert token not in log
        assert token.split(".")[2] not in log


def policies_refuse_what_nobody_needs(cluster: Cluster, _facts: Facts) -> None:
    """A bot reaches the gateway, not the simulator; by real connections."""
    (bot, *_) = cluster.pods(f"bot-{BOT}")
    program = (
        "import socket\n"
        "def reach(host, port):\n"
        "    try: socket.create_connection((host, port), 3).close(); return True\n"
        "    except OSError: return False\n"
        f"print(reach('{RELEASE}-gateway', 7700), reach('{RELEASE}-simulator', 7800), reach('1.1.1.1', 443))"
    )
    assert cluster.python(bot, program).split() == ["True", "False", "False"]


def scaling_divides_the_symbols(cluster: Cluster, facts: Facts) -> None:
    """Four replicas, four symbols: one each."""
    cluster.kubectl("scale", f"deployment/{RELEASE}-bot-{BOT}", "--replicas=4")

    def divided() -> bool:
        held = cluster.held(BOT)
        return set(held) == SYMBOLS and len({pod for pod, _ in held.values()}) == 4

    facts["scaled_s"] = within(60, "four replicas with a symbol each", divided)


def a_killed_replica_loses_its_symbols_soon(cluster: Cluster, facts: Facts) -> None:
    """The symbols of a pod killed without grace are another's within five seconds."""
    held = cluster.held(BOT)
    victim, symbol = held["1HZ100V"][0], "1HZ100V"
    killed_s = time.time()
    cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")

    def moved() -> bool:
        now = cluster.held(BOT)
        return symbol in now and now[symbol][0] != victim and now[symbol][1] > killed_s

    within(30, f"{symbol} in other hands", moved)
    facts["moved_s"] = round(cluster.held(BOT)[symbol][1] - killed_s, 1)
    assert facts["moved_s"] <= MOVE_S, f"moved only after {facts['moved_s']} s"


def a_killed_gateway_comes_back(cluster: Cluster, facts: Facts) -> None:
    """Killed without grace in mid-trade; its successor buys and settles."""
    pod = f"{RELEASE}-gateway-0"
    killed = cluster.get("pod", pod)["metadata"]["uid"]
    timed = Timed()
    cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    def replaced() -> bool:
        found = json.loads(cluster.kubectl("get", "pods", "-o", "json"))["items"]
        return any(one["metadata"]["name"] == pod and one["metadata"]["uid"] != killed for one in found)

    within(60, "a new gateway", lambda: replaced() and cluster.all_ready())
    facts["gateway_back_s"] = timed.seconds
    known = {contract["contract_id"] for contract in cluster.ledger()["contracts"]}

    def trades() -> bool:
        fresh = [one for one in cluster.ledger()["contracts"] if one["contract_id"] not in known]
        return sum(one["sell_price"] is not None for one in fresh) >= 5

    within(60, "trades through the new gateway", trades)


def a_rollout_goes_through(cluster: Cluster, _facts: Facts) -> None:
    """Restart a bot's replicas one after the other, then scale back to one."""
    cluster.kubectl("rollout", "restart", f"deployment/{RELEASE}-bot-{BOT}")
    cluster.kubectl("rollout", "status", f"deployment/{RELEASE}-bot-{BOT}", "--timeout=120s")
    cluster.kubectl("scale", f"deployment/{RELEASE}-bot-{BOT}", "--replicas=1")

    def alone() -> bool:
        held = cluster.held(BOT)
        return set(held) == SYMBOLS and len({pod for pod, _ in held.values()}) == 1

    within(60, "one replica with all symbols", alone)


def uses_little(cluster: Cluster, facts: Facts) -> None:
    """CPU and memory of the whole fleet while it trades, as the kubelet counts them."""
    node = json.loads(cluster.run("kubectl", "get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    summary = json.loads(cluster.run("kubectl", "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    pods = [pod for pod in summary["pods"] if pod["podRef"]["namespace"] == NAMESPACE]
    facts["idle_cpu_millicores"] = round(sum(pod["cpu"].get("usageNanoCores", 0) for pod in pods) / 1e6)
    facts["idle_memory_mb"] = round(sum(pod["memory"].get("workingSetBytes", 0) for pod in pods) / 1e6)
    assert facts["idle_memory_mb"] > 0


def no_decision_was_traded_twice(cluster: Cluster, facts: Facts) -> None:
    """After all that: every purchase in the simulator's record is one order, and every cent is the same."""
    for deployment in cluster.get("deployments")["items"]:
        name = deployment["metadata"]["name"]
        if name.startswith(f"{RELEASE}-bot-"):
            cluster.kubectl("scale", f"deployment/{name}", "--replicas=0")
    within(90, "all orders at their end", lambda: all(order.state in FINAL for order in cluster.orders()))
    orders = [order for order in cluster.orders() if order.contract_id]
    contracts = {contract["contract_id"]: contract for contract in cluster.ledger()["contracts"]}
    assert {order.contract_id for order in orders} == set(contracts)
    assert max(Counter(order.order_id for order in orders).values()) == 1
    assert max(Counter(order.contract_id for order in orders).values()) == 1
    for order in orders:
        contract = contracts[order.contract_id]
        assert Decimal(order.buy_price) == Decimal(contract["buy_price"])
        assert Decimal(order.sell_price) == Decimal(contract["sell_price"])
    facts["trades"] = len(orders)


def uninstall_leaves_only_the_volumes(cluster: Cluster, _facts: Facts) -> None:
    """What NOTES names, and nothing else."""
    cluster.helm("uninstall", RELEASE, "--wait")
    cluster.kubectl("delete", "pod", f"{RELEASE}-first-trade", "--ignore-not-found")
    within(60, "no pods", lambda: not cluster.get("pods")["items"])
    kinds = "statefulsets,deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,pdb,pvc"
    left = {
        f"{item['kind']}/{item['metadata']['name']}"
        for item in cluster.get(kinds)["items"]
        if item["metadata"]["name"] not in ("kube-root-ca.crt", "default")
    }
    expected = {
        f"PersistentVolumeClaim/journal-{RELEASE}-gateway-0",
        f"PersistentVolumeClaim/store-{RELEASE}-metrics-0",
    }
    assert left == expected, left ^ expected


CHECKS: list[Callable[[Cluster, Facts], None]] = [
    installs_and_trades,
    helm_test_passes,
    page_and_report_are_reachable,
    only_the_right_tokens_open,
    policies_refuse_what_nobody_needs,
    scaling_divides_the_symbols,
    a_killed_replica_loses_its_symbols_soon,
    a_killed_gateway_comes_back,
    a_rollout_goes_through,
    uses_little,
    no_decision_was_traded_twice,
    uninstall_leaves_only_the_volumes,
]

"""kubectl and helm as functions, and the ways into a fleet that runs on a cluster."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from derivfleet.common.rpc.own_token import bearer
from derivfleet.v1 import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from derivfleet.v1 import orders_pb2

__all__ = ["Cluster", "Timed", "within"]

NAMESPACE = "derivfleet-e2e"
RELEASE = "fleet"
AUDIENCE = "derivfleet-gateway"


class Timed:
    """How long something took, in seconds."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 1)


def within(seconds: float, what: str, ask: Callable[[], bool]) -> float:
    """Ask until it is so; returns how long that took. AssertionError if it takes longer."""
    timed = Timed()
    while not ask():
        assert timed.seconds < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return timed.seconds


class Cluster:
    """One namespace of whatever cluster KUBECONFIG points at."""

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a command; AssertionError with what it said if it fails."""
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)  # noqa: S603 - our own commands
        assert not check or done.returncode == 0, (
            f"{' '.join(command[:6])}: {done.stderr.strip() or done.stdout.strip()}"
        )
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        return self.run("kubectl", "-n", NAMESPACE, *arguments, check=check, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        return self.run("helm", "-n", NAMESPACE, *arguments)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def pods(self, component: str) -> list[str]:
        """Names of the pods of a workload that are not ending."""
        return [
            pod["metadata"]["name"]
            for pod in self.get("pods")["items"]
            if pod["metadata"]["name"].startswith(f"{RELEASE}-{component}")
            and "deletionTimestamp" not in pod["metadata"]
            and pod["status"]["phase"] in ("Pending", "Running")
        ]

    def all_ready(self) -> bool:
        """Whether all pods that there are run and are ready."""
        pods = [pod for pod in self.get("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
        return bool(pods) and all(
            any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
            for pod in pods
            if pod["status"]["phase"] not in ("Succeeded", "Failed")
        )

    def python(self, pod: str, program: str) -> str:
        """Run a line of Python in a pod; the images have no shell to speak of."""
        return self.kubectl("exec", pod, "--", "python", "-c", program)

    def ledger(self) -> dict[str, Any]:
        """The simulator's own record."""
        program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:7800/ledger').read().decode())"
        accounts: list[dict[str, Any]] = json.loads(self.python(self.pods("simulator")[0], program))["accounts"]
        return next(account for account in accounts if account["contracts"] or account["loginid"].startswith("DOT"))

    def token(self, account: str, audience: str = AUDIENCE) -> str:
        return self.kubectl("create", "token", f"{RELEASE}-{account}", "--audience", audience).strip()

    @contextmanager
    def forwarded(self, target: str, port: int) -> Generator[str, None, None]:
        """A port of the cluster on this machine, as host:port."""
        command = ["kubectl", "-n", NAMESPACE, "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - as above
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "Forwarding from 127.0.0.1:" in line, f"no way to {target}"
            try:
                yield "127.0.0.1:" + line.split("127.0.0.1:")[1].split(" ")[0]
            finally:
                process.terminate()

    def orders(self) -> list[orders_pb2.Order]:
        """All orders that the gateway knows."""
        found: list[orders_pb2.Order] = []
        with self.forwarded(f"service/{RELEASE}-gateway", 7700) as address, grpc.insecure_channel(address) as channel:
            stub = control_pb2_grpc.ControlServiceStub(channel)
            metadata = bearer(self.token("operator"))
            page = ""
            while True:
                request = control_pb2.ListOrdersRequest(limit=1000, page_token=page)
                answer = stub.ListOrders(request, metadata=metadata, timeout=20)
                found += answer.orders
                page = answer.next_page_token
                if not page:
                    return found

    def settled(self) -> int:
        """How many contracts have ended, by the simulator's record."""
        return sum(1 for contract in self.ledger()["contracts"] if contract["sell_price"] is not None)

    def held(self, bot: str) -> dict[str, tuple[str, float]]:
        """Symbol → (pod, since epoch seconds), by the replicas' own logs."""
        found: dict[str, tuple[str, float]] = {}
        for pod in self.pods(f"bot-{bot}"):
            newest: tuple[float, list[str]] = (0.0, [])
            for line in self.kubectl("logs", pod, check=False).splitlines():
                if '"symbols held"' in line:
                    entry = json.loads(line)
                    newest = (entry["time_ns"] / 1e9, [one for one in entry["symbols"].split(",") if one])
            for symbol in newest[1]:
                if symbol not in found or found[symbol][1] < newest[0]:
                    found[symbol] = (pod, newest[0])
        return found

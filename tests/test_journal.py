"""The journal's database fails: nothing is bought, what is open is closed, and nothing is forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
import yaml
from ports import free_port
from running_fleet import RunningFleet, eventually, one_bot, running_fleet
from test_orders import SETTLED, assert_ledger_agrees, settled

from bench.disks import small_disk
from bench.postgres import Postgres
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.status import problem_of
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.gateway.journal.postgres import PostgresStore
from derivfleet.v1 import control_pb2, orders_pb2, trading_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Break = Callable[[], None]
CANARY = "canary-4be7d0"


@contextmanager
def on_a_disk(folder: Path) -> Generator[tuple[str, Break, Break], None, None]:
    """A journal in a file, how to fill its disk, and how to make room again."""
    with small_disk(folder / "disk") as disk:
        ballast = disk / "ballast"

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    return

        yield str(disk / "journal.sqlite"), fill, ballast.unlink


@contextmanager
def on_a_server(folder: Path) -> Generator[tuple[str, Break, Break], None, None]:
    """A journal in PostgreSQL, how to kill it, and how to start it again."""
    del folder
    with Postgres() as server:
        yield server.url, lambda: server.stop(signal.SIGKILL), server.start


async def journal_of(fleet: RunningFleet) -> control_pb2.JournalStatus:
    return (await fleet.control.GetStatus(control_pb2.GetStatusRequest(), metadata=fleet.as_operator)).journal


async def refused(fleet: RunningFleet, order_id: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fleet.buy(order_id)
    problem = problem_of(caught.value)
    assert "\n" not in problem.message
    return problem.reason


async def until_it_may_be_sold(fleet: RunningFleet, order_id: str) -> None:
    request = trading_pb2.StreamContractRequest(account="demo", order_id=order_id)
    stream = fleet.trading.StreamContract(request, metadata=fleet.as_bot("one"))
    async for message in stream:
        if message.contract.is_valid_to_sell:
            break
    stream.cancel()


@pytest.mark.parametrize("place", [on_a_disk, on_a_server])
async def test_without_its_database_the_gateway_opens_nothing_and_closes_what_is_open(
    tmp_path: Path,
    place: Callable[[Path], AbstractContextManager[tuple[str, Break, Break]]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with place(tmp_path) as (where, take_away, give_back):
        async with running_fleet(tmp_path, bots=[one_bot(symbols=["1HZ100V"])], journal=where) as fleet:
            sale = trading_pb2.SellRequest(account="demo", order_id="long")
            await fleet.buy("long", contract_type="CALL", duration=10, duration_unit="m", barrier="")
            await fleet.buy("short", duration=5)
            take_away()
            assert await refused(fleet, "new") == "JOURNAL_NOT_WRITTEN"
            await until_it_may_be_sold(fleet, "long")
            sold = await fleet.trading.Sell(sale, metadata=fleet.as_bot("one"))
            assert sold.order.state == SETTLED
            ended = await settled(fleet, "short")
            sick = await journal_of(fleet)
            assert "order journal cannot be" in sick.problem
            assert sick.unwritten >= len(("asked to sell", "sent", "sold", "the short one's end"))
            give_back()
            well = await eventually(lambda: journal_of(fleet), lambda journal: not journal.problem)
            assert (well.unwritten, well.journal_id) == (0, sick.journal_id)
            assert (await fleet.buy("after")).order.state in (orders_pb2.ORDER_STATE_CONFIRMED, SETTLED)
            await settled(fleet, "after")
            feed = fleet.control.StreamOrderFeed(control_pb2.StreamOrderFeedRequest(), metadata=fleet.as_operator)
            told: dict[str, list[int]] = {}
            async for message in feed:
                if not message.HasField("event"):
                    break
                states = told.setdefault(message.event.order.order_id, [])
                if message.event.order.state not in states[-1:]:  # an exit moves while its order stays what it is
                    states.append(message.event.order.state)
            feed.cancel()
            begin = [orders_pb2.ORDER_STATE_INTENDED, orders_pb2.ORDER_STATE_SENT, orders_pb2.ORDER_STATE_CONFIRMED]
            assert told == {order_id: [*begin, SETTLED] for order_id in ("long", "short", "after")}
            await fleet.restart_gateway()
            assert await settled(fleet, "short") == ended
            await assert_ledger_agrees(fleet, await fleet.orders())
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert (said.out + said.err).count("no orders are opened") == 1


def test_a_second_gateway_waits_until_the_journal_is_free_and_tells_no_password(tmp_path: Path) -> None:
    bots = [one_bot()]
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(yaml.safe_dump({"fleet": "test", "accounts": [{"key": "demo"}], "bots": bots}))
    log, port = tmp_path / "log", free_port()
    with Postgres(durable=False, password=CANARY) as server:
        first = PostgresStore(server.url, "JOURNAL", CANARY)
        environment = {
            **os.environ,
            "DERIVFLEET_GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "DERIVFLEET_GATEWAY_FLEET": str(fleet),
            "DERIVFLEET_GATEWAY_TOKENS": str(issue_tokens({"one": Role.BOT}, tmp_path / "tokens")),
            "DERIVFLEET_GATEWAY_JOURNAL": server.url,
            "DERIVFLEET_GATEWAY_JOURNAL_PASSWORD": CANARY,
            "DERIVFLEET_GATEWAY_DERIV_URL": f"http://127.0.0.1:{free_port()}",
            "DERIV_TOKEN": "none-at-all",
            "DERIV_APP_ID": "none",
        }
        with log.open("w") as output:
            second = subprocess.Popen([sys.executable, "-m", "derivfleet.gateway"], env=environment, stderr=output)
        try:
            wait_for(log, "waiting for the journal", second)
            first.close()
            wait_for(log, "no connection to Deriv", second)  # it has opened the journal, and finds no Deriv
            server.stop(signal.SIGKILL)
            wait_for(log, "no orders are opened", second)
        finally:
            second.terminate()
            assert second.wait(60) == 0
    said = log.read_text()
    assert CANARY not in said
    assert "Traceback" not in said


def wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 60
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.05)

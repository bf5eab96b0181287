"""What the processes are told: a fleet of many bots, their tokens, a journal with an old order for each of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import yaml

from bench.gateway.processes import Program, free_port
from derivfleet.common.clock import ORIGIN_VARIABLE, SPEED_VARIABLE
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.own_token import read_token
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.journal.journal import Journal
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

__all__ = [
    "ACCOUNT",
    "APP_ID",
    "SYMBOL",
    "TERMS",
    "TOKEN",
    "FleetSetup",
    "bot_name",
    "old_order",
    "order_name",
    "terms_message",
    "token_of",
]

ACCOUNT = "demo"
SYMBOL = "1HZ100V"
TOKEN = "bench-token"  # noqa: S105 - it opens nothing but a simulator of ours
APP_ID = "benchApp"
TERMS = OrderTerms("DIGITOVER", SYMBOL, Decimal("0.35"), 1, "t", "4")
LIFTED = 1_000_000
"""A simulator with its limits lifted allows this many calls of each kind, a minute and an hour."""
EPOCH_S = 1_790_000_000


def bot_name(index: int) -> str:
    return f"bot-{index:04}"


def order_name(index: int) -> str:
    """The order that a bot has from before."""
    return f"old-{index:04}"


def token_of(folder: Path, index: int) -> str:
    return read_token(folder / f"{bot_name(index)}.token", "token")


def terms_message() -> orders_pb2.ContractTerms:
    """What every bot buys, as its request says it."""
    return orders_pb2.ContractTerms(
        contract_type=TERMS.contract_type,
        symbol=TERMS.symbol,
        stake=str(TERMS.stake),
        duration=TERMS.duration,
        duration_unit=TERMS.duration_unit,
        barrier=TERMS.barrier,
    )


def old_order(index: int) -> Order:
    """A settled order, as the journal keeps it."""
    return Order(
        account=ACCOUNT,
        order_id=order_name(index),
        bot=bot_name(index),
        terms=TERMS,
        state=State.SETTLED,
        intended_time_ns=EPOCH_S * 10**9,
        traceparent=f"00-{index + 1:032x}-{index + 1:016x}-01",
        sent_time_ns=EPOCH_S * 10**9 + 10**6,
        answered_time_ns=EPOCH_S * 10**9 + 6 * 10**6,
        settled_time_ns=EPOCH_S * 10**9 + 10**9,
        contract_id=395_000_000_000 + index,
        buy_transaction_id=795_000_000_000 + index,
        buy_price=Decimal("0.35"),
        payout=Decimal("0.66"),
        purchase_epoch_s=EPOCH_S,
        sell_price=Decimal(0),
        sell_epoch_s=EPOCH_S + 1,
    )


@dataclass(frozen=True, slots=True)
class FleetSetup:
    """A simulator with its limits lifted, and a gateway before it."""

    simulator: Program
    gateway: Program
    simulator_port: int
    gateway_port: int
    tokens: Path

    @classmethod
    def start(
        cls, stack: ExitStack, folder: Path, traces_to: str, bots: int, speed: float = 1, calls: int = 0
    ) -> FleetSetup:
        """Start both; the stack ends them.

        ``calls`` is what the gateway takes for Deriv's limit of each kind of calls a minute; 0 leaves the published
        ones. ``traces_to`` is host:port of a receiver of spans: without one the gateway would do less than it does.
        """
        folder.mkdir(parents=True)
        settings = folder / "simulator.yaml"
        lifted = {name: {60: LIFTED, 3600: LIFTED} for name in OPTIONS_LIMITS.buckets}
        settings.write_text(yaml.safe_dump({"limits": {"options": lifted}, "connections_per_user": LIFTED}))
        fleet = folder / "fleet.yaml"
        fleet.write_text(yaml.safe_dump(_fleet(bots, calls)))
        tokens = issue_tokens({bot_name(index): Role.BOT for index in range(bots)}, folder / "tokens")
        journal = Journal(folder / "journal.sqlite", "journal")
        for index in range(bots):
            journal.write(old_order(index), EPOCH_S * 10**9)
        journal.close()
        time_told = {SPEED_VARIABLE: f"{speed:g}", ORIGIN_VARIABLE: str(time.time_ns())}
        simulator_port, gateway_port = free_port(), free_port()
        simulator = stack.enter_context(
            Program(
                "derivfleet.simulator",
                folder / "simulator.log",
                {
                    **time_told,
                    "DERIVFLEET_SIMULATOR_LISTEN": f"127.0.0.1:{simulator_port}",
                    "DERIVFLEET_SIMULATOR_TOKEN": TOKEN,
                    "DERIVFLEET_SIMULATOR_APP_ID": APP_ID,
                    "DERIVFLEET_SIMULATOR_SETTINGS": str(settings),
                },
            )
        )
        simulator.wait_for_port(simulator_port)
        gateway = stack.enter_context(
            Program(
                "derivfleet.gateway",
                folder / "gateway.log",
                {
                    **time_told,
                    "DERIVFLEET_GATEWAY_LISTEN": f"127.0.0.1:{gateway_port}",
                    "DERIVFLEET_GATEWAY_FLEET": str(fleet),
                    "DERIVFLEET_GATEWAY_TOKENS": str(tokens),
                    "DERIVFLEET_GATEWAY_JOURNAL": str(folder / "journal.sqlite"),
                    "DERIVFLEET_GATEWAY_DERIV_URL": f"http://127.0.0.1:{simulator_port}",
                    "DERIVFLEET_GATEWAY_OTLP_ENDPOINT": traces_to,
                    "DERIV_TOKEN": TOKEN,
                    "DERIV_APP_ID": APP_ID,
                },
            )
        )
        gateway.wait_for_port(gateway_port)
        return cls(simulator, gateway, simulator_port, gateway_port, tokens.parent)


def _fleet(bots: int, calls: int) -> dict[str, object]:
    windows = {name: {60: calls, 3600: 60 * calls} for name in OPTIONS_LIMITS.buckets} if calls else {}
    parameters = {"side": "over", "barrier": 4}
    return {
        "fleet": "bench",
        "accounts": [{"key": ACCOUNT, "limits": {"windows": windows}}],
        "bots": [
            {
                "name": bot_name(index),
                "strategy": "digit_frequency",
                "symbols": [SYMBOL],
                "parameters": parameters,
            }
            for index in range(bots)
        ],
    }

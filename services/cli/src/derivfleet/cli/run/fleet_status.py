"""How the running fleet is: what the gateway says, put together with what the supervisor knows."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.cli.errors import CommandError, NoAnswerError
from derivfleet.cli.money import decimal_of
from derivfleet.cli.run.environments import bot_of
from derivfleet.cli.run.supervisor import ChildState
from derivfleet.v1 import control_pb2

if TYPE_CHECKING:
    from derivfleet.cli.clients import ControlClient
    from derivfleet.cli.run.supervisor import ChildView
    from derivfleet.v1 import orders_pb2, quota_pb2

__all__ = ["BotLine", "FleetStatus", "StatusPoller", "utilisation_of", "window_name"]

LAST_ORDERS = 8


@dataclass(frozen=True, slots=True)
class BotLine:
    """One bot: its process, and its counts at the gateway."""

    name: str
    state: str
    restarts: int
    counts: control_pb2.BotStatus

    @property
    def profit(self) -> Decimal:
        return decimal_of(self.counts.profit)


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The fleet at one moment. ``account`` is None until the gateway has answered."""

    account: control_pb2.AccountStatus | None
    bots: tuple[BotLine, ...]
    services: tuple[ChildView, ...]
    orders: tuple[orders_pb2.Order, ...]
    time_ns: int
    """The gateway's fleet time."""
    problem: str
    """Why this is not fresh; empty if it is."""

    @property
    def profit(self) -> Decimal:
        return sum((bot.profit for bot in self.bots), Decimal())

    def total(self, field: str) -> int:
        """The sum of one count over all bots."""
        return sum(int(getattr(bot.counts, field)) for bot in self.bots)


class StatusPoller:
    """Asks again and again, and remembers how full each window of the quota ever was."""

    def __init__(self, client: ControlClient, bots: tuple[str, ...]) -> None:
        self._client = client
        self._names = bots
        self._account: control_pb2.AccountStatus | None = None
        self._orders: tuple[orders_pb2.Order, ...] = ()
        self._time_ns = 0
        self.utilisation: dict[str, float] = {}
        """The highest use of each window so far, as a part of what Deriv allows."""

    async def poll(self, children: list[ChildView], orders: int = LAST_ORDERS) -> FleetStatus:
        """Ask the gateway; if it does not answer, the last answer stands, marked as such."""
        problem = ""
        try:
            status = await self._client.status()
            self._account = next(iter(status.accounts), None)
            self._time_ns = status.time_ns
            if orders:
                self._orders = tuple(await self._client.orders(orders))
        except NoAnswerError:
            problem = "the gateway does not answer; these are its last figures"
        except CommandError as error:
            problem = str(error)
        if self._account is not None:
            for window in self._account.windows:
                name, used = window_name(window), utilisation_of(window)
                self.utilisation[name] = max(used, self.utilisation.get(name, 0.0))
        return self._compose(children, problem)

    def _compose(self, children: list[ChildView], problem: str) -> FleetStatus:
        counts = {} if self._account is None else {one.bot: one for one in self._account.bots}
        bots = tuple(
            _bot_line(
                name,
                [child for child in children if bot_of(child.name) == name],
                counts.get(name, control_pb2.BotStatus(bot=name)),
            )
            for name in self._names
        )
        services = tuple(child for child in children if bot_of(child.name) not in self._names)
        return FleetStatus(self._account, bots, services, self._orders, self._time_ns, problem)


def _bot_line(name: str, replicas: list[ChildView], counts: control_pb2.BotStatus) -> BotLine:
    """A bot runs if all its replicas do; otherwise the state of the first that does not is shown."""
    if not replicas:
        return BotLine(name, "not started", 0, counts)
    state = next((one.state for one in replicas if one.state is not ChildState.RUNNING), ChildState.RUNNING)
    return BotLine(name, state.value, sum(one.restarts for one in replicas), counts)


def window_name(window: quota_pb2.QuotaWindow) -> str:
    """As ``trade/60s``."""
    return f"{window.bucket}/{window.window_s}s"


def utilisation_of(window: quota_pb2.QuotaWindow) -> float:
    """Part of what Deriv allows that was used; 1 is all of it."""
    return round(window.used / window.deriv_limit, 4) if window.deriv_limit else 0.0

"""What must hold before a call with money is taken, and again right before it is sent.

Each check is asked twice and told how it ended. Those about opening a position never hold an exit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.orders.denials import (
    Denial,
    DeniedError,
    GatewayEnding,
    LeaseLost,
    OrderDoubtful,
)
from derivfleet.gateway.core.orders.order import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.orders.order import Order, OrderTerms
    from derivfleet.gateway.core.orders.tally import Tallies
    from derivfleet.gateway.core.quota import Permit
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["Asked", "Check", "Checks", "Closing", "DoubtCheck", "LeaseCheck", "Opening", "Queue"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a purchase opens; ``has_lease`` tells whether the asking replica holds the symbol now."""

    terms: OrderTerms
    has_lease: Callable[[], bool]


@dataclass(slots=True)
class Asked:
    """A call with money on its way through the checks."""

    order_id: str
    bot: str
    call: Call
    deadline_ns: int
    opening: Opening | None = None
    """None for an exit."""
    permit: Permit | None = None
    """Its place in the queue."""
    denial: Denial | None = None
    """Why it was not sent."""
    lost_with: str = ""
    """The socket that took its answer along."""


class Check:
    """One condition. It denies by returning why."""

    is_recorded = False
    """Whether an order that it denies when it is taken is written down; else its id stays free."""

    def taken(self, asked: Asked) -> Denial | None:  # noqa: ARG002 - most checks ask at one of the two times
        """Before anything is written down."""
        return None

    def sending(self, asked: Asked) -> Denial | None:  # noqa: ARG002 - as above
        """Right before the frame is handed over."""
        return None

    def ended(self, asked: Asked, order: Order | None) -> None:
        """What became of it; None if there is no order. Comes once, also after a denial."""


class OpeningCheck(Check):
    """One that is about opening a position."""


class Closing(Check):
    """A gateway that ends takes nothing new."""

    is_closing = False

    def taken(self, asked: Asked) -> Denial | None:  # noqa: ARG002 - it holds for everything
        return GatewayEnding() if self.is_closing else None


class LeaseCheck(OpeningCheck):
    """The replica that buys holds the symbol, also after the wait."""

    def taken(self, asked: Asked) -> Denial | None:
        opening = asked.opening
        return None if opening is None or opening.has_lease() else LeaseLost(opening.terms.symbol)

    sending = taken


class DoubtCheck(OpeningCheck):
    """A bot does not buy again what it may have bought already."""

    def __init__(self, registry: OrderRegistry) -> None:
        self._registry = registry

    def taken(self, asked: Asked) -> Denial | None:
        opening = asked.opening
        if opening is not None:
            for order in self._registry.unknown.values():
                if order.doubt is not Doubt.NONE and (order.bot, order.terms) == (asked.bot, opening.terms):
                    return OrderDoubtful(order.order_id)
        return None


class Queue(Check):
    """A place in the queue for the account's call limits. Whoever has no chance before the deadline is no order."""

    def __init__(self, client: AccountClient, tallies: Tallies) -> None:
        self._client = client
        self._tallies = tallies

    def taken(self, asked: Asked) -> Denial | None:
        try:
            asked.permit = self._client.ask(asked.bot, asked.call, asked.deadline_ns)
        except DeniedError as error:
            if asked.opening is not None:
                self._count(asked.bot, str(error))
            return error.denial
        return None

    def ended(self, asked: Asked, order: Order | None) -> None:  # noqa: ARG002 - the place is free in any case
        if asked.permit is not None:
            self._client.admission.give_up(asked.permit)

    def _count(self, bot: str, problem: str) -> None:
        """A bot that floods must fill neither the disk nor the log."""
        count = self._tallies.refused(bot, self._client.clock.now_ns())
        if count:
            _log.warning("orders refused", account=self._client.account, bot=bot, count=count, problem=problem)


class Checks:
    """All checks of an account, in the order in which they are asked."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks

    def take(self, asked: Asked) -> None:
        """Ask before it is written down. Raises DeniedError, but leaves a denial to be recorded in ``asked``."""
        for check in self._of(asked):
            asked.denial = check.taken(asked)
            if asked.denial is not None:
                if not check.is_recorded:
                    self.ended(asked, None)
                    raise DeniedError(asked.denial)
                return

    def sending(self, asked: Asked) -> Denial | None:
        """Why it must not be sent after all."""
        return next((denial for check in self._of(asked) if (denial := check.sending(asked)) is not None), None)

    def ended(self, asked: Asked, order: Order | None) -> None:
        """Tell each check how it ended."""
        for check in self._of(asked):
            check.ended(asked, order)

    def _of(self, asked: Asked) -> list[Check]:
        return [check for check in self._checks if asked.opening is not None or not isinstance(check, OpeningCheck)]

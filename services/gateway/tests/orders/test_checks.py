"""The list of checks: who is asked when, what holds an exit, and who is told how it ended."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import Denial, DeniedError, GatewayEnding, LeaseLost, OrderDoubtful
from derivfleet.gateway.core.orders.order import OrderTerms
from derivfleet.gateway.orders.checks import Asked, Check, Checks, Opening, OpeningCheck

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order

TERMS = OrderTerms("CALL", "R_100", Decimal(1), 5, "t")


class Recorded(Check):
    """Denies as it is told, and notes what it hears."""

    def __init__(self, name: str, heard: list[str], denial: Denial | None = None, late: Denial | None = None) -> None:
        self.name, self.heard, self.denial, self.late = name, heard, denial, late

    def taken(self, asked: Asked) -> Denial | None:
        self.heard.append(f"{self.name} taken {asked.order_id}")
        return self.denial

    def sending(self, asked: Asked) -> Denial | None:
        self.heard.append(f"{self.name} sending {asked.order_id}")
        return self.late

    def ended(self, asked: Asked, order: Order | None) -> None:
        self.heard.append(f"{self.name} ended {asked.order_id} {order}")


class AboutOpening(Recorded, OpeningCheck):
    """The same, of a check that exits do not meet."""


def purchase() -> Asked:
    return Asked("o1", "one", Call.BUY, 0, Opening(TERMS, lambda: True))


def test_checks_are_asked_in_their_order_up_to_the_first_that_denies_and_all_are_told() -> None:
    heard: list[str] = []
    checks = Checks(
        [Recorded("a", heard), Recorded("b", heard, LeaseLost("R_100")), Recorded("c", heard, GatewayEnding())]
    )
    with pytest.raises(DeniedError, match="lease on R_100") as caught:
        checks.take(purchase())
    assert caught.value.denial == LeaseLost("R_100")
    assert heard == ["a taken o1", "b taken o1", "a ended o1 None", "b ended o1 None", "c ended o1 None"]


def test_a_denial_that_is_to_be_recorded_is_left_for_the_order() -> None:
    heard: list[str] = []
    last = Recorded("b", heard, OrderDoubtful("o0"))
    last.is_recorded = True
    asked = purchase()
    Checks([Recorded("a", heard), last, Recorded("c", heard)]).take(asked)
    assert asked.denial == OrderDoubtful("o0")
    assert heard == ["a taken o1", "b taken o1"], "it ends when the order does"


def test_an_exit_meets_no_check_that_is_about_opening() -> None:
    heard: list[str] = []
    checks = Checks([AboutOpening("opening", heard, LeaseLost("R_100"), LeaseLost("R_100")), Recorded("any", heard)])
    exit_ = Asked("o1", "one", Call.SELL, 0)
    checks.take(exit_)
    assert checks.sending(exit_) is None
    checks.ended(exit_, None)
    assert heard == ["any taken o1", "any sending o1", "any ended o1 None"]


def test_the_first_check_that_denies_at_the_sending_decides() -> None:
    heard: list[str] = []
    checks = Checks([Recorded("a", heard, late=LeaseLost("R_100")), Recorded("b", heard, late=GatewayEnding())])
    assert checks.sending(purchase()) == LeaseLost("R_100")
    assert heard == ["a sending o1"]

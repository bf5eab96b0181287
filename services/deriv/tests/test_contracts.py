"""What may be bought is checked as captures of the real service say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from derivfleet.deriv.contracts import check_terms, terms_of
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.requests import BuyParameters
from derivfleet.deriv.terms import Terms
from derivfleet.deriv.vocabulary import Basis, DurationUnit


def terms(
    kind: str, duration: int = 5, unit: DurationUnit = DurationUnit.TICKS, symbol: str = "R_100", **more: Any
) -> Terms:
    more.setdefault("barrier", "3" if kind in ("DIGITMATCH", "DIGITDIFF", "DIGITOVER", "DIGITUNDER") else None)
    return Terms(kind, symbol, duration, unit, Decimal(1), **more)


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        (terms("CALL", symbol="R_7"), "InvalidSymbol", "symbol"),
        (terms("CALL", 0), "TicksNumberLimits", "duration"),
        (terms("DIGITEVEN", 11), "TicksNumberLimits", "duration"),
        (terms("CALL", 14, DurationUnit.SECONDS), "TradingDurationNotAllowed", "duration"),
        (terms("CALL", 25, DurationUnit.HOURS), "TradingDurationNotAllowed", "duration"),
        (terms("CALL", 1, DurationUnit.DAYS), "TradingDurationNotAllowed", "duration_unit"),
        (terms("DIGITODD", 1, DurationUnit.MINUTES), "TradingDurationNotAllowed", "duration_unit"),
        (terms("DIGITODD", barrier="3"), "BarrierValidationError", "barrier"),
        (terms("DIGITMATCH", barrier=None), "BarrierValidationError", "barrier"),
        (terms("DIGITMATCH", barrier="10"), "BarrierValidationError", "barrier"),
        (terms("DIGITOVER", barrier="9"), "BarrierValidationError", "barrier"),
        (terms("DIGITUNDER", barrier="0"), "BarrierValidationError", "barrier"),
        (terms("CALL", barrier="+0.5"), "BarrierValidationError", "barrier"),
        (replace(terms("CALL"), amount=Decimal("1.005")), "IncorrectStakeDecimals", "amount"),
        (
            replace(terms("CALL"), amount=Decimal("1.005"), basis=Basis.PAYOUT),
            "IncorrectPayoutDecimals",
            "amount",
        ),
        (replace(terms("CALL"), amount=Decimal(0)), "InvalidAmount", "amount"),
        (replace(terms("CALL"), amount=Decimal("NaN")), "InvalidAmount", "amount"),
        (replace(terms("CALL"), amount=Decimal("Infinity")), "InvalidAmount", "amount"),
    ],
)
def test_what_is_not_offered_is_refused_by_field(wrong: Terms, code: str, field: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_terms(wrong)
    assert (caught.value.code, caught.value.details) == (code, {"field": field})


REQUEST = BuyParameters(
    contract_type="CALL",
    currency="USD",
    underlying_symbol="R_100",
    amount=Decimal("1.50"),
    duration=5,
    duration_unit=DurationUnit.TICKS,
    basis=Basis.STAKE,
)


def test_a_request_becomes_terms() -> None:
    assert terms_of(REQUEST) == Terms("CALL", "R_100", 5, DurationUnit.TICKS, Decimal("1.50"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"contract_type": "ACCU"}, "OfferingsValidationError"),
        ({"duration": None}, "OfferingsValidationError"),
        ({"date_expiry": 1_800_000_000}, "OfferingsValidationError"),
        ({"amount": None}, "InvalidAmount"),
        ({"barrier2": "1"}, "BarrierValidationError"),
        ({"duration_unit": None}, "TradingDurationNotAllowed"),  # seconds, and five are too few
    ],
)
def test_a_request_for_something_else_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        terms_of(REQUEST.model_copy(update=change))
    assert caught.value.code == code

"""Contracts of the CALL/PUT and digit families: what may be bought, when it ends, who wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import last_digit
from derivfleet.deriv.vocabulary import Basis, ContractType, DurationUnit

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.deriv.requests import ContractParameters

__all__ = ["UNIT_S", "Course", "Terms", "check_terms", "course_of", "settle", "terms_of"]

UNIT_S = {DurationUnit.SECONDS: 1, DurationUnit.MINUTES: 60, DurationUnit.HOURS: 3600}

MAXIMUM_TICKS = 10
"""Digits: documented. CALL/PUT: "usually 1-10" in contracts_for."""
MINIMUM_TIMED_S = 15
MAXIMUM_TIMED_S = 86_400
"""Assumption: intraday contracts run from 15 seconds to a day. Not in any source at hand; contracts_for tells."""
MONEY_DECIMALS = 2
"""USD."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract is. ``barrier`` is the digit, as the wire writes it, for the digit types that need one."""

    contract_type: ContractType
    symbol: str
    duration: int
    unit: DurationUnit
    amount: Decimal
    basis: Basis = Basis.STAKE
    currency: str = "USD"
    barrier: str | None = None

    @property
    def in_ticks(self) -> bool:
        """Whether the duration counts ticks."""
        return self.unit is DurationUnit.TICKS

    @property
    def digit(self) -> int:
        """The digit of the barrier. ValueError for a contract without one."""
        if self.barrier is None:
            raise ValueError(f"{self.contract_type} has no digit")
        return int(self.barrier)

    @property
    def seconds(self) -> int:
        """The duration that prices use: ticks times their spacing, or the clock's."""
        if self.in_ticks:
            return self.duration * SYMBOLS[self.symbol].tick_spacing_s
        return self.duration * UNIT_S[self.unit]


@dataclass(frozen=True, slots=True)
class Course:
    """When a contract's ticks fall, all in epoch seconds."""

    purchase_s: int
    entry_s: int
    """The first tick after the second of purchase."""
    exit_s: int
    """The tick that decides."""
    expiry_s: int
    """``date_expiry``: the exit tick of a tick contract, purchase plus duration of a timed one."""
    tick_epochs: range
    """``tick_stream`` of a tick contract at its end; empty for a timed one."""


def _refuse(code: str, message: str, field: str) -> RequestRefused:
    return RequestRefused(code, message, {"field": field})


def _whole_digit(barrier: str) -> bool:
    return len(barrier) == 1 and barrier.isdigit()


def _check_digit(terms: Terms) -> None:
    kind = terms.contract_type
    if not kind.needs_digit:
        if terms.barrier is not None:
            raise _refuse("BarrierValidationError", "Barrier is not allowed for this contract type.", "barrier")
        return
    if terms.barrier is None or not _whole_digit(terms.barrier):
        raise _refuse("BarrierValidationError", "Barrier must be a single digit from 0 to 9.", "barrier")
    hopeless = {ContractType.DIGITOVER: 9, ContractType.DIGITUNDER: 0}
    if hopeless.get(kind) == terms.digit:
        low, high = (0, 8) if kind is ContractType.DIGITOVER else (1, 9)
        raise _refuse("BarrierValidationError", f"Barrier must be from {low} to {high}.", "barrier")


def _check_duration(terms: Terms) -> None:
    if terms.in_ticks:
        if not 1 <= terms.duration <= MAXIMUM_TICKS:
            raise _refuse("TicksNumberLimits", f"Number of ticks must be between 1 and {MAXIMUM_TICKS}.", "duration")
        return
    if terms.contract_type.is_digit or terms.unit not in UNIT_S:
        raise _refuse("TradingDurationNotAllowed", "Trading is not offered for this duration.", "duration_unit")
    if not MINIMUM_TIMED_S <= terms.seconds <= MAXIMUM_TIMED_S:
        raise _refuse("TradingDurationNotAllowed", "Trading is not offered for this duration.", "duration")


def check_terms(terms: Terms) -> None:
    """Refuse what is not offered.

    Raises RequestRefused with Deriv's code and ``details.field`` (the exact codes of the current API on buy are not
    verified; these are the legacy ones). Stake and payout limits belong to the price and are checked there.
    """
    if terms.symbol not in SYMBOLS:
        raise _refuse("InvalidSymbol", f"Symbol {terms.symbol} is invalid.", "symbol")
    if not terms.amount.is_finite() or terms.amount <= 0:
        raise _refuse("InvalidAmount", "Amount must be above 0.", "amount")
    if terms.amount.normalize().as_tuple().exponent < -MONEY_DECIMALS:  # pyright: ignore[reportOperatorIssue] - finite
        code = "IncorrectStakeDecimals" if terms.basis is Basis.STAKE else "IncorrectPayoutDecimals"
        raise _refuse(code, f"Amount can have at most {MONEY_DECIMALS} decimal places.", "amount")
    _check_duration(terms)
    if terms.contract_type.is_digit:
        _check_digit(terms)
    elif terms.barrier is not None:
        raise _refuse("BarrierValidationError", "Only contracts at the money are offered here.", "barrier")


def terms_of(parameters: ContractParameters) -> Terms:
    """The terms that a proposal or a purchase asks for, checked. Raises RequestRefused as :func:`check_terms`."""
    try:
        kind = ContractType(parameters.contract_type)
    except ValueError:
        raise _refuse(
            "OfferingsValidationError", "Trading is not offered for this contract type.", "contract_type"
        ) from None
    if parameters.duration is None or parameters.date_expiry is not None or parameters.date_start is not None:
        raise _refuse("OfferingsValidationError", "Please specify a duration from now.", "duration")
    if parameters.amount is None:
        raise _refuse("InvalidAmount", "Please specify an amount.", "amount")
    if parameters.barrier2 is not None:
        raise _refuse("BarrierValidationError", "Only one barrier is allowed.", "barrier2")
    terms = Terms(
        contract_type=kind,
        symbol=parameters.underlying_symbol,
        duration=parameters.duration,
        unit=parameters.duration_unit or DurationUnit.SECONDS,
        amount=parameters.amount,
        # Deriv asks for a basis with an amount; a request without one is taken as payout by old servers.
        basis=parameters.basis or Basis.PAYOUT,
        currency=parameters.currency,
        barrier=parameters.barrier,
    )
    check_terms(terms)
    return terms


def course_of(terms: Terms, purchase_s: int) -> Course:
    """When a contract bought in a given second enters and ends.

    Entry is the first tick after the second of purchase. CALL/PUT of N ticks exit at the N-th tick after the entry;
    digits of N ticks at the N-th counting the entry as first; timed contracts at the last tick not after expiry.
    """
    symbol = SYMBOLS[terms.symbol]
    spacing = symbol.tick_spacing_s
    entry_s = symbol.next_tick_epoch(purchase_s)
    if terms.in_ticks:
        further = terms.duration - 1 if terms.contract_type.is_digit else terms.duration
        exit_s = entry_s + further * spacing
        return Course(purchase_s, entry_s, exit_s, exit_s, range(entry_s, exit_s + 1, spacing))
    expiry_s = purchase_s + terms.seconds
    return Course(purchase_s, entry_s, symbol.tick_epoch(expiry_s), expiry_s, range(0))


def settle(terms: Terms, entry: Decimal, exit_: Decimal) -> bool:
    """Whether the contract won, from the quotes of its entry and exit tick."""
    match terms.contract_type:
        case ContractType.CALL:
            return exit_ > entry
        case ContractType.PUT:
            return exit_ < entry
        case ContractType.CALLE:
            return exit_ >= entry
        case ContractType.PUTE:
            return exit_ <= entry
        case _:
            return _digit_wins(terms, last_digit(exit_, SYMBOLS[terms.symbol].decimals))


def _digit_wins(terms: Terms, digit: int) -> bool:
    match terms.contract_type:
        case ContractType.DIGITMATCH:
            return digit == terms.digit
        case ContractType.DIGITDIFF:
            return digit != terms.digit
        case ContractType.DIGITOVER:
            return digit > terms.digit
        case ContractType.DIGITUNDER:
            return digit < terms.digit
        case ContractType.DIGITEVEN:
            return digit % 2 == 0
        case _:
            return digit % 2 == 1

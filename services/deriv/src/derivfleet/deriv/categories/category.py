"""What a contract category is: everything that is known of a kind of contract, in one object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from derivfleet.deriv.pricing import Bounds, Price, PriceSettings
    from derivfleet.deriv.requests import ContractParameters
    from derivfleet.deriv.terms import Shortcode, Terms, Timeline
    from derivfleet.deriv.vocabulary import Call, ContractStatus

__all__ = ["Category", "ContractType", "Ended", "Span", "form_of", "refusal"]

_SYMBOL = r"(?P<symbol>(?:R|OTC)_[A-Za-z0-9]+|[A-Za-z0-9]+)"
"""Symbols may hold an underscore (R_100, OTC_NDX), so the symbol is matched before the rest is split."""


@dataclass(frozen=True, slots=True)
class ContractType:
    """A ``contract_type`` of a category, as the catalogue describes it."""

    name: str
    sentiment: str
    """One word for what the buyer hopes."""
    barriers: int = 0
    digits: tuple[int, ...] = ()
    """The digits that may be its barrier; empty if it needs none."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long contracts may run, in the catalogue's words: "tick" from "1t" to "10t"."""

    expiry_type: str
    shortest: str
    longest: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A contract that is over, by its record: when it was bought, what it promised, when and for how much it went."""

    purchase_s: int
    payout: Decimal | None
    sell_s: int
    """0 if nobody told."""
    sell_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A kind of contract. Whoever asks has found it by the contract type; nothing else knows what kinds there are.

    Where functions may refuse, they raise RequestRefused with Deriv's code and ``details.field``.
    """

    # What the catalogue says

    name: str
    """``contract_category``."""
    title: str
    barrier_category: str
    """Legacy only, as the title."""
    types: tuple[ContractType, ...]
    spans: tuple[Span, ...]
    has_duration: bool
    """Whether a purchase must say how long the contract runs."""
    bounds: Bounds

    # What is asked for

    asked: Callable[[ContractParameters], Terms]
    """The terms in a proposal or purchase. Refuses what lacks a parameter, or has one too many."""
    request: Callable[[Terms], dict[str, Any]]
    """The reverse: the parameters beside type, symbol, currency, amount and basis, which all categories have."""
    check: Callable[[Terms], None]
    """Refuse terms that are not offered. Symbol and amount are checked already."""
    price: Callable[[Terms, PriceSettings], Price]
    """Ask and payout of new terms. Refuses a stake or payout out of bounds."""
    greatest_loss: Callable[[Price], Decimal]
    """The most that the buyer can lose."""

    # What a record shows

    form: re.Pattern[str]
    """A whole shortcode, by :func:`form_of`."""
    shortcode: Callable[[Terms, Price, Timeline], str]
    """The whole shortcode of a contract bought at a price."""
    differing_term: Callable[[Terms, Shortcode], str | None]
    """In which term of the order a record is another contract, beside type, symbol and stake; None if in none."""

    # How it ends

    timeline: Callable[[Terms, int], Timeline]
    """When the ticks fall of a contract bought in a second. KeyError for an unknown symbol."""
    end_s: Callable[[Terms, int], int | None]
    """When a contract bought in a second must have ended, whatever the symbol; None if it need never."""
    exits: Callable[[Terms], frozenset[Call]]
    """What its owner may do to it while it runs: sell, cancel, contract_update."""
    ended: Callable[[Terms, Ended], ContractStatus]
    """How it came to its end, where Deriv does not say so itself."""


def form_of(rest: str) -> re.Pattern[str]:
    """The form of shortcodes, by what follows type and symbol.

    It has the group ``start``, and as far as the shortcodes tell them ``payout``, ``ticks``, ``expiry``, ``barrier``.
    """
    return re.compile(rf"[A-Z]+_{_SYMBOL}_{rest}", re.ASCII)


def refusal(code: str, message: str, field: str) -> RequestRefused:
    """A refusal that names the request's field."""
    return RequestRefused(code, message, {"field": field})

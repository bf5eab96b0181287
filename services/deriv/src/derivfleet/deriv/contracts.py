"""What may be bought: the terms in a request, checked, whatever their category."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.categories.category import refusal
from derivfleet.deriv.categories.registry import category_of, find
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Basis

if TYPE_CHECKING:
    from derivfleet.deriv.requests import ContractParameters
    from derivfleet.deriv.terms import Terms

__all__ = ["check_terms", "terms_of"]


def check_terms(terms: Terms) -> None:
    """Refuse what is not offered.

    Raises RequestRefused with Deriv's code and ``details.field`` (the exact codes of the current API on buy are not
    verified; these are the legacy ones). Stake and payout limits belong to the price and are checked there. KeyError
    for a contract type that is not traded.
    """
    category = category_of(terms.contract_type)
    if terms.symbol not in SYMBOLS:
        raise refusal("InvalidSymbol", f"Symbol {terms.symbol} is invalid.", "symbol")
    if not terms.amount.is_finite() or terms.amount <= 0:
        raise refusal("InvalidAmount", "Amount must be above 0.", "amount")
    decimals = category.bounds.stake_decimals
    if terms.amount.normalize().as_tuple().exponent < -decimals:  # pyright: ignore[reportOperatorIssue] - finite
        code = "IncorrectStakeDecimals" if terms.basis is Basis.STAKE else "IncorrectPayoutDecimals"
        raise refusal(code, f"Amount can have at most {decimals} decimal places.", "amount")
    category.check(terms)


def terms_of(parameters: ContractParameters) -> Terms:
    """The terms that a proposal or a purchase asks for, checked. Raises RequestRefused as :func:`check_terms`."""
    category = find(parameters.contract_type)
    if category is None:
        message = "Trading is not offered for this contract type."
        raise refusal("OfferingsValidationError", message, "contract_type")
    terms = category.asked(parameters)
    check_terms(terms)
    return terms

"""In what the two dialects differ, as data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call, Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEGACY_NAMING", "OPTIONS_NAMING", "Naming"]


@dataclass(frozen=True, slots=True)
class Naming:
    """Field names and habits of one dialect."""

    dialect: Dialect
    request_symbol: str
    """The symbol's key in proposal and in the parameters of buy."""
    row_symbol: str
    """The symbol's key in portfolio and transaction."""
    contract_symbol: str
    """The symbol's key in an open-contract message."""
    entry_spot: str
    entry_time: str
    exit_spot: str
    exit_time: str
    money_as_text: bool
    """Whether prices of an open-contract message are JSON strings."""
    has_app_id: bool
    """Whether histories say which app bought."""
    absent_calls: frozenset[Call]
    absent_fields: Mapping[Call, frozenset[str]]
    """Fields of the request models that this dialect does not have."""
    statement_actions: frozenset[str]


_LOGIN = frozenset({"loginid"})
_CASH_ACTIONS = frozenset({"buy", "sell", "deposit", "withdrawal"})
_FORWARD = frozenset({"date_start", "product_type", "barrier_range", "trade_risk_profile", "trading_period_start"})
_CATALOGUE = _LOGIN | {"product_type", "landing_company", "landing_company_short"}

OPTIONS_NAMING = Naming(
    dialect=Dialect.OPTIONS,
    request_symbol="underlying_symbol",
    row_symbol="underlying_symbol",
    contract_symbol="underlying_symbol",
    entry_spot="entry_spot",
    entry_time="entry_spot_time",
    exit_spot="exit_spot",
    exit_time="exit_spot_time",
    money_as_text=True,
    has_app_id=False,
    absent_calls=frozenset({Call.AUTHORIZE, Call.WEBSITE_STATUS}),
    absent_fields=MappingProxyType(
        {
            Call.ACTIVE_SYMBOLS: _CATALOGUE | {"barrier_category"},
            Call.BALANCE: _LOGIN | {"account"},
            Call.BUY: _LOGIN | _FORWARD,
            Call.CANCEL: _LOGIN,
            Call.CONTRACT_UPDATE: _LOGIN,
            Call.CONTRACTS_FOR: _CATALOGUE | {"currency"},
            Call.PORTFOLIO: _LOGIN,
            Call.PROFIT_TABLE: _LOGIN,
            Call.PROPOSAL: _LOGIN | _FORWARD,
            Call.PROPOSAL_OPEN_CONTRACT: _LOGIN,
            Call.SELL: _LOGIN,
            Call.STATEMENT: _LOGIN,
            Call.TRANSACTION: _LOGIN,
            # logout alone still has loginid in the published schema
        }
    ),
    statement_actions=_CASH_ACTIONS,
)

LEGACY_NAMING = Naming(
    dialect=Dialect.LEGACY,
    request_symbol="symbol",
    row_symbol="symbol",
    contract_symbol="underlying",
    entry_spot="entry_tick",
    entry_time="entry_tick_time",
    exit_spot="exit_tick",
    exit_time="exit_tick_time",
    money_as_text=False,
    has_app_id=True,
    absent_calls=frozenset(),
    absent_fields=MappingProxyType({}),
    statement_actions=_CASH_ACTIONS | {"escrow", "adjustment", "virtual_credit", "transfer"},
)

"""The words of Deriv's API that both dialects share: calls, contract types, units."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "OTHER_CONTRACT_TYPES",
    "Basis",
    "Call",
    "ContractStatus",
    "Dialect",
    "DurationUnit",
    "HistoryStyle",
    "StreamType",
]


class Dialect(StrEnum):
    """The two wire languages of Deriv's options API."""

    OPTIONS = "options"
    """The current one: REST accounts, a one-time URL, one socket per account."""
    LEGACY = "legacy"
    """v3: one socket for all, ``authorize`` with a token."""


class Call(StrEnum):
    """A request's own key; also the name that limits are counted by."""

    ACTIVE_SYMBOLS = "active_symbols"
    AUTHORIZE = "authorize"
    BALANCE = "balance"
    BUY = "buy"
    CANCEL = "cancel"
    CONTRACT_UPDATE = "contract_update"
    CONTRACTS_FOR = "contracts_for"
    FORGET = "forget"
    FORGET_ALL = "forget_all"
    LOGOUT = "logout"
    PING = "ping"
    PORTFOLIO = "portfolio"
    PROFIT_TABLE = "profit_table"
    PROPOSAL = "proposal"
    PROPOSAL_OPEN_CONTRACT = "proposal_open_contract"
    SELL = "sell"
    STATEMENT = "statement"
    TICKS = "ticks"
    TICKS_HISTORY = "ticks_history"
    TIME = "time"
    TRANSACTION = "transaction"
    WEBSITE_STATUS = "website_status"


_OTHER_COMMON = (
    "ACCU ASIAND ASIANU EXPIRYMISS EXPIRYMISSE EXPIRYRANGE EXPIRYRANGEE MULTDOWN MULTUP NOTOUCH ONETOUCH RANGE "
    "RESETCALL RESETPUT RUNHIGH RUNLOW TICKHIGH TICKLOW TURBOSLONG TURBOSSHORT UPORDOWN VANILLALONGCALL VANILLALONGPUT"
)
_OTHER_LEGACY = "CALLSPREAD PUTSPREAD LBFLOATCALL LBFLOATPUT LBHIGHLOW SNOWUP SNOWDOWN"

OTHER_CONTRACT_TYPES: dict[Dialect, frozenset[str]] = {
    Dialect.OPTIONS: frozenset(f"{_OTHER_COMMON} HIGHER LOWER".split()),
    Dialect.LEGACY: frozenset(f"{_OTHER_COMMON} {_OTHER_LEGACY}".split()),
}
"""Types that the wire knows beside CALL, PUT and digits. What no category trades is refused as not offered."""


class DurationUnit(StrEnum):
    """What a contract's duration counts."""

    TICKS = "t"
    SECONDS = "s"
    MINUTES = "m"
    HOURS = "h"
    DAYS = "d"


class Basis(StrEnum):
    """Whether an amount is what is paid or what can be won."""

    STAKE = "stake"
    PAYOUT = "payout"


class ContractStatus(StrEnum):
    """``status`` of an open-contract message. Display only: the terminal test is ``is_sold``."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"
    SOLD = "sold"
    CANCELLED = "cancelled"


class HistoryStyle(StrEnum):
    """What ``ticks_history`` answers with."""

    TICKS = "ticks"
    CANDLES = "candles"


class StreamType(StrEnum):
    """What ``forget_all`` can name."""

    BALANCE = "balance"
    CANDLES = "candles"
    CASHIER_PAYMENTS = "cashier_payments"
    PROPOSAL = "proposal"
    PROPOSAL_OPEN_CONTRACT = "proposal_open_contract"
    TICKS = "ticks"
    TRANSACTION = "transaction"
    WEBSITE_STATUS = "website_status"
    """Legacy only."""

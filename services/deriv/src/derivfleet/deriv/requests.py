"""Every request, as one strict model each, in a form that fits both dialects.

Field names are those of the current dialect (``underlying_symbol``). A few fields exist only in the legacy dialect and
say so. Numbers are Decimal and never float; ``None`` means absent. The gateway builds requests with these models, the
simulator validates with them; unknown fields are refused either way, as Deriv does.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from derivfleet.deriv.vocabulary import Basis, Call, DurationUnit, HistoryStyle, StreamType

__all__ = [
    "GRANULARITIES_S",
    "REQUESTS",
    "ActiveSymbols",
    "Authorize",
    "Balance",
    "Buy",
    "BuyParameters",
    "Cancel",
    "ContractParameters",
    "ContractUpdate",
    "ContractsFor",
    "Forget",
    "ForgetAll",
    "LimitOrder",
    "LimitOrderChange",
    "Logout",
    "Ping",
    "Portfolio",
    "ProfitTable",
    "Proposal",
    "ProposalOpenContract",
    "Request",
    "Sell",
    "Statement",
    "Ticks",
    "TicksHistory",
    "Time",
    "Transaction",
    "WebsiteStatus",
]


def _as_decimal(value: object) -> object:
    """JSON knows one kind of number; whole ones arrive as int."""
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


Number = Annotated[Decimal, BeforeValidator(_as_decimal)]
Amount = Annotated[Decimal, BeforeValidator(_as_decimal), Field(ge=0)]
Epoch = Annotated[int, Field(ge=0, le=9_999_999_999)]
Natural = Annotated[int, Field(ge=0)]
SymbolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{2,30}$")]
ContractTypeName = Annotated[str, Field(pattern=r"^[A-Z]+$")]
"""Wider than the categories: the wire knows more types than are traded here."""
Barrier = Annotated[str, Field(pattern=r"^[+-]?[0-9]+\.?[0-9]*$", min_length=1, max_length=20)]
DayOrEpoch = Annotated[str, Field(pattern=r"^([0-9]{4}-(0?[1-9]|1[012])-(0?[1-9]|[12][0-9]|3[01])|[0-9]{1,10})$")]
StreamId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{32,128}$")]
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
LoginId = Annotated[str, Field(pattern=r"^[A-Za-z]+[0-9]+$")] | None
Yes = Literal[1]
YesNo = Literal[0, 1]
Landing = Literal["iom", "malta", "maltainvest", "svg", "virtual", "vanuatu"]

GRANULARITIES_S = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


class Request(BaseModel):
    """What all requests share. ``call`` is the request's own key."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    call: ClassVar[Call]


class AccountRequest(Request):
    """A request about the logged-in account."""

    loginid: LoginId = None
    """Legacy only."""


class Ping(Request):
    call: ClassVar[Call] = Call.PING
    ping: Yes = 1


class Time(Request):
    call: ClassVar[Call] = Call.TIME
    time: Yes = 1


class WebsiteStatus(Request):
    """Legacy only."""

    call: ClassVar[Call] = Call.WEBSITE_STATUS
    website_status: Yes = 1
    subscribe: YesNo | None = None


class Authorize(Request):
    """Legacy only. The token is a secret: it is kept out of the model's repr."""

    call: ClassVar[Call] = Call.AUTHORIZE
    authorize: Annotated[Token, Field(repr=False)]
    add_to_login_history: YesNo | None = None
    tokens: Annotated[Annotated[list[Token], Field(max_length=25)] | None, Field(repr=False)] = None


class Logout(AccountRequest):
    call: ClassVar[Call] = Call.LOGOUT
    logout: Yes = 1


class Ticks(Request):
    call: ClassVar[Call] = Call.TICKS
    ticks: SymbolName | list[SymbolName]
    subscribe: Yes | None = None


class TicksHistory(Request):
    """``count`` defaults to 1000 and is capped at 5000; ``end`` is "latest" or an epoch in digits."""

    call: ClassVar[Call] = Call.TICKS_HISTORY
    ticks_history: SymbolName
    end: Annotated[str, Field(pattern=r"^(latest|[0-9]{1,10})$")] = "latest"
    start: Epoch | None = None
    count: int | None = None
    style: Annotated[HistoryStyle, Field(strict=False)] | None = None
    granularity: Literal[60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400] | None = None
    adjust_start_time: Yes | None = None
    subscribe: Yes | None = None


class ActiveSymbols(Request):
    call: ClassVar[Call] = Call.ACTIVE_SYMBOLS
    active_symbols: Literal["brief", "full"] = "brief"
    contract_type: list[ContractTypeName] | None = None
    product_type: Literal["basic"] | None = None
    """Legacy only, and so are the rest."""
    landing_company: Landing | None = None
    landing_company_short: Landing | None = None
    barrier_category: list[str] | None = None
    loginid: LoginId = None


class ContractsFor(Request):
    call: ClassVar[Call] = Call.CONTRACTS_FOR
    contracts_for: SymbolName
    currency: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]{2,20}$")] | None = None
    """Legacy only, and so are the rest."""
    product_type: Literal["basic"] | None = None
    landing_company: Landing | None = None
    landing_company_short: Landing | None = None
    loginid: LoginId = None


class LimitOrder(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    take_profit: Number | None = None
    stop_loss: Number | None = None


class ContractParameters(Request):
    """What describes a contract, in a proposal and in a purchase alike."""

    contract_type: ContractTypeName
    currency: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]{2,20}$")]
    underlying_symbol: SymbolName
    amount: Amount | None = None
    basis: Annotated[Basis, Field(strict=False)] | None = None
    duration: Annotated[int, Field(ge=0, le=99_999_999)] | None = None
    duration_unit: Annotated[DurationUnit, Field(strict=False)] | None = None
    date_expiry: Epoch | None = None
    barrier: Barrier | None = None
    barrier2: Barrier | None = None
    growth_rate: Number | None = None
    multiplier: Amount | None = None
    limit_order: LimitOrder | None = None
    cancellation: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")] | None = None
    payout_per_point: Number | None = None
    selected_tick: int | None = None
    date_start: Epoch | None = None
    """Legacy only, and so are the rest."""
    product_type: Literal["basic"] | None = None
    barrier_range: Literal["tight", "middle", "wide"] | None = None
    trade_risk_profile: Literal["low", "medium", "high"] | None = None
    trading_period_start: Epoch | None = None


class BuyParameters(ContractParameters):
    call: ClassVar[Call] = Call.BUY
    app_markup_percentage: Number | None = None


class Proposal(ContractParameters):
    call: ClassVar[Call] = Call.PROPOSAL
    proposal: Yes = 1
    subscribe: Yes | None = None
    loginid: LoginId = None


class Buy(AccountRequest):
    """``buy`` is a proposal id, or "1" with ``parameters``; ``price`` the most that may be paid."""

    call: ClassVar[Call] = Call.BUY
    buy: Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9_-]{32,128}|1)$")] = "1"
    price: Amount
    parameters: BuyParameters | None = None
    subscribe: Yes | None = None


class Sell(AccountRequest):
    """``sell`` is the contract's id; ``price`` the least that is accepted, 0 whatever is bid."""

    call: ClassVar[Call] = Call.SELL
    sell: int
    price: Number = Decimal(0)


class Cancel(AccountRequest):
    call: ClassVar[Call] = Call.CANCEL
    cancel: int


class LimitOrderChange(BaseModel):
    """A limit order to set; a field that is present and null removes it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    take_profit: Number | None = None
    stop_loss: Number | None = None


class ContractUpdate(AccountRequest):
    call: ClassVar[Call] = Call.CONTRACT_UPDATE
    contract_update: Yes = 1
    contract_id: int
    limit_order: LimitOrderChange


class ProposalOpenContract(AccountRequest):
    """Without ``contract_id``: all open contracts."""

    call: ClassVar[Call] = Call.PROPOSAL_OPEN_CONTRACT
    proposal_open_contract: Yes = 1
    contract_id: int | None = None
    subscribe: Yes | None = None


class Portfolio(AccountRequest):
    call: ClassVar[Call] = Call.PORTFOLIO
    portfolio: Yes = 1
    contract_type: list[ContractTypeName] | None = None


class Statement(AccountRequest):
    """Cash movements, newest first. Shortcodes only with ``description`` 1. Dates are epochs."""

    call: ClassVar[Call] = Call.STATEMENT
    statement: Yes = 1
    action_type: str | None = None
    date_from: Epoch | None = None
    date_to: Epoch | None = None
    description: YesNo | None = None
    limit: Annotated[int, Field(ge=0, le=999)] | None = None
    offset: Natural | None = None


class ProfitTable(AccountRequest):
    """Closed contracts. Dates are strings: an epoch in digits or YYYY-MM-DD."""

    call: ClassVar[Call] = Call.PROFIT_TABLE
    profit_table: Yes = 1
    contract_type: list[ContractTypeName] | None = None
    date_from: DayOrEpoch | None = None
    date_to: DayOrEpoch | None = None
    description: YesNo | None = None
    limit: Annotated[int, Field(ge=0, le=500)] | None = None
    offset: Natural | None = None
    sort: Literal["ASC", "DESC"] | None = None


class Transaction(AccountRequest):
    """A stream only: every movement of the account, whichever connection caused it."""

    call: ClassVar[Call] = Call.TRANSACTION
    transaction: Yes = 1
    subscribe: Yes = 1


class Balance(AccountRequest):
    call: ClassVar[Call] = Call.BALANCE
    balance: Yes = 1
    subscribe: YesNo | None = None
    account: Annotated[str, Field(pattern=r"^(current|all|[A-Z]{2,4}[0-9]{1,10})$")] | None = None
    """Legacy only."""


class Forget(Request):
    call: ClassVar[Call] = Call.FORGET
    forget: StreamId


StreamKind = Annotated[StreamType, Field(strict=False)]


class ForgetAll(Request):
    call: ClassVar[Call] = Call.FORGET_ALL
    forget_all: StreamKind | list[StreamKind]


REQUESTS: dict[Call, type[Request]] = {
    model.call: model
    for model in (
        *(ActiveSymbols, Authorize, Balance, Buy, Cancel, ContractUpdate, ContractsFor, Forget, ForgetAll, Logout),
        *(Ping, Portfolio, ProfitTable, Proposal, ProposalOpenContract, Sell, Statement, Ticks, TicksHistory, Time),
        *(Transaction, WebsiteStatus),
    )
}
"""The model of each call."""

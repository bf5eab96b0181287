"""Errors in Deriv's own terms, and what each means for the call that got it.

The table is the one that decides whether something was bought: an error frame listed here proves that nothing was; a
code that is not listed, on a call that moves money, proves nothing at all.

Where the codes come from: ``InvalidContractProposal``, ``RateLimit``, ``InputValidationFailed``,
``InsufficientBalance`` and ``ContractNotFound`` are documented for the new API or have been seen there. The others are
those of the legacy API; that the new one uses them alike is assumed. ``docs/orders.md`` shows the table.
"""

from __future__ import annotations

from enum import StrEnum

from derivfleet.deriv.vocabulary import Call

__all__ = [
    "RATE_CODES",
    "InputValidationFailed",
    "MalformedAnswer",
    "MalformedFrame",
    "Outcome",
    "RequestRefused",
    "UnrecognisedRequest",
    "known_codes",
    "outcome_of",
]


class Outcome(StrEnum):
    """What an answer, or its absence, says about a call."""

    EXECUTED = "executed"
    NOT_EXECUTED = "not_executed"
    """Nothing happened; try again only with a changed call (a new quote, the stream that exists already)."""
    LATER = "later"
    """Nothing happened; the same call may work later."""
    CONFIGURATION = "configuration"
    """Nothing happened, and the same call never will: the order, the token or the account is wrong."""
    UNKNOWN = "unknown"
    """It may have happened. Never send it again; find out."""

    @property
    def certainly_not_executed(self) -> bool:
        """Whether this proves that nothing happened."""
        return self in (Outcome.NOT_EXECUTED, Outcome.LATER, Outcome.CONFIGURATION)


class RequestRefused(Exception):  # noqa: N818 - what the server did, not what broke
    """A request that Deriv answers with an error frame: ``code``, ``message`` and possibly ``details`` per field."""

    def __init__(self, code: str, message: str, details: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details or {}


class UnrecognisedRequest(RequestRefused):
    """A frame that names no call, more than one, or one that the dialect does not have."""

    def __init__(self, message: str = "Unrecognised request.") -> None:
        super().__init__("UnrecognisedRequest", message)


class InputValidationFailed(RequestRefused):
    """A frame whose fields break the call's schema. ``call`` is the one it names."""

    def __init__(self, call: Call, details: dict[str, str]) -> None:
        super().__init__("InputValidationFailed", f"Input validation failed: {', '.join(details)}", details)
        self.call = call


class MalformedFrame(Exception):  # noqa: N818 - the noun it is about
    """Text that is no JSON object."""


class MalformedAnswer(Exception):  # noqa: N818 - the noun it is about
    """An answer that lacks what it must have, or holds another type. Names the call and the field."""


RATE_CODES = frozenset({"RateLimit", "RateLimitExceeded"})
"""Calls came faster than Deriv admits them."""

_CALLS_THAT_MOVE_MONEY = frozenset({Call.BUY, Call.SELL, Call.CANCEL, Call.CONTRACT_UPDATE})

_SERVER_FAILURES = frozenset(
    {"WrongResponse", "CallError", "InternalServerError", "InternalError", "OutputValidationFailed", "GeneralError"}
)
"""They may come after the call ran; OutputValidationFailed always does."""

_ANY_CALL: dict[Outcome, str] = {
    Outcome.CONFIGURATION: (
        "InputValidationFailed UnrecognisedRequest BadRequest SanityCheckFailed InvalidToken Unauthorized InvalidAppID "
        "PermissionDenied InvalidSymbol OfferingsInvalidSymbol InvalidContractType InvalidGranularity InvalidStyle "
        "ContractNotFound"
    ),
    Outcome.NOT_EXECUTED: "AlreadySubscribed",
    Outcome.LATER: (
        "AuthorizationRequired RateLimit RateLimitExceeded MarketIsClosed TradeTemporarilyUnavailable Suspendedlogin "
        "OldMarketData MissingMarketData MissingSpotMarketData MissingTickMarketData MissingVolatilityMarketData"
    ),
}

_BUY: dict[Outcome, str] = {
    Outcome.NOT_EXECUTED: "InvalidContractProposal PriceMoved",
    Outcome.CONFIGURATION: (
        "ContractCreationFailure ContractBuyValidationError OfferingsValidationError BarrierValidationError "
        "InvalidPrice InvalidAmount IncorrectStakeDecimals IncorrectPayoutDecimals InvalidMinStake "
        "InvalidStakeMoreThanPrice StakeLimits PayoutLimits StakeLimitExceeded PayoutLimitExceeded InvalidExpiry "
        "TicksNumberLimits TradingDurationNotAllowed WrongAmountTypeOne WrongAmountTypeTwo InsufficientBalance "
        "DailyTurnoverLimitExceeded 7DayTurnoverLimitExceeded 30DayTurnoverLimitExceeded DailyLossLimitExceeded "
        "7DayLossLimitExceeded 30DayLossLimitExceeded DailyProfitLimitExceeded ProductSpecificTurnoverLimitExceeded "
        "CompanyWideLimitExceeded AccountBalanceExceedsLimit PromoCodeLimitExceeded NoCurrencySet NotDefaultCurrency "
        "TradingDisabled ClientUnwelcome NoBusiness DisabledClient InvalidtoBuy AuthorizationRequired"
    ),
    Outcome.LATER: (
        "OpenPositionLimit OpenPositionLimitExceeded SpecificOpenPositionLimitExceeded OpenPositionPayoutLimit "
        "MaxAggregateOpenStakeExceeded ClientVolumeLimitReached ClientUnderlyingVolumeLimitReached "
        "TransactionTimeTooOld TransactionTimeTooYoung"
    ),
}

_SELL: dict[Outcome, str] = {
    Outcome.NOT_EXECUTED: (
        "ContractAlreadySold BetExpired PriceMoved SellFailureDueToUpdate InvalidSellContractProposal NoOpenPosition"
    ),
    Outcome.CONFIGURATION: (
        "ResaleNotOffered CannotCancelContract ContractUpdateNotAllowed LimitOrderAmountTooLow LimitOrderAmountTooHigh"
    ),
    Outcome.LATER: "WaitForContractSettlement SellAtEntryTick SameStartSellTime ContractUpdateTooFrequent",
}

_READ: dict[Outcome, str] = {
    Outcome.CONFIGURATION: (
        "ContractCreationFailure ContractBuyValidationError OfferingsValidationError GetProposalFailure "
        "InvalidContractProposal BarrierValidationError"
    ),
}


def _table(*parts: dict[Outcome, str]) -> dict[str, Outcome]:
    return {code: outcome for part in parts for outcome, codes in part.items() for code in codes.split()}


_BUY_TABLE = _table(_ANY_CALL, _BUY)
_SELL_TABLE = _table(_ANY_CALL, _SELL)
_READ_TABLE = _table(_ANY_CALL, _READ)


def known_codes(call: Call) -> dict[str, Outcome]:
    """Every code that proves that a call did nothing. The same code may still prove nothing by its text (RateLimit)."""
    if call not in _CALLS_THAT_MOVE_MONEY:
        return dict(_READ_TABLE)
    return dict(_BUY_TABLE if call is Call.BUY else _SELL_TABLE)


def outcome_of(call: Call, code: str, message: str = "") -> Outcome:
    """What an error frame means for a call.

    For buy, sell, cancel and contract_update every code that is not listed is UNKNOWN, and so is a RateLimit that says
    "Connection closed": the legacy server uses it when a socket dies early. A read that fails in a way not listed did
    no harm and may be tried again later.
    """
    if call not in _CALLS_THAT_MOVE_MONEY:
        return _READ_TABLE.get(code, Outcome.LATER)
    if code in _SERVER_FAILURES or (code == "RateLimit" and "connection closed" in message.lower()):
        return Outcome.UNKNOWN
    return (_BUY_TABLE if call is Call.BUY else _SELL_TABLE).get(code, Outcome.UNKNOWN)

"""One look at the gateway's own status: balance, limits as it counts them, connections, what Deriv refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from derivfleet.v1.control_pb2 import GetStatusResponse

__all__ = [
    "BotsSeen",
    "CallsSaved",
    "CircuitBreaker",
    "Connection",
    "NextCall",
    "QuotaNow",
    "QuotaShare",
    "QuotaWindow",
    "RunningCount",
    "StatusSample",
    "bots_seen",
    "counted_between",
    "quota_now",
    "samples_of",
]


@dataclass(frozen=True, slots=True)
class QuotaWindow:
    """One linked window of one bucket of calls; ``limit`` is the gateway's own, ``deriv_limit`` the published one.

    ``reserved`` calls of the limit were held back for exits and reconciling; 0 in samples from before that was told.
    """

    bucket: str
    window_s: int
    used: int
    limit: int
    deriv_limit: int
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """One socket of the gateway's pool."""

    role: str
    state: str
    ping_ms: float
    reconnects: int
    problem: str


@dataclass(frozen=True, slots=True)
class CallsSaved:
    """Calls of one kind that Deriv never saw, since the gateway started."""

    kind: str
    calls: int


@dataclass(frozen=True, slots=True)
class StatusSample:
    """What the gateway said of one account at one time.

    ``balance`` is a decimal string, empty until known. ``rejected_by_deriv`` counts since ``started_ns``.
    """

    account: str
    time_ns: int
    started_ns: int
    dialect: str
    login_id: str
    currency: str
    balance: str
    is_demo: bool
    rejected_by_deriv: int
    calls_sent: int
    foreign_trades: int
    windows: tuple[QuotaWindow, ...]
    connections: tuple[Connection, ...]
    savings: tuple[CallsSaved, ...] = ()


@dataclass(frozen=True, slots=True)
class QuotaShare:
    """One bot's part of one window: calls used, used beyond its share, left to others, and waiting for their turn."""

    bot: str
    bucket: str
    window_s: int
    share: int
    used: int
    borrowed: int
    lent: int
    waiting: int


@dataclass(frozen=True, slots=True)
class NextCall:
    """When one bot's next call of a bucket could start, and the window that makes it wait (empty if none does)."""

    bot: str
    bucket: str
    call: str
    wait_ms: int
    binding_window: str


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Whether orders are opened (closed), refused (open) or tried (half_open); ``state`` is empty until it is told."""

    state: str
    since_ns: int
    reason: str
    retry_ns: int


@dataclass(frozen=True, slots=True)
class QuotaNow:
    """Who uses the limits at this moment. Not kept: a loan of a minute ago helps nobody."""

    shares: tuple[QuotaShare, ...]
    next_calls: tuple[NextCall, ...]
    savings: tuple[CallsSaved, ...]
    breaker: CircuitBreaker


@dataclass(frozen=True, slots=True)
class RunningCount:
    """A running count of the gateway at one time, since it started: of calls refused by Deriv, or of calls saved."""

    time_ns: int
    started_ns: int
    count: int


@dataclass(frozen=True, slots=True)
class BotsSeen:
    """When the gateway last heard of each bot, as of ``time_ns``; 0 for one not heard of since the gateway's start."""

    time_ns: int
    started_ns: int
    last_ns: Mapping[str, int]


def bots_seen(response: GetStatusResponse) -> dict[str, BotsSeen]:
    """Of each account."""
    return {
        status.account: BotsSeen(
            response.time_ns, response.started_time_ns, {bot.bot: bot.last_seen_time_ns for bot in status.bots}
        )
        for status in response.accounts
        if status.account
    }


def samples_of(response: GetStatusResponse) -> list[StatusSample]:
    """One sample an account."""
    return [
        StatusSample(
            account=status.account,
            time_ns=response.time_ns,
            started_ns=response.started_time_ns,
            dialect=status.dialect,
            login_id=status.login_id,
            currency=status.currency,
            balance=status.balance,
            is_demo=status.is_demo,
            rejected_by_deriv=status.rejected_by_deriv,
            calls_sent=status.calls_sent,
            foreign_trades=status.foreign_trades,
            windows=tuple(
                QuotaWindow(
                    window.bucket, window.window_s, window.used, window.limit, window.deriv_limit, window.reserved
                )
                for window in status.windows
            ),
            connections=tuple(
                Connection(one.role, one.state, one.ping_ms, one.reconnects, one.problem) for one in status.connections
            ),
            savings=tuple(CallsSaved(one.kind, one.calls) for one in status.calls_saved),
        )
        for status in response.accounts
        if status.account
    ]


def quota_now(response: GetStatusResponse) -> dict[str, QuotaNow]:
    """Shares, loans and savings of each account."""
    return {
        status.account: QuotaNow(
            shares=tuple(
                QuotaShare(
                    one.bot,
                    one.bucket,
                    one.window_s,
                    one.share,
                    one.used,
                    one.borrowed,
                    one.lent,
                    one.waiting,
                )
                for one in status.shares
            ),
            next_calls=tuple(
                NextCall(one.bot, one.forecast.bucket, one.call, one.forecast.wait_ms, one.forecast.binding_window)
                for one in status.next_calls
            ),
            savings=tuple(CallsSaved(one.kind, one.calls) for one in status.calls_saved),
            breaker=CircuitBreaker(
                status.breaker.state, status.breaker.since_time_ns, status.breaker.reason, status.breaker.retry_time_ns
            ),
        )
        for status in response.accounts
        if status.account
    }


def counted_between(counts: Sequence[RunningCount], start_ns: int, end_ns: int) -> int:
    """How much a running count of the gateway grew in (start, end].

    ``counts`` are one account's, oldest first, and may begin before ``start_ns``: the last one before it is where
    counting begins. A gateway that started within the period counts from zero.
    """
    grown = 0
    before: RunningCount | None = None
    for count in counts:
        if count.time_ns > end_ns:
            break
        if count.time_ns > start_ns:
            if before is not None and before.started_ns == count.started_ns:
                grown += max(0, count.count - before.count)
            elif before is not None or count.started_ns >= start_ns:
                grown += count.count
        before = count
    return grown

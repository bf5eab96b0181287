"""What a seed means: which orders are asked for when, what goes wrong with each, and where the gateway dies."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders import OrderTerms
from derivfleet.simulator.core.faults import FaultKind, FaultRule

__all__ = ["AMBIENT", "BOTS", "CALL_FAULTS", "KINDS", "POINTS", "SYMBOLS", "Ambient", "CrashPlan", "OrderPlan", "Plan"]

BOTS = ("ada", "bob", "cid", "dot")
SYMBOLS = ("1HZ100V", "1HZ50V", "R_50")
POINTS = (
    "before intended is committed",
    "after intended is committed",
    "before sent is committed",
    "after sent is committed",
    "before a frame is handed over",
    "after a frame is handed over",
    "before an answer is handled",
    "after an answer is handled",
    "before an outcome is committed",
    "after an outcome is committed",
    "before an end is committed",
    "after an end is committed",
)
CALL_FAULTS = {
    "drop_before": FaultRule(FaultKind.DROP_BEFORE),
    "drop_before_1001": FaultRule(FaultKind.DROP_BEFORE, abrupt=False),
    "drop_after": FaultRule(FaultKind.DROP_AFTER),
    "drop_after_1001": FaultRule(FaultKind.DROP_AFTER, abrupt=False),
    "drop_answered": FaultRule(FaultKind.DROP_ANSWERED),
    "half_open": FaultRule(FaultKind.HALF_OPEN),
    "delay": FaultRule(FaultKind.DELAY),
    "slow": FaultRule(FaultKind.SLOW),
    "duplicate": FaultRule(FaultKind.DUPLICATE),
    "reorder": FaultRule(FaultKind.REORDER),
    "unknown_code_after": FaultRule(FaultKind.ERROR_AFTER),
    "server_error_before": FaultRule(FaultKind.ERROR_BEFORE, code="InternalServerError"),
    "rate_limit": FaultRule(FaultKind.ERROR_BEFORE, code="RateLimit"),
    "price_moved": FaultRule(FaultKind.ERROR_BEFORE, code="PriceMoved"),
    "sanity_check": FaultRule(FaultKind.ERROR_BEFORE, code="SanityCheckFailed"),
    "garbage": FaultRule(FaultKind.GARBAGE),
    "bare": FaultRule(FaultKind.BARE),
    "stuck": FaultRule(FaultKind.STUCK),
    "revoked": FaultRule(FaultKind.REVOKE),
}
"""What goes wrong with the call of one order."""
WEIGHTS = [{"half_open": 0.4, "slow": 0.4, "delay": 2.5}.get(kind, 1.0) for kind in CALL_FAULTS]
"""A socket that falls silent or slow takes many orders with it; a late answer needs one that lives long."""
AMBIENT = {
    "refuse_login": (FaultRule(FaultKind.REFUSE_LOGIN),),
    "refuse_handshake": (FaultRule(FaultKind.REFUSE_HANDSHAKE),),
    "statement_lag": (FaultRule(FaultKind.LAG, Call.STATEMENT),),
    "unreadable_records": (
        FaultRule(FaultKind.ERROR_BEFORE, Call.STATEMENT, 0.7),
        FaultRule(FaultKind.ERROR_BEFORE, Call.PROPOSAL_OPEN_CONTRACT, 0.7),
    ),
    "frame_cap": (FaultRule(FaultKind.ERROR_BEFORE, Call.STATEMENT, code="ResponseTooLarge"),),
    "idle_close": (),
    "standstill": (),
    "tick_gap": (FaultRule(FaultKind.TICK_GAP, Call.TICKS, 0.5),),
    "repeated_quote": (FaultRule(FaultKind.REPEAT_QUOTE, Call.TICKS, 0.5),),
}
"""What goes wrong for a while, for all."""
OF_RECORDS = ("statement_lag", "unreadable_records", "frame_cap")
"""These may last."""
STANDSTILL, IDLE_CLOSE, CLOCK_SKEW = "standstill", "idle_close", "clock_skew"
KINDS = (*CALL_FAULTS, *AMBIENT, CLOCK_SKEW)

ODD_CODES = ("InternalServerError", "WrongResponse", "NeverSeenBefore", "CallError", "OutputValidationFailed")
FAULTED = 0.4
TWINS = 0.15
"""Orders that ask for the same as another, at about the same time."""
SPACING_S = 0.4
"""Between two orders, on average."""
MOST_SKEW_S = 1.0
DIGITS = ("DIGITOVER", "DIGITUNDER", "DIGITMATCH", "DIGITDIFF")


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """One order, and what its bot does about it. Times in ms since the start."""

    number: int
    bot: str
    terms: OrderTerms
    at_ms: int
    fault: FaultRule | None = None
    kind: str = ""
    sell_after_s: float | None = None
    sell_fault: FaultRule | None = None
    sell_kind: str = ""
    gives_up_after_s: float | None = None
    """The bot stops waiting, and asks again later."""
    asks_again_after_s: float = 2.0
    """After the end, to hear the same once more."""
    asks_otherwise: bool = False
    """It asks for something else with the same id, too."""

    @property
    def order_id(self) -> str:
        return f"{self.bot}-{self.number}"


@dataclass(frozen=True, slots=True)
class Ambient:
    """Something that is wrong for a while."""

    kind: str
    at_ms: int
    lasts_s: float
    rules: tuple[FaultRule, ...] = ()


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """The gateway dies when it has come to a point for the ``countdown``-th time of a life, and is back later."""

    point: str
    countdown: int
    down_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    orders: tuple[OrderPlan, ...]
    ambient: tuple[Ambient, ...]
    crashes: tuple[CrashPlan, ...]
    skew_s: float = 0.0

    @classmethod
    def of_seed(cls, seed: int, orders: int) -> Plan:
        """What this seed means."""
        random_ = random.Random(f"plan/{seed}")
        run_s = orders * SPACING_S
        planned = _orders(random_, orders, run_s)
        ambient = tuple(_ambient(random_, run_s) for _ in range(round(orders / 20)))
        crashes = tuple(_crash(random_) for _ in range(round(orders / 6)))
        skew_s = round(random_.uniform(-MOST_SKEW_S, MOST_SKEW_S), 3) if random_.random() < 0.2 else 0.0
        return cls(seed, planned, ambient, crashes, skew_s)


def _orders(random_: random.Random, count: int, run_s: float) -> tuple[OrderPlan, ...]:
    found: list[OrderPlan] = []
    for number in range(count):
        at_ms = round(random_.uniform(0, run_s) * 1000)
        order = OrderPlan(number, random_.choice(BOTS), _terms(random_), at_ms)
        if found and random_.random() < TWINS:  # the same thing at the same time, from whomever
            twin = random_.choice(found)
            order = replace(order, terms=twin.terms, at_ms=max(0, twin.at_ms + random_.randint(-300, 300)))
        if random_.random() < FAULTED:
            kind, fault = _call_fault(random_)
            order = replace(order, kind=kind, fault=fault)
        if order.terms.duration_unit == "s":
            order = replace(order, sell_after_s=random_.uniform(2, 14))
            if random_.random() < 0.4:
                kind, fault = _call_fault(random_)
                order = replace(order, sell_kind=kind, sell_fault=fault)
        found.append(
            replace(
                order,
                gives_up_after_s=random_.uniform(0.02, 3.0) if random_.random() < 0.2 else None,
                asks_again_after_s=random_.uniform(1.0, 20.0),
                asks_otherwise=random_.random() < 0.1,
            )
        )
    return tuple(found)


def _terms(random_: random.Random) -> OrderTerms:
    stake = Decimal(random_.randint(35, 2000)) / 100
    if random_.random() < 0.3:
        return OrderTerms(random_.choice(("CALL", "PUT")), random_.choice(SYMBOLS), stake, 15, "s")
    return OrderTerms(
        random_.choice(DIGITS), random_.choice(SYMBOLS), stake, random_.randint(1, 5), "t", str(random_.randint(1, 8))
    )


def _call_fault(random_: random.Random) -> tuple[str, FaultRule]:
    (kind,) = random_.choices(tuple(CALL_FAULTS), WEIGHTS)
    rule = CALL_FAULTS[kind]
    match kind:
        case "delay":
            rule = replace(rule, delay_s=random_.choice((0.3, 2.0, 14.0, 16.0, 20.0)))
        case "slow":
            rule = replace(rule, delay_s=random_.uniform(0.5, 3.0))
        case "stuck":
            rule = replace(rule, delay_s=random_.uniform(3, 25))
        case "unknown_code_after":
            rule = replace(rule, code=random_.choice(ODD_CODES))
        case _:
            pass
    return kind, rule


def _ambient(random_: random.Random, run_s: float) -> Ambient:
    kind = random_.choice(tuple(AMBIENT))
    at_ms = round(random_.uniform(0, run_s) * 1000)
    lasts_s = round(random_.uniform(0.2, 1.5), 3)
    rules = AMBIENT[kind]
    if kind in OF_RECORDS:
        lasts_s = round(random_.uniform(5, 40), 3)
        lag_s = random_.uniform(0, 30)
        rules = tuple(replace(rule, delay_s=lag_s) for rule in rules)
    return Ambient(kind, at_ms, lasts_s, rules)


def _crash(random_: random.Random) -> CrashPlan:
    return CrashPlan(
        random_.choice(POINTS), random_.randint(1, 10), round(random_.choice((0.02, 0.1, 0.3, 1.0, 3.0)), 3)
    )

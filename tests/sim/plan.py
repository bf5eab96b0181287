"""What a seed means: which orders are asked for when, what goes wrong with each, and where the gateway dies."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.order import OrderTerms
from derivfleet.simulator.core.faults import FaultKind, FaultRule

__all__ = [
    "BOTS",
    "CALL_FAULTS",
    "DISTURBANCES",
    "KINDS",
    "POINTS",
    "SYMBOLS",
    "CrashPlan",
    "Disturbance",
    "OrderPlan",
    "Plan",
]

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
    "hollow": FaultRule(FaultKind.DELAY, delay_s=0.0),
    "detour": FaultRule(FaultKind.DELAY, delay_s=0.0),
    "severed": FaultRule(FaultKind.DELAY, delay_s=0.0),
    "stuck": FaultRule(FaultKind.STUCK),
    "revoked": FaultRule(FaultKind.REVOKE),
}
"""What goes wrong with the call of one order."""
MISNAMED, PHANTOM = "misnamed", "phantom"
WRONG_RECEIPTS = {
    MISNAMED: FaultRule(FaultKind.DELAY, delay_s=0.0),
    PHANTOM: FaultRule(FaultKind.ERROR_BEFORE),
}
"""A receipt that names a contract which does not exist: another one was bought, or none."""
LOSING = (
    *("drop_before", "drop_after", "drop_answered", "unknown_code_after", "server_error_before"),
    *("garbage", "bare", "hollow", "detour", "severed"),
)
"""With these an answer is lost."""
NOT_BOUGHT = ("drop_before", "drop_before_1001", "server_error_before")
"""With these it is lost, and nothing was bought."""
NEAR_FOREIGN_TRADES = 4
"""Purchases that are nearly what orders buy."""
WEIGHTS = {
    "half_open": 1.2,
    "slow": 1.2,
    "delay": 2.5,
    "duplicate": 1.3,
    "drop_after_1001": 1.1,
    "rate_limit": 3.3,
    "sanity_check": 2.0,
    "price_moved": 2.0,
    "revoked": 1.6,
    "stuck": 1.2,
}
"""A late answer needs a socket that lives long. A refusal makes an order's story short: few crashes meet it."""
DISTURBANCES = {
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
    "foreign_trade": (),
    "hidden": (),
}
"""What goes wrong for a while, for all. While purchases are hidden, the transaction stream is silent, too."""
OF_RECORDS = ("statement_lag", "unreadable_records", "frame_cap")
"""These may last."""
LAG, FRAME_CAP = "statement_lag", "frame_cap"
STANDSTILL, IDLE_CLOSE, CLOCK_SKEW = "standstill", "idle_close", "clock_skew"
HOLLOW, DETOUR, FOREIGN_TRADE, SEVERED, HIDDEN = "hollow", "detour", "foreign_trade", "severed", "hidden"
"""An answer that says nothing; a frame that is long on its way; somebody else who buys what an order buys, or nearly;
a socket that ends before its last frame arrives; purchases that no record shows yet."""
KINDS = (*CALL_FAULTS, *WRONG_RECEIPTS, *DISTURBANCES, CLOCK_SKEW)

ODD_CODES = ("InternalServerError", "WrongResponse", "NeverSeenBefore", "CallError", "OutputValidationFailed")
FAULTED = 0.4
TWINS = 0.2
"""Orders that ask for the same as another, or for nearly the same, at about the same time."""
NEARLY = 0.45
"""Of them: in one of the terms they differ."""
TOGETHER = 0.4
"""Of those that are alike: the answers to both are lost."""
AGAIN = 0.12
"""Orders that ask for the same as another of their bot's, some time after it; half of them when that is in doubt."""
LONG_TROUBLE = 0.5
"""Runs in which the statement lags by more than absence is waited for, or cannot be read for more than a minute."""
LONG_HIDDEN = 0.1
"""Runs in which purchases are shown only at the end of the time for which they are watched for."""
LATE_CRASHES = 0.25
"""Crashes that wait for what comes after the trading: doubts, what is not found, its watch."""
TIGHT = 0.25
"""Runs in which orders have to wait for their turns, and replicas come and go meanwhile."""
TIGHT_BUYS_A_MINUTE = 100
PORTFOLIO_S = 5
"""So much longer than the stream is silent, the portfolio cannot be read: ticks have ended by then."""
MOST_WATCH_S = 500.0
"""Less than the ten minutes for which what was not found is watched, and their half a minute."""
SPACING_S = 0.4
"""Between two orders, on average."""
MOST_SKEW_S = 1.0
ORDERS_A_WRONG_RECEIPT = 50
BEFORE_MS = (10_000, 40_000)
"""So long before the first order like it a foreign trade is made: in that one's time nobody could tell them apart."""
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
    sells_again_after_s: tuple[float, ...] = ()
    """Counted from the first sale: it asks for the same sale again, or for another one under a new id."""
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
class Disturbance:
    """Something that is wrong for a while."""

    kind: str
    at_ms: int
    lasts_s: float
    rules: tuple[FaultRule, ...] = ()
    terms: OrderTerms | None = None


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """The gateway dies when it has come to a point for the ``countdown``-th time of a life, and is back later.

    Times before ``from_ms`` do not count.
    """

    point: str
    countdown: int
    down_s: float
    from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    orders: tuple[OrderPlan, ...]
    disturbances: tuple[Disturbance, ...]
    crashes: tuple[CrashPlan, ...]
    skew_s: float = 0.0
    is_tight: bool = False

    @property
    def lag_s(self) -> float:
        """By how much the statement lags at worst."""
        rules = [rule for one in self.disturbances for rule in one.rules if rule.kind is FaultKind.LAG]
        return max((rule.delay_s for rule in rules), default=0.0)

    @classmethod
    def of_seed(cls, seed: int, orders: int) -> Plan:
        """What this seed means."""
        random_ = random.Random(f"plan/{seed}")
        run_s = orders * SPACING_S
        planned = _orders(random_, orders, run_s)
        disturbances = tuple(_disturbance(random_, run_s, planned) for _ in range(round(orders / 20)))
        if random_.random() < LONG_TROUBLE:
            disturbances += (_long_trouble(random_, run_s),)
        disturbances += (_foreign_trade(random_, run_s), _foreign_trade_before(random_, planned))
        disturbances += tuple(_near_foreign_trade(random_, planned) for _ in range(NEAR_FOREIGN_TRADES))
        if random_.random() < LONG_HIDDEN:
            disturbances += (_hidden(random_, run_s, MOST_WATCH_S),)
        crashes = sorted((_crash(random_, run_s) for _ in range(round(orders / 6))), key=lambda one: one.from_ms)
        skew_s = round(random_.uniform(-MOST_SKEW_S, MOST_SKEW_S), 3) if random_.random() < 0.2 else 0.0
        planned = _wrongly_received(random.Random(f"receipts/{seed}"), planned)
        return cls(seed, planned, disturbances, tuple(crashes), skew_s, random_.random() < TIGHT)


def _orders(random_: random.Random, count: int, run_s: float) -> tuple[OrderPlan, ...]:
    found: list[OrderPlan] = []
    for number in range(count):
        at_ms = round(random_.uniform(0, run_s) * 1000)
        place: int | None = None
        order = OrderPlan(number, random_.choice(BOTS), _terms(random_), at_ms)
        if found and random_.random() < TWINS:  # the same thing at the same time, from whomever
            place = random_.randrange(len(found))
            twin = found[place]
            terms = _nearly(random_, twin.terms) if random_.random() < NEARLY else twin.terms
            order = replace(order, terms=terms, at_ms=max(0, twin.at_ms + random_.randint(-300, 300)))
        elif found and random_.random() < AGAIN:
            lost = [one for one in found if one.kind in LOSING]
            is_late = bool(lost) and random_.random() < 0.5
            before = random_.choice(lost if is_late else found)
            at_ms = before.at_ms + (random_.randint(62_000, 110_000) if is_late else random_.randint(4_000, 90_000))
            order = replace(order, bot=before.bot, terms=before.terms, at_ms=at_ms)
        if random_.random() < FAULTED:
            kind, fault = _call_fault(random_)
            order = replace(order, kind=kind, fault=fault)
        if place is not None and random_.random() < TOGETHER:
            order, found[place] = (_losing(random_, one) for one in (order, found[place]))
        if order.terms.duration_unit == "s":
            again = sorted(random_.choice((0.0, 1.0, 6.0)) + random_.uniform(0.01, 3) for _ in range(3))
            order = replace(order, sell_after_s=random_.uniform(2, 14), sells_again_after_s=tuple(again))
            if random_.random() < 0.6:
                kind, fault = _call_fault(random_, LOSING if random_.random() < 0.7 else tuple(CALL_FAULTS))
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


def _wrongly_received(random_: random.Random, orders: tuple[OrderPlan, ...]) -> tuple[OrderPlan, ...]:
    """Some orders get receipts for nothing: of those that nothing else happens to, and that no other order is like."""
    asked = Counter(order.terms for order in orders)
    apt = [order.number for order in orders if not order.kind and asked[order.terms] == 1]
    few = random_.sample(apt, min(len(apt), random_.randint(0, 2 * round(len(orders) / ORDERS_A_WRONG_RECEIPT))))
    kinds = {number: random_.choice(tuple(WRONG_RECEIPTS)) for number in few}
    return tuple(
        order if (kind := kinds.get(order.number)) is None else replace(order, kind=kind, fault=WRONG_RECEIPTS[kind])
        for order in orders
    )


def _terms(random_: random.Random) -> OrderTerms:
    stake = Decimal(random_.randint(35, 2000)) / 100
    if random_.random() < 0.3:
        length_s = random_.choice((15, 15, 16))
        return OrderTerms(random_.choice(("CALL", "PUT")), random_.choice(SYMBOLS), stake, length_s, "s")
    return OrderTerms(
        random_.choice(DIGITS), random_.choice(SYMBOLS), stake, random_.randint(1, 5), "t", str(random_.randint(1, 8))
    )


def _nearly(random_: random.Random, terms: OrderTerms) -> OrderTerms:
    """The same but for one of the terms."""
    name = random_.choice(("contract_type", "symbol", "stake", "barrier", "duration"))
    match name:
        case "symbol":
            return replace(terms, symbol=random_.choice([symbol for symbol in SYMBOLS if symbol != terms.symbol]))
        case "stake":
            return replace(terms, stake=terms.stake + Decimal("0.01"))
        case "barrier" if terms.barrier:
            return replace(terms, barrier=str(int(terms.barrier) % 8 + 1))
        case "duration" if terms.duration_unit == "t":
            return replace(terms, duration=terms.duration % 5 + 1)
        case "duration":
            return replace(terms, duration=31 - terms.duration)
        case _:
            sort = DIGITS if terms.barrier else ("CALL", "PUT")
            others = [kind for kind in sort if kind != terms.contract_type]
            return replace(terms, contract_type=random_.choice(others))


def _losing(random_: random.Random, order: OrderPlan) -> OrderPlan:
    kind, fault = _call_fault(random_, LOSING)
    return replace(order, kind=kind, fault=fault)


def _call_fault(random_: random.Random, kinds: tuple[str, ...] = tuple(CALL_FAULTS)) -> tuple[str, FaultRule]:
    (kind,) = random_.choices(kinds, [WEIGHTS.get(kind, 1.0) for kind in kinds])
    rule = CALL_FAULTS[kind]
    match kind:
        case "delay":
            rule = replace(rule, delay_s=random_.choice((0.3, 14.0, 15.1, 16.0, 20.0, 50.0)))
        case "slow":
            rule = replace(rule, delay_s=random_.uniform(0.5, 3.0))
        case "stuck":
            rule = replace(rule, delay_s=random_.uniform(3, 25))
        case "unknown_code_after":
            rule = replace(rule, code=random_.choice(ODD_CODES))
        case _:
            pass
    return kind, rule


def _disturbance(random_: random.Random, run_s: float, orders: tuple[OrderPlan, ...]) -> Disturbance:
    kind = random_.choice(tuple(DISTURBANCES))
    at_ms = round(random_.uniform(0, run_s) * 1000)
    lasts_s = round(random_.uniform(0.2, 1.5), 3)
    rules = DISTURBANCES[kind]
    if kind == FOREIGN_TRADE:
        return _foreign_trade_before(random_, orders)
    if kind == HIDDEN:
        return replace(_hidden(random_, run_s, 45.0), at_ms=at_ms)
    if kind in OF_RECORDS:
        lasts_s = round(random_.uniform(5, 40), 3)
        lag_s = random_.uniform(0, 30)
        rules = tuple(replace(rule, delay_s=lag_s) for rule in rules)
    return Disturbance(kind, at_ms, lasts_s, rules)


def _foreign_trade(random_: random.Random, run_s: float) -> Disturbance:
    """Buys what nobody else does, also when all is calm."""
    terms = replace(_terms(random_), stake=Decimal("33.33"))
    return Disturbance(FOREIGN_TRADE, round(random_.uniform(0, run_s + 60) * 1000), 0.0, (), terms)


def _foreign_trade_before(random_: random.Random, orders: tuple[OrderPlan, ...]) -> Disturbance:
    """Buys what an order whose answer is lost buys later."""
    first_ms = {order.terms: order.at_ms for order in sorted(orders, key=lambda order: -order.at_ms)}
    late = [order for order in orders if order.kind in LOSING and first_ms[order.terms] > BEFORE_MS[0]]
    if not late:
        return _foreign_trade(random_, first_ms[orders[0].terms] / 1000)
    terms = random_.choice(late).terms
    before_ms = random_.randint(BEFORE_MS[0], min(BEFORE_MS[1], first_ms[terms]))
    return Disturbance(FOREIGN_TRADE, first_ms[terms] - before_ms, 0.0, (), terms)


def _near_foreign_trade(random_: random.Random, orders: tuple[OrderPlan, ...]) -> Disturbance:
    """Buys nearly what an order whose answer is lost buys, at the same time: what is not the same proves nothing."""
    kinds = random_.choice((LOSING, NOT_BOUGHT))
    order = random_.choice([order for order in orders if order.kind in kinds] or orders)
    alike = {one.terms for one in orders}
    terms = next((terms for _ in range(20) if (terms := _nearly(random_, order.terms)) not in alike), None)
    at_ms = max(0, order.at_ms + random_.randint(-300, 300))
    return Disturbance(FOREIGN_TRADE, at_ms, 0.0, (), terms)


def _hidden(random_: random.Random, run_s: float, most_s: float) -> Disturbance:
    """No record shows what is bought from now on; the statement shows it last."""
    lag_s = random_.uniform(3, most_s)
    stream_s = round(random_.uniform(3, 20), 3)
    rules = (
        FaultRule(FaultKind.LAG, Call.STATEMENT, delay_s=lag_s, lasts_s=round(lag_s + stream_s, 3)),
        FaultRule(FaultKind.ERROR_BEFORE, Call.PORTFOLIO, lasts_s=stream_s + PORTFOLIO_S),
    )
    return Disturbance(HIDDEN, round(random_.uniform(0, run_s) * 1000), stream_s, rules)


def _long_trouble(random_: random.Random, run_s: float) -> Disturbance:
    kind = random_.choice((LAG, FRAME_CAP))
    rules = tuple(replace(rule, delay_s=random_.uniform(60, 150)) for rule in DISTURBANCES[kind])
    return Disturbance(kind, round(random_.uniform(0, run_s) * 1000), round(random_.uniform(70, 150), 3), rules)


def _crash(random_: random.Random, run_s: float) -> CrashPlan:
    from_ms = round(random_.uniform(0, run_s + 90) * 1000) if random_.random() < LATE_CRASHES else 0
    down_s = random_.choice((0.02, 0.1, 0.3, 1.0, 3.0))
    return CrashPlan(random_.choice(POINTS), random_.randint(1, 2 if from_ms else 10), down_s, from_ms)

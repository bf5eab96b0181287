"""What really happened: orders, their spans, and the record of both."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACCOUNT", "BOTS", "START_S", "ZONE", "Generator", "Made", "Span"]

ACCOUNT = "demo"
ZONE = "Europe/Berlin"
START_S = 1_792_792_800
"""2026-10-24 00:00 in Berlin: the clocks go back on the second day, which so lasts 25 hours."""
BOTS = {
    "over-4": ("digit_frequency", "1HZ100V"),
    "under-5": ("digit_frequency", "1HZ75V"),
    "trend-50": ("moving_average", "R_50"),
    "trend-75": ("moving_average", "1HZ75V"),
}
NS = 1_000_000_000
_LOST_ORDERS = 0.01
_LOST_SPANS = 0.01
_STRAYS = 0.003
_DENIED = 0.02


@dataclass(slots=True)
class Span:
    """One span, and whether it was lost on the way."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    service: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str]
    lost: bool = False


@dataclass(slots=True)
class Made:
    """One order (amounts in cents) with its spans. ``told``: whether the order feed ever tells of it."""

    order_id: str
    bot: str
    symbol: str
    stake: int
    profit: int
    intended_ns: int
    bought_ns: int
    settled_ns: int
    denied: bool
    told: bool
    spans: list[Span]


class Generator:
    """Orders of some hours, in time, and their record: tables ``orders`` and ``spans`` of :attr:`record`."""

    def __init__(self, seed: int, hours: int, orders_an_hour: int) -> None:
        self.hours = hours
        self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self._orders_an_hour = orders_an_hour
        self.record = sqlite3.connect(":memory:")
        self.record.execute(
            "CREATE TABLE orders "
            "(id, bot, symbol, strategy, stake, profit, bought_ns, settled_ns, denied, told, traced, proven, named_ns)"
        )
        self.record.execute("CREATE TABLE spans (name, bot, call, cause, start_ns, end_ns, code, lost)")

    def orders(self) -> Iterator[Made]:
        """Make everything; each order is written down before it is handed out."""
        for hour in range(self.hours):
            # Some hours are silent, some busy.
            count = self._random.choice([0, 1, 2, 3]) * self._orders_an_hour // 2
            offsets = sorted(self._random.randrange(3_600 * NS) for _ in range(count))
            for number, offset_ns in enumerate(offsets):
                made = self._order(f"o{hour}-{number}", (START_S + hour * 3_600) * NS + offset_ns)
                self._write_down(made)
                yield made

    def _order(self, order_id: str, at_ns: int) -> Made:
        draw = self._random
        bot = draw.choice(list(BOTS))
        _, symbol = BOTS[bot]
        stake = draw.choice([35, 50, 100, 275])
        wait_ns = int(draw.expovariate(1 / (0.4 * NS)))
        call_ns = int(draw.lognormvariate(17.5, 0.8))
        denied = draw.random() < _DENIED
        bought_ns = at_ns + 2_000_000 + wait_ns + call_ns
        # Deriv says in whole seconds when a contract ended; some run over midnight.
        length_s = draw.choice([1, 2, 2, 5, 60, 900, 7_200])
        settled_ns = (bought_ns // NS + length_s) * NS
        made = Made(
            order_id=order_id,
            bot=bot,
            symbol=symbol,
            stake=stake,
            profit=draw.choice([-stake, round(stake * 0.953)]),
            intended_ns=at_ns,
            bought_ns=bought_ns,
            settled_ns=max(settled_ns, bought_ns),
            denied=denied,
            told=denied or draw.random() >= _STRAYS,
            spans=[],
        )
        made.spans = self._spans(made, wait_ns)
        if draw.random() < _LOST_ORDERS:
            for span in made.spans:
                span.lost = True
        for span in made.spans:
            span.lost = span.lost or draw.random() < _LOST_SPANS
        return made

    def _spans(self, made: Made, wait_ns: int) -> list[Span]:
        trace_id = self._random.randbytes(16)
        own = {"account": ACCOUNT, "bot": made.bot}
        order = {**own, "order_id": made.order_id}
        at, ns = made.intended_ns, made.bought_ns
        code = {"error_code": "QUOTA_DEADLINE"} if made.denied else {}
        state = {} if made.denied else {"state": "confirmed"}
        end_ns = ns if made.denied else made.settled_ns + 5_000_000
        money = {"stake": f"{made.stake / 100:.2f}", "profit": f"{made.profit / 100:.2f}"}
        rows = [
            ("trade", "", at, end_ns, order | ({} if made.denied else money)),
            ("trade.decide", "trade", at, at + 400_000, {"bot": made.bot}),
            ("trade.buy", "trade", at + 500_000, ns + 300_000, order | code),
            ("gateway.buy", "trade.buy", at + 1_000_000, ns, order | state | code),
            ("quota.wait", "gateway.buy", at + 2_000_000, at + 2_000_000 + wait_ns, own | {"bucket": self._cause()}),
        ]
        if not made.denied:
            rows += [
                ("deriv.call", "gateway.buy", at + 2_000_000 + wait_ns, ns, own | {"call": "buy"}),
                ("trade.follow", "trade", ns, made.settled_ns + 4_000_000, order),
                ("order.settle", "gateway.buy", ns, made.settled_ns + 3_000_000, order | money),
            ]
        ids = {name: self._random.randbytes(8) for name, *_ in rows}
        return [
            Span(
                trace_id=trace_id,
                span_id=ids[name],
                parent_id=ids.get(parent, b""),
                name=name,
                service="derivfleet-bot" if name.startswith("trade") else "derivfleet-gateway",
                start_ns=start_ns,
                end_ns=end_ns,
                attributes=attributes,
            )
            for name, parent, start_ns, end_ns, attributes in rows
        ]

    def _cause(self) -> str:
        return self._random.choice(["trade/60s", "trade/3600s", "trade"])

    def _write_down(self, made: Made) -> None:
        arrived = [span for span in made.spans if not span.lost]
        telling = [span for span in arrived if span.name in ("gateway.buy", "order.settle")]
        self.record.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                made.order_id,
                made.bot,
                made.symbol,
                BOTS[made.bot][0],
                made.stake,
                made.profit,
                made.bought_ns,
                made.settled_ns,
                made.denied,
                made.told,
                bool(telling),
                bool(telling) and not made.denied,
                max((span.end_ns for span in arrived if "order_id" in span.attributes), default=0),
            ),
        )
        reached = any(span.name == "gateway.buy" for span in arrived)
        for span in made.spans:
            said = span.attributes
            code = said.get("error_code", "")
            if span.name == "trade.buy" and reached:
                code = ""  # the gateway tells of it
            row = (span.name, made.bot, said.get("call", ""), said.get("bucket", ""), span.start_ns, span.end_ns, code)
            self.record.execute("INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, span.lost))

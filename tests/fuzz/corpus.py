"""Whole inputs: every kind of frame in both dialects, as the simulator sends them, and fleet files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.dialects import to_json
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.effects import Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.simulator.core.effects import Effect

__all__ = ["fleet_files", "frames"]

START_S = 1_795_161_600
TOKEN, APP_ID = "a1-TOKEN", "12345"
NS = 10**9
MOST_OF_A_KIND = 3
EXAMPLE = Path(__file__).parents[2] / "fleet.yaml"
SMALL = """\
fleet: small
accounts:
  - key: demo
    limits: {headroom: 0.95, windows: {lists: {60: 30}}}
bots:
  - name: over-4
    strategy: digit_frequency
    symbols: [1HZ100V]
    stake: 0.35
    caps: {buy: 30}
    parameters: {side: over, barrier: 4, window_ticks: 25, deficit: 0.0}
"""
TREND = """\
bots:
- {name: trend, strategy: moving_average, symbols: [R_75, R_10], replicas: 2, stake: 0.50, weight: 2,
   parameters: {fast_ticks: 3, slow_ticks: 12, duration_ticks: 3}}
"""


def _questions(dialect: Dialect) -> list[dict[str, Any]]:
    symbol = "underlying_symbol" if dialect is Dialect.OPTIONS else "symbol"
    terms = {
        "amount": 1,
        "basis": "stake",
        "contract_type": "CALL",
        "currency": "USD",
        "duration": 5,
        "duration_unit": "t",
        symbol: "R_100",
    }
    asked: list[dict[str, Any]] = [
        {"ping": 1},
        {"time": 1},
        {"balance": 1, "subscribe": 1},
        {"transaction": 1, "subscribe": 1},
        {"ticks": "R_100", "subscribe": 1},
        {"active_symbols": "brief"},
        {"contracts_for": "R_100"},
        {"ticks_history": "R_100", "count": 5, "end": "latest"},
        {"ticks_history": "R_100", "count": 3, "end": "latest", "style": "candles", "granularity": 60, "subscribe": 1},
        {"proposal": 1, "subscribe": 1, **terms},
        {"buy": "1", "price": 1, "parameters": terms, "subscribe": 1},
        {"buy": "1", "price": 1, "parameters": {**terms, "amount": "x"}},
        {"portfolio": 1},
        {"statement": 1, "description": 1, "limit": 5},
        {"profit_table": 1, "description": 1, "limit": 5},
        {"proposal_open_contract": 1, "subscribe": 1},
        {"sell": 1, "price": 0},
        {"nonsense": 1},
        {"forget_all": "ticks"},
    ]
    return [{"authorize": TOKEN}, {"website_status": 1}, *asked] if dialect is Dialect.LEGACY else asked


@cache
def frames() -> tuple[tuple[Dialect, str], ...]:
    """A few frames of every kind."""
    found: list[tuple[Dialect, str]] = []
    for dialect in Dialect:
        exchange = Exchange("corpus", Credentials(TOKEN, APP_ID), SimulatorSettings(), START_S)
        account = exchange.options_account.loginid if dialect is Dialect.OPTIONS else None
        number = exchange.connect(dialect, APP_ID, "10.0.0.1", START_S * NS, account).number
        effects: list[Effect] = []
        asked = _questions(dialect)
        # Twice: once an account's first contracts have ended, its lists are longer.
        for position, question in enumerate([*asked, *asked]):
            now_ns = (START_S + position) * NS
            effects += exchange.receive(number, to_json({**question, "req_id": position + 1}), now_ns)
        for second in range(20):
            effects += exchange.advance(START_S + 2 * len(asked) + second)
        found += [
            (dialect, text) for text in _few_of_each(effect.text for effect in effects if isinstance(effect, Send))
        ]
    return tuple(found)


def _few_of_each(texts: Iterable[str]) -> list[str]:
    kept: dict[str, list[str]] = {}
    for text in texts:
        kind = text.partition('"msg_type":"')[2].partition('"')[0] + ("!" if '"error":' in text else "")
        kept.setdefault(kind, []).append(text)
    return [text for of_kind in kept.values() for text in (*of_kind[:MOST_OF_A_KIND], *of_kind[-MOST_OF_A_KIND:])]


@cache
def fleet_files() -> tuple[str, ...]:
    """Small ones more often than a large one, for reading YAML takes time."""
    return (SMALL, TREND, SMALL, TREND, SMALL, TREND, SMALL, EXAMPLE.read_text())

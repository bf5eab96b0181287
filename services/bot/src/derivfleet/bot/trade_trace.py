"""The spans of one trade: one root, the decision, each call for the order, the wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.bot.staking import money_text
from derivfleet.common.spans import Attribute, SpanName

if TYPE_CHECKING:
    from derivfleet.bot.core.trades import Ended, Intention, OrderNews
    from derivfleet.common.telemetry import OpenSpan, Telemetry

__all__ = ["TradeTrace"]


class TradeTrace:
    """Opened with the decision; closed once, by :meth:`end` or :meth:`leave`."""

    def __init__(
        self, telemetry: Telemetry, account: str, bot: str, strategy: str, intention: Intention, decided_ns: int
    ) -> None:
        self._telemetry = telemetry
        self._order: dict[Attribute, str | int | bool] = {
            Attribute.ACCOUNT: account,
            Attribute.BOT: bot,
            Attribute.ORDER_ID: intention.order_id,
        }
        self._root = telemetry.start(
            SpanName.TRADE,
            {
                **self._order,
                Attribute.STRATEGY: strategy,
                Attribute.SYMBOL: intention.symbol,
                Attribute.CONTRACT_TYPE: intention.decision.contract_type,
                Attribute.STAKE: money_text(intention.stake),
            },
            start_ns=intention.arrived_ns,
        )
        telemetry.start(
            SpanName.DECIDE,
            {Attribute.BOT: bot, Attribute.STRATEGY: strategy, Attribute.SYMBOL: intention.symbol},
            self._root.context,
            start_ns=intention.arrived_ns,
        ).end(decided_ns)
        self._follow: OpenSpan | None = None
        self._state = ""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self._root.trace_id

    def buy(self) -> OpenSpan:
        """A call for the order begins; the caller ends the span."""
        return self._telemetry.start(SpanName.BUY, self._order, self._root.context)

    def follow(self, news: OrderNews) -> None:
        """The gateway has the order: the wait for its end begins."""
        self._state = news.state.value
        self._follow = self._telemetry.start(SpanName.FOLLOW, self._order, self._root.context)

    def end(self, ended: Ended) -> None:
        """The trade is over."""
        state = ended.outcome.value
        if self._follow is not None:
            self._follow.set({Attribute.STATE: state})
            self._follow.end()
        self._root.set({Attribute.STATE: state})
        if ended.profit is not None:
            self._root.set({Attribute.PROFIT: money_text(ended.profit)})
        if ended.error_code:
            self._root.fail(ended.error_code, ended.error_message)
        self._root.end()

    def leave(self) -> None:
        """The bot ends before the trade does: the spans say how far it saw."""
        if self._follow is not None:
            self._follow.set({Attribute.STATE: self._state})
            self._follow.end()
        self._root.set({Attribute.STATE: self._state or "asked"})
        self._root.end()

"""The loop of a bot: carries ticks and news to the trader, and the trader's actions to the gateway."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from derivfleet.bot.core.trades import Action, Ask, AskAgain, CheckOrder, Dropped, Ended, FailureKind, Followed, Wait
from derivfleet.bot.gateway_client import CallFailedError
from derivfleet.bot.staking import money_text
from derivfleet.bot.trade_trace import TradeTrace
from derivfleet.common.backoff import backoff_s
from derivfleet.common.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from derivfleet.bot.core.trader import Trader
    from derivfleet.bot.core.trades import CallFailure, Intention
    from derivfleet.bot.gateway_client import GatewayClient
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Bot
    from derivfleet.common.telemetry import Telemetry

__all__ = ["DRAIN_WALL_S", "Runner"]

DRAIN_WALL_S = 5.0
"""How long a stopping bot waits for its open orders, in wall seconds: a supervisor kills after ten."""

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 10.0
"""Between two attempts to reach the gateway, fleet time. It stands close by, so the first wait is short."""

RENEW_EVERY_WALL_S = 1.0
"""A third of what a lease lasts, so that one lost renewal loses nothing."""

_log = get_logger()


class _Link:
    """One of the bot's two streams: says once when it goes and once when it comes."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._stands: bool | None = None
        self.attempt = 0

    def up(self) -> None:
        if self._stands is False:
            _log.info("gateway is there", stream=self._stream)
        self._stands = True
        self.attempt = 0

    def down(self, failure: CallFailure | None) -> None:
        if self._stands is not False:
            event = "gateway not there yet, retrying" if self._stands is None else "stream cut, retrying"
            code, message = ("ENDED", "the gateway closed it") if failure is None else (failure.code, failure.message)
            _log.warning(event, stream=self._stream, code=code, problem=message)
        self._stands = False


class Runner:
    """Runs one bot until it is told to stop."""

    def __init__(
        self, bot: Bot, account: str, trader: Trader, gateway: GatewayClient, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._bot = bot
        self._account = account
        self._trader = trader
        self._gateway = gateway
        self._telemetry = telemetry
        self._clock = clock
        self.last_tick_ns = 0
        self.last_decision_ns = 0
        """0: none yet."""
        self._traces: dict[str, TradeTrace] = {}
        self._following = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Trade until ``stop``; then decide nothing more, wait a while for open orders, and return.

        Raises ConfigurationError if the gateway refuses the token, a symbol or the account.
        """
        try:
            async with self._group:
                self._spawn(self._follow_orders())
                deciding = [self._spawn(self._watch_ticks()), self._spawn(self._hold_symbols())]
                await stop.wait()
                self._trader.stop()
                for task in deciding:
                    task.cancel()
                # The others may take the symbols over at once; orders that are open are followed to their end.
                with suppress(CallFailedError):
                    await self._gateway.renew(leaving=True)
                with suppress(TimeoutError):
                    async with self._clock.timeout(self._clock.fleet_s(DRAIN_WALL_S)):
                        await self._idle.wait()
                for task in tuple(self._tasks):
                    task.cancel()
        except ExceptionGroup as group:
            # Both streams may have met the same wall; one line of it is enough.
            raise group.exceptions[0] from None
        finally:
            self._leave()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _leave(self) -> None:
        for key, trace in self._traces.items():
            _log.info("order left open", order_id=key, trace_id=trace.trace_id)
            trace.leave()
        self._traces.clear()
        counters = {key: str(value) for key, value in asdict(self._trader.counters).items()}
        _log.info("bot ended", **counters)

    async def _follow_orders(self) -> None:
        link = _Link("orders")
        while True:
            failure: CallFailure | None = None
            try:
                async with self._gateway.orders() as stream:
                    async for news in stream:
                        if news is None:
                            await self._check_followed()
                            link.up()
                            self._trader.follow(True)
                            self._following.set()
                        else:
                            self._do(self._trader.on_news(news, self._clock.now_ns()))
            except CallFailedError as error:
                failure = error.failure
            self._trader.follow(False)
            link.down(failure)
            await self._wait(link, failure)

    async def _check_followed(self) -> None:
        """What happened to open orders while nobody listened."""
        for key in self._trader.followed_orders:
            try:
                news = await self._gateway.check(key)
            except CallFailedError as error:
                if error.failure.kind is not FailureKind.ABSENT:
                    raise
                self._do(self._trader.on_failure(key, error.failure, self._clock.now_ns()))
            else:
                self._do(self._trader.on_answer(news, self._clock.now_ns()))

    async def _watch_ticks(self) -> None:
        link = _Link("ticks")
        least = self._bot.parameters.least_ticks()
        while True:
            await self._following.wait()
            failure: CallFailure | None = None
            try:
                # The stream is opened first, so that no tick falls between the past and the present.
                async with self._gateway.ticks(self._bot.symbols) as stream:
                    for symbol in self._bot.symbols:
                        self._trader.remember(symbol, await self._gateway.history(symbol, least))
                    async for tick in stream:
                        link.up()
                        self.last_tick_ns = self._clock.now_ns()
                        self._do(self._trader.on_tick(tick, self.last_tick_ns))
            except CallFailedError as error:
                failure = error.failure
            link.down(failure)
            await self._wait(link, failure)

    async def _hold_symbols(self) -> None:
        """Renew the leases; say when they change."""
        held: tuple[str, ...] = ()
        while True:
            try:
                self._trader.hold(await self._gateway.renew())
            except CallFailedError as error:
                # The streams tell that the gateway is away; what is held ends by itself.
                _log.debug("leases not renewed", code=error.failure.code)
            if held != (held := self._trader.held_symbols):
                _log.info("symbols held", symbols=",".join(held))
            await self._clock.sleep(self._clock.fleet_s(RENEW_EVERY_WALL_S))

    async def _wait(self, link: _Link, failure: CallFailure | None) -> None:
        retry_after_s = failure.retry_after_s if failure is not None and failure.kind is FailureKind.LIMIT else 0.0
        await self._clock.sleep(
            max(backoff_s(link.attempt, self._bot.name, FIRST_WAIT_S, LONGEST_WAIT_S), retry_after_s)
        )
        link.attempt += 1

    def _do(self, actions: tuple[Action, ...]) -> None:
        """Carry out actions; those that wait for the gateway run beside the streams."""
        for action in actions:
            match action:
                case Ask(intention):
                    self._open(intention)
                    self._spawn(self._ask(intention))
                case AskAgain(intention):
                    self._spawn(self._ask(intention))
                case Wait(order_id, attempt, least_s):
                    self._spawn(self._wait_and_see(order_id, attempt, least_s))
                case CheckOrder(order_id):
                    self._spawn(self._check_order(order_id))
                case Followed(order_id, news):
                    self._traces[order_id].follow(news)
                    self._say("order open", order_id, state=news.state.value, contract_id=news.contract_id)
                case Ended():
                    self._close(action)
                case Dropped(symbol, tick_epoch_s, age_s):
                    _log.warning("decision too late", symbol=symbol, tick_epoch_s=tick_epoch_s, age_s=round(age_s, 1))

    def _open(self, intention: Intention) -> None:
        strategy = self._bot.parameters.strategy
        trace = TradeTrace(self._telemetry, self._account, self._bot.name, strategy, intention, self._clock.now_ns())
        self._traces[intention.order_id] = trace
        self.last_decision_ns = intention.arrived_ns
        self._idle.clear()
        self._say(
            "decided",
            intention.order_id,
            symbol=intention.symbol,
            contract_type=intention.decision.contract_type,
            stake=money_text(intention.stake),
        )

    def _close(self, ended: Ended) -> None:
        self._say(
            "trade ended",
            ended.order_id,
            outcome=ended.outcome.value,
            profit=None if ended.profit is None else money_text(ended.profit),
            error_code=ended.error_code or None,
            problem=ended.error_message or None,
        )
        self._traces.pop(ended.order_id).end(ended)
        if not self._traces:
            self._idle.set()

    async def _wait_and_see(self, order_id: str, attempt: int, least_s: float) -> None:
        """Nothing is known of an order: wait, then do what the trader makes of it. It may have ended meanwhile."""
        await self._clock.sleep(max(backoff_s(attempt, order_id, FIRST_WAIT_S, LONGEST_WAIT_S), least_s))
        self._do(self._trader.on_waited(order_id, self._clock.now_ns()))

    async def _ask(self, intention: Intention) -> None:
        """One call for the order, unless it has ended before this task's turn came: news can be faster."""
        key = intention.order_id
        trace = self._traces.get(key)
        if trace is None:
            return
        span = trace.buy()
        try:
            news = await self._gateway.buy(intention, span.context)
        except CallFailedError as error:
            span.fail(error.failure.code, error.failure.message)
            self._refused("buy", key, error.failure)
        else:
            if news.error_code:
                span.fail(news.error_code, news.error_message)
            self._do(self._trader.on_answer(news, self._clock.now_ns()))
        finally:
            span.end()

    async def _check_order(self, order_id: str) -> None:
        """Ask what became of an order that nothing was heard of."""
        try:
            news = await self._gateway.check(order_id)
        except CallFailedError as error:
            self._refused("check", order_id, error.failure)
        else:
            self._do(self._trader.on_answer(news, self._clock.now_ns()))

    def _refused(self, call: str, order_id: str, failure: CallFailure) -> None:
        if order_id in self._traces:
            self._say(
                f"{call} not answered" if failure.kind is FailureKind.SILENCE else f"{call} refused",
                order_id,
                code=failure.code,
                problem=failure.message,
            )
        self._do(self._trader.on_failure(order_id, failure, self._clock.now_ns()))

    def _say(self, event: str, order_id: str, **facts: object) -> None:
        """A log line about an order: always with its id and its trace."""
        said = {key: value for key, value in facts.items() if value is not None}
        _log.info(event, order_id=order_id, trace_id=self._traces[order_id].trace_id, **said)

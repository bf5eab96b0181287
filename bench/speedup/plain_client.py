"""A socket to Deriv as a plain client has it: one-time address, questions, answers, a new one when it has died."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect, from_json, to_json
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import Tick
from derivfleet.deriv.vocabulary import Basis, Dialect, DurationUnit

if TYPE_CHECKING:
    from typing import Any

    from websockets.asyncio.client import ClientConnection

    from bench.speedup.program import ProgramSettings
    from derivfleet.bot.core.decisions import Decision
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Bot
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.requests import Request

__all__ = [
    "CODEC",
    "FailedError",
    "PlainClient",
    "pause_s",
    "purchase_of",
    "quote_of",
    "state_of",
    "ticks_in",
    "ticks_of",
]

CODEC = dialect(Dialect.OPTIONS)
PATIENCE_S = 10.0
"""How long an answer is waited for, fleet time; the slowest that a user has reported took 7 s."""
LEAST_ENTRY_WALL_S = 5.0
MAX_FRAME_BYTES = 2_000_000


class FailedError(Exception):
    """A call came to nothing that its caller can use: refused, cut off, or not answered in time."""


class PlainClient:
    """One socket, opened when it is first needed and again after it has died."""

    def __init__(self, settings: ProgramSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._opening = asyncio.Lock()
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._req_ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}

    async def ask(self, request: Request) -> Frame:
        """One question, one answer. Raises FailedError."""
        req_id = next(self._req_ids)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        try:
            socket = await self._open()
            self._waiting[req_id] = answer
            async with self._clock.timeout(PATIENCE_S):
                await socket.send(to_json(CODEC.encode_request(request, req_id)))
                frame = await answer
        except TimeoutError:
            raise FailedError(f"{request.call}: no answer") from None
        except (OSError, aiohttp.ClientError, WebSocketException) as error:
            raise FailedError(f"{request.call}: {type(error).__name__}") from None
        finally:
            self._waiting.pop(req_id, None)
        problem = CODEC.decode_error(frame)
        if problem is not None:
            raise FailedError(f"{request.call}: {problem.code}: {problem.message}")
        return frame

    async def close(self) -> None:
        if self._socket is not None and self._reader is not None:
            await self._socket.close()
            await self._reader

    async def _open(self) -> ClientConnection:
        async with self._opening:
            if self._socket is None or self._reader is None or self._reader.done():
                self._socket = await connect(
                    await self._address(), ping_interval=None, compression=None, max_size=MAX_FRAME_BYTES
                )
                self._reader = asyncio.create_task(self._read(self._socket))
            return self._socket

    async def _address(self) -> str:
        settings = self._settings
        headers = {"Authorization": f"Bearer {settings.token.get_secret_value()}", "Deriv-App-ID": settings.app_id}
        timeout = aiohttp.ClientTimeout(total=LEAST_ENTRY_WALL_S)
        path = f"{settings.url}/trading/v1/options/accounts/{settings.account}/otp"
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session, session.post(path) as answer:
            answer.raise_for_status()
            body: dict[str, Any] = await answer.json()
            return str(body["data"]["url"])

    async def _read(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in socket:
                frame = from_json(text)
                answer = self._waiting.pop(int(frame.get("req_id", 0)), None)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
        # Whoever still waits on this socket waits in vain.
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the socket died"))
        self._waiting.clear()


def pause_s(bot: Bot) -> float:
    """How long the bot wants to do nothing after a trade."""
    return bot.pause_ticks * SYMBOLS[bot.symbols[0]].tick_spacing_s


def ticks_of(bot: Bot) -> requests.TicksHistory:
    """As many of the latest ticks as the bot's strategy looks at."""
    return requests.TicksHistory(ticks_history=bot.symbols[0], count=bot.parameters.least_ticks())


def ticks_in(frame: Frame, bot: Bot) -> list[Tick]:
    """The answer to that, oldest first."""
    symbol = SYMBOLS[bot.symbols[0]]
    history = CODEC.decode_history(frame, symbol.decimals)
    return [Tick(symbol.name, epoch_s, quote, symbol.decimals) for epoch_s, quote in history.prices]


def quote_of(bot: Bot, decision: Decision) -> requests.Proposal:
    """What a decision would pay."""
    return requests.Proposal(**_terms_of(bot, decision))


def purchase_of(bot: Bot, decision: Decision) -> requests.Buy:
    """A purchase by parameters: the id of a quote would be good on the quote's own socket only."""
    return requests.Buy(buy="1", price=bot.stake, parameters=requests.BuyParameters(**_terms_of(bot, decision)))


def state_of(contract_id: int) -> requests.ProposalOpenContract:
    """How a contract stands."""
    return requests.ProposalOpenContract(contract_id=contract_id)


def _terms_of(bot: Bot, decision: Decision) -> dict[str, Any]:
    return {
        "amount": bot.stake,
        "basis": Basis.STAKE,
        "contract_type": decision.contract_type,
        "currency": "USD",
        "duration": decision.duration_ticks,
        "duration_unit": DurationUnit.TICKS,
        "barrier": decision.barrier,
        "underlying_symbol": bot.symbols[0],
    }

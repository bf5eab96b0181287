"""The experiments, carried out: each asks core/probe what to do next, does it, and notes what came of it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

import structlog

from derivfleet.connection.login import LoginError
from derivfleet.deriv import requests
from derivfleet.deriv.categories.rise_fall import CALL
from derivfleet.deriv.requests import GRANULARITIES_S
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Basis, Call, DurationUnit, HistoryStyle
from derivfleet.probe.core import windows
from derivfleet.probe.core.bounds import (
    LATENCY_CALLS,
    MOST_CONNECTIONS,
    MOST_STREAMS,
    TIME_QUESTIONS,
    Experiment,
)
from derivfleet.probe.core.offset import TimeSample, offset_course
from derivfleet.probe.core.sockets import SocketStep, sockets_course
from derivfleet.probe.core.streams import StreamReply, StreamStep, streams_course
from derivfleet.probe.core.theories import Sighting
from derivfleet.probe.session import BrokenOffError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator
    from typing import Any

    from derivfleet.connection.connection import Connection, Stream
    from derivfleet.deriv.requests import Request
    from derivfleet.probe.core.bounds import Step
    from derivfleet.probe.core.notebook import Notebook
    from derivfleet.probe.core.windows import Ask
    from derivfleet.probe.session import Session

__all__ = ["EXPERIMENTS", "WINDOW_CALL"]

_log = structlog.get_logger()
S = TypeVar("S")
R = TypeVar("R")
WINDOW_CALL = Call.PORTFOLIO
"""Of the bucket with the fewest calls a minute, in either dialect."""
_ASKING = requests.Portfolio(portfolio=1)
A_SYMBOL = "R_100"
AFTER_CLOSE_S = 2.0
"""For Deriv to notice that a socket is gone."""
BETWEEN_CALLS_S = 0.25
"""Between calls that are only timed. Pings are limited by the second: ten of them on a socket."""


async def clock(session: Session, notebook: Notebook, _step: Step) -> None:
    """Ask for the time, at the right moments."""
    course = offset_course(TIME_QUESTIONS)
    at_ns: int | None = next(course)
    while at_ns is not None:
        await session.wait_until_ns(at_ns)
        reply = await session.ask(requests.Time(time=1))
        if reply.frame is None:
            raise BrokenOffError(f"time was refused: {reply.code}")
        sample = TimeSample(reply.sent_ns, reply.answered_ns, session.codec.decode_time(reply.frame))
        notebook.samples.append(sample)
        at_ns = _told(course, sample)


async def latency(session: Session, notebook: Notebook, _step: Step) -> None:
    """Make some calls of each kind that a fleet makes; the session keeps how long they take."""
    currency = session.facts.currency if session.facts is not None else "USD"
    kinds: tuple[Request, ...] = (
        requests.Ping(ping=1),
        requests.Balance(balance=1),
        requests.Statement(statement=1, limit=10),
        requests.ProposalOpenContract(proposal_open_contract=1),
        requests.TicksHistory(ticks_history=A_SYMBOL, count=10),
        requests.Proposal(
            proposal=1,
            contract_type=CALL,
            currency=currency,
            underlying_symbol=A_SYMBOL,
            amount=Decimal(1),
            basis=Basis.STAKE,
            duration=5,
            duration_unit=DurationUnit.TICKS,
        ),
    )
    for request in kinds:
        for _ in range(LATENCY_CALLS):
            await session.clock.sleep(BETWEEN_CALLS_S)
            reply = await session.ask(request)
            if reply.code:
                notebook.surprises += reply.is_refused_for_rate
                _log.warning("a call was refused, trying the next kind", call=request.call, code=reply.code)
                break


async def streams(session: Session, notebook: Notebook, _step: Step) -> None:
    """Open streams on a socket of their own, which takes them along when it is closed."""
    reply = await session.ask(requests.ActiveSymbols(active_symbols="brief"))
    if reply.frame is None:
        raise BrokenOffError(f"active_symbols was refused: {reply.code}")
    rows = session.codec.decode_active_symbols(reply.frame)
    wanted = _streams_on([row.symbol for row in rows if row.is_open and not row.is_suspended])
    connection = await session.connect()
    opened: list[Stream] = []
    course = streams_course(0, MOST_STREAMS)
    step: StreamStep | None = next(course)
    try:
        while step is not None:
            came = await _do(session, connection, step, wanted, opened)
            try:
                step = course.send(came)
            except StopIteration as end:
                notebook.streams = end.value
                step = None
        if not notebook.streams.values:
            notebook.surprises += 1
    finally:
        await session.leave(connection)


def _streams_on(symbols: list[str]) -> Iterator[Request]:
    """Streams that are all different, those of symbols that never sleep first."""
    ordered = sorted(symbols, key=lambda symbol: symbol not in SYMBOLS)
    for symbol in ordered:
        yield requests.Ticks(ticks=symbol, subscribe=1)
    for granularity in GRANULARITIES_S:
        for symbol in ordered:
            yield requests.TicksHistory.model_validate(
                {
                    "ticks_history": symbol,
                    "count": 1,
                    "style": HistoryStyle.CANDLES,
                    "granularity": granularity,
                    "subscribe": 1,
                }
            )


async def _do(
    session: Session, connection: Connection, step: StreamStep, wanted: Iterator[Request], opened: list[Stream]
) -> StreamReply:
    if step is StreamStep.END:
        if not opened:
            return StreamReply.NONE_LEFT
        reply = await session.end_stream(connection, opened.pop())
    else:
        while True:
            request = next(wanted, None)
            if request is None:
                return StreamReply.NONE_LEFT
            reply, stream = await session.open_stream(connection, request)
            if stream is not None:
                opened.append(stream)
            if not reply.code or reply.is_refused_for_rate:
                break
            _log.info("a stream is not to be had, trying another", call=request.call, code=reply.code)
    if reply.is_refused_for_rate:
        return StreamReply.REFUSED
    return StreamReply.FAILED if reply.code else StreamReply.DONE


async def sockets(session: Session, notebook: Notebook, _step: Step) -> None:
    """Open sockets until no more are let in."""
    course = sockets_course(len(session.sockets), MOST_CONNECTIONS)
    step: SocketStep | None = next(course)
    while step is not None:
        if step is SocketStep.OPEN:
            try:
                await session.connect()
            except LoginError as error:
                _log.info("no more sockets", problem=str(error))
        else:
            await session.leave(session.sockets[-1])
            await session.clock.sleep(AFTER_CLOSE_S)
        try:
            step = course.send(await session.alive())
        except StopIteration as end:
            notebook.connections = end.value
            step = None
    for connection in session.sockets[1:]:
        await session.leave(connection)


async def window(session: Session, notebook: Notebook, _step: Step) -> None:
    """Meet the limit of a bucket and see when it lets calls through again."""
    if len(session.sockets) == 1:
        try:
            await session.connect()
        except LoginError as error:
            _log.warning("no second socket, so whose calls count is not found out", problem=str(error))
    bucket = notebook.bucket
    quiet_ns = session.last_call_ns[bucket.name] + windows.QUIET_NS
    expected = bucket.windows[60]
    course = windows.course(expected, notebook.offset, quiet_ns, len(session.sockets))
    await _follow(session, course, notebook.seen)


async def hour(session: Session, notebook: Notebook, step: Step) -> None:
    """Meet the limit of the bucket's hour with calls that are refused; with a sliding minute all is known already."""
    kind = notebook.window.kind.value
    if kind is None:
        raise BrokenOffError("the kind of window is not known")
    if kind.is_fixed:
        await _follow(session, windows.hour_course(step.calls - 1), notebook.hour)


async def _follow(session: Session, course: Generator[Ask, Sighting, None], seen: list[Sighting]) -> None:
    ask: Ask | None = next(course)
    while ask is not None:
        await session.wait_until_ns(ask.at_ns)
        reply = await session.ask(_ASKING, ask.socket)
        if reply.code and not reply.is_refused_for_rate:
            raise BrokenOffError(f"{_ASKING.call} was refused: {reply.code}")
        seen.append(Sighting(reply.sent_ns, reply.answered_ns, not reply.code, ask.socket))
        ask = _told(course, seen[-1])


def _told(course: Generator[S, R, object], came: R) -> S | None:
    """What an experiment wants next, now that it is told what came of the last; None at its end."""
    try:
        return course.send(came)
    except StopIteration:
        return None


EXPERIMENTS: dict[Experiment, Callable[[Session, Notebook, Step], Coroutine[Any, Any, None]]] = {
    Experiment.CLOCK: clock,
    Experiment.LATENCY: latency,
    Experiment.STREAMS: streams,
    Experiment.SOCKETS: sockets,
    Experiment.WINDOW: window,
    Experiment.HOUR: hour,
}

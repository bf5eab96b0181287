"""One object per dialect that writes and reads everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.dialects import reading_account, reading_market, request_frames, writing_account, writing_market
from derivfleet.deriv.dialects.fields import stream_id_of
from derivfleet.deriv.dialects.naming import LEGACY_NAMING, OPTIONS_NAMING, Naming
from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS, LimitsTable
from derivfleet.deriv.vocabulary import Call, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.deriv import answers
    from derivfleet.deriv.dialects.numbers import Frame
    from derivfleet.deriv.offers import Offer
    from derivfleet.deriv.requests import Request

__all__ = ["Codec", "dialect"]

_MASKED = ("authorize", "tokens")
_MASK = "<not shown>"


@dataclass(frozen=True, slots=True)
class Codec:
    """A dialect.

    ``encode_request`` and the ``decode_…`` functions are a client's, ``decode_request`` and the ``encode_…`` functions
    a server's. Frames are read with ``from_json`` (decimals) and written with ``to_json``. A ``decode_…`` takes the
    whole frame and raises MalformedAnswer if it lacks what it must have; look at ``decode_error`` first.
    """

    naming: Naming
    limits: LimitsTable

    @property
    def dialect(self) -> Dialect:
        """Which one this is."""
        return self.naming.dialect

    # A client's side: request_frames out, answers in. Reading is the same in both dialects.

    def encode_request(self, request: Request, req_id: int) -> Frame:
        """A frame ready for json.dumps.

        ValueError if the dialect lacks the call or a field that is set, or if money has more than two decimals.
        """
        return request_frames.encode_request(self.naming, request, req_id)

    stream_id_of = staticmethod(stream_id_of)
    decode_error = staticmethod(reading_market.decode_error)
    decode_time = staticmethod(reading_market.decode_time)
    decode_call_limits = staticmethod(reading_market.decode_call_limits)
    decode_proposal = staticmethod(reading_market.decode_proposal)
    decode_tick = staticmethod(reading_market.decode_tick)
    decode_history = staticmethod(reading_market.decode_history)
    decode_ohlc = staticmethod(reading_market.decode_ohlc)
    decode_active_symbols = staticmethod(reading_market.decode_active_symbols)
    decode_authorize = staticmethod(reading_account.decode_authorize)
    decode_balance = staticmethod(reading_account.decode_balance)
    decode_buy = staticmethod(reading_account.decode_buy)
    decode_sell = staticmethod(reading_account.decode_sell)
    decode_cancel = staticmethod(reading_account.decode_cancel)
    decode_contract = staticmethod(reading_account.decode_contract)
    decode_transaction = staticmethod(reading_account.decode_transaction)
    decode_statement = staticmethod(reading_account.decode_statement)
    decode_portfolio = staticmethod(reading_account.decode_portfolio)
    decode_profit_table = staticmethod(reading_account.decode_profit_table)

    # A server's side: request_frames in, answers out.

    def call_of(self, frame: Frame) -> Call:
        """The call that a frame names. UnrecognisedRequest if none, several, or one that the dialect lacks."""
        return request_frames.call_of(self.naming, frame)

    def decode_request(self, frame: Frame) -> Request:
        """The request in a frame. UnrecognisedRequest, or InputValidationFailed with a text per offending field."""
        return request_frames.decode_request(self.naming, frame)

    @staticmethod
    def complete(answer: Frame, echo: Frame) -> Frame:
        """An answer with the request that caused it: ``echo_req`` with secrets masked, and its ``req_id``."""
        masked = {key: _MASK if key in _MASKED else value for key, value in echo.items()}
        frame: Frame = {"msg_type": answer["msg_type"], "echo_req": masked}
        if "req_id" in echo:
            frame["req_id"] = echo["req_id"]
        return frame | answer

    encode_error = staticmethod(writing_market.encode_error)
    encode_tick = staticmethod(writing_market.encode_tick)
    encode_history = staticmethod(writing_market.encode_history)
    encode_ohlc = staticmethod(writing_market.encode_ohlc)
    encode_website_status = staticmethod(writing_market.encode_website_status)
    encode_authorize = staticmethod(writing_account.encode_authorize)
    encode_balance = staticmethod(writing_account.encode_balance)
    encode_buy = staticmethod(writing_account.encode_buy)
    encode_sell = staticmethod(writing_account.encode_sell)
    encode_cancel = staticmethod(writing_account.encode_cancel)
    encode_contract_update = staticmethod(writing_account.encode_contract_update)

    @staticmethod
    def encode_plain(call: Call, content: object) -> Frame:
        """An answer that is one value: ping, time, forget, forget_all, logout."""
        return writing_account.framed(call, content)

    def encode_proposal(self, quote: answers.Quote) -> Frame:
        """A price."""
        return writing_market.encode_proposal(self.naming, quote)

    def encode_active_symbols(self, rows: Iterable[answers.SymbolRow]) -> Frame:
        """Symbols on offer."""
        return writing_market.encode_active_symbols(self.naming, rows)

    def encode_contracts_for(self, offers: Iterable[Offer]) -> Frame:
        """What can be traded on a symbol."""
        return writing_market.encode_contracts_for(self.naming, offers)

    def encode_contract(self, state: answers.ContractState | None, stream_id: str | None = None) -> Frame:
        """One contract's state; an empty object for None."""
        return writing_account.encode_contract(self.naming, state, stream_id)

    def encode_transaction(self, movement: answers.Transaction | None, stream_id: str) -> Frame:
        """One movement; for None the stream's first message."""
        return writing_account.encode_transaction(self.naming, movement, stream_id)

    def encode_statement(self, rows: Iterable[answers.StatementRow]) -> Frame:
        """Cash movements."""
        return writing_account.encode_statement(self.naming, rows)

    def encode_portfolio(self, rows: Iterable[answers.PortfolioRow]) -> Frame:
        """Open contracts."""
        return writing_account.encode_portfolio(self.naming, rows)

    def encode_profit_table(self, rows: Iterable[answers.ProfitRow]) -> Frame:
        """Closed contracts."""
        return writing_account.encode_profit_table(self.naming, rows)


_CODECS = {
    Dialect.OPTIONS: Codec(OPTIONS_NAMING, OPTIONS_LIMITS),
    Dialect.LEGACY: Codec(LEGACY_NAMING, LEGACY_LIMITS),
}


def dialect(name: Dialect) -> Codec:
    """The object that speaks a dialect."""
    return _CODECS[name]

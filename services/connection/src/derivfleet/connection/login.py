"""From a credential to an open, logged-in connection: a login for each dialect.

Only demo accounts may log in: until orders are proven to happen once and losses are bounded, real money stays out.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.redaction import hide_for_a_while
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.connection.core.rest_budget import RestBudget
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer, Outcome, outcome_of
from derivfleet.deriv.vocabulary import Call, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from derivfleet.common.clock import Clock
    from derivfleet.connection.settings import DerivSettings
    from derivfleet.deriv.dialects import Codec, Frame
    from derivfleet.deriv.requests import Request

__all__ = [
    "AccountFacts",
    "CredentialError",
    "LegacyLogin",
    "Login",
    "LoginError",
    "OptionsLogin",
    "RealMoneyError",
    "dialect_of",
    "login_of",
]

LOGIN_TIMEOUT_S = 30.0
LEAST_LOGIN_TIMEOUT_WALL_S = 5.0
"""Networks and processors do not run faster when the clock does."""
MAX_FRAME_BYTES = 2_000_000
"""Answers are capped at 600 kB by the server; three times that leaves room without leaving it open."""
UNDELIVERED_MS = 5_000
"""After so long without a sign that a frame has arrived, the system ends the socket."""

_LEGACY_KEYS = {
    "InvalidToken": "DERIV_TOKEN",
    "InvalidAppID": "DERIV_APP_ID",
    "AuthorizationRequired": "DERIV_TOKEN",
    "InputValidationFailed": "DERIV_TOKEN",
}
"""Which setting ``authorize`` blames, by its code."""

HTTP_UNAUTHORIZED = 401
HTTP_TOO_MANY = 429
HTTP_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """Whom a connection speaks for."""

    login_id: str
    currency: str
    balance: Decimal
    is_demo: bool


class CredentialError(Exception):
    """The credential or the choice of account is wrong: trying again is useless until a person changes it."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class RealMoneyError(CredentialError):
    """The account is not a demo one."""


class LoginError(Exception):
    """Logging in failed for now; a later try may work."""


class Login(Protocol):
    """How to log in under one dialect."""

    codec: Codec
    """The dialect that its connections speak."""

    @property
    def login_calls(self) -> tuple[Call, ...]:
        """The calls that a login makes, for they count like any other."""
        ...

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        """Open a connection. Raises CredentialError or LoginError."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


def dialect_of(app_id: str, told: str = "auto") -> Dialect:
    """Which dialect a credential belongs to: app ids of the legacy API are numbers, those of the new one are not."""
    return Dialect(told) if told != "auto" else Dialect.LEGACY if app_id.isdigit() else Dialect.OPTIONS


def login_of(codec: Codec, settings: DerivSettings, login_id: str, clock: Clock) -> Login:
    """How to log in with a credential; ``login_id`` chooses one of the token's accounts, empty takes the only demo one.

    ``codec`` tells the dialect, and the limits, which need not be the published ones.
    """
    credential = settings.app_id, settings.token, login_id
    if codec.dialect is Dialect.LEGACY:
        return LegacyLogin(settings.legacy_url, *credential, clock, codec)
    return OptionsLogin(settings.deriv_url, *credential, clock, codec)


def refuse_real_money(login_id: str, *, is_demo: bool) -> None:
    """Raise RealMoneyError unless the account is a demo one."""
    if not is_demo:
        raise RealMoneyError(
            "DERIV_TOKEN",
            f"account {login_id} holds real money, which this version does not trade: use a demo account",
        )


def _timeout_s(clock: Clock) -> float:
    """How long each step of a login may take, in fleet time."""
    return max(LOGIN_TIMEOUT_S, clock.fleet_s(LEAST_LOGIN_TIMEOUT_WALL_S))


async def _open_socket(url: str, clock: Clock) -> ClientConnection:
    try:
        connection = await connect(
            url,
            ping_interval=None,  # the API's own ping is used, because Deriv answers and counts it
            open_timeout=clock.wall_s(_timeout_s(clock)),
            close_timeout=1,
            max_size=MAX_FRAME_BYTES,
            compression=None,
        )
    except InvalidURI:
        raise LoginError("Deriv named an address that is none") from None
    except InvalidHandshake as error:
        raise LoginError(f"the WebSocket handshake was refused: {type(error).__name__}: {error}") from None
    except (OSError, TimeoutError, EOFError, WebSocketException) as error:
        raise LoginError(f"no connection: {str(error) or type(error).__name__}") from None
    _deliver_soon_or_never(connection)
    return connection


def _deliver_soon_or_never(connection: ClientConnection) -> None:
    """Keep the system from repeating a frame for minutes that was given up, or whose sender has died."""
    transport = connection.transport.get_extra_info("socket")
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNDELIVERED_MS)


async def _logged_in(
    connection: Connection,
    request: Request,
    timeout_s: float,
    facts_of: Callable[[Frame], AccountFacts],
    key_of: Callable[[str], str | None],
) -> tuple[Connection, AccountFacts]:
    """Make the first call of a socket, which shows whose it is. Whatever fails, the socket is closed.

    ``key_of`` names the setting that a code of Deriv's blames, if it blames any.
    """
    try:
        return connection, facts_of(await connection.call(request, timeout_s))
    except CredentialError:
        await connection.close()
        raise
    except (CallRefusedError, AnswerLostError, MalformedAnswer) as error:
        await connection.close()
        if isinstance(error, CallRefusedError) and (key := key_of(error.code)):
            raise CredentialError(key, f"Deriv does not accept it ({error})") from None
        raise LoginError(f"the first call failed: {error}") from None
    except BaseException:
        connection.abort()
        raise


class LegacyLogin:
    """API v3: open the socket, then ``authorize``."""

    login_calls = (Call.AUTHORIZE,)

    def __init__(self, url: str, app_id: str, token: str, login_id: str, clock: Clock, codec: Codec) -> None:
        self._url = f"{url}/websockets/v3?app_id={app_id}&l=EN"
        self._token = token
        self._login_id = login_id
        self._clock = clock
        self.codec = codec

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        connection = Connection(name, await _open_socket(self._url, self._clock), self.codec, self._clock)
        request = requests.Authorize(authorize=self._token)
        return await _logged_in(connection, request, _timeout_s(self._clock), self._facts, _LEGACY_KEYS.get)

    def _facts(self, frame: Frame) -> AccountFacts:
        answer = self.codec.decode_authorize(frame)
        facts = AccountFacts(answer.loginid, answer.currency, answer.balance, answer.is_virtual)
        if "trade" not in answer.scopes:
            raise CredentialError("DERIV_TOKEN", "lacks the scope `trade`: make one with the scopes read and trade")
        if self._login_id and facts.login_id != self._login_id:
            raise CredentialError(
                "accounts.login_id", f"is {self._login_id}, but the token belongs to {facts.login_id}"
            )
        refuse_real_money(facts.login_id, is_demo=facts.is_demo)
        return facts

    async def close(self) -> None:
        """Nothing is held between logins."""


class OptionsLogin:
    """The new API: a one-time URL from REST for every socket; no ``authorize``."""

    login_calls = (Call.BALANCE,)

    def __init__(self, url: str, app_id: str, token: str, login_id: str, clock: Clock, codec: Codec) -> None:
        self._base = f"{url.rstrip('/')}/trading/v1/options"
        self._headers = {"Authorization": f"Bearer {token}", "Deriv-App-ID": app_id}
        self._login_id = login_id
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._account_id = ""
        self.codec = codec
        self._budget = RestBudget(self.codec.limits.rest.per_user)

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        self._account_id = account_id = self._account_id or await self._choose_account()
        answer: Any = await self._rest("POST", f"/accounts/{account_id}/otp")
        if not isinstance(answer, dict) or not answer.get("url"):  # pyright: ignore[reportUnknownMemberType] - it is JSON
            raise LoginError("Deriv's answer to otp holds no address")
        url = str(cast("dict[str, Any]", answer)["url"])
        # The one-time password is in the URL, so no part of it may be shown as long as it is good for anything.
        hide_for_a_while(url, url.partition("otp=")[2])
        if "/ws/demo" not in url:
            raise RealMoneyError(
                "accounts.login_id", f"Deriv gave no demo address for {account_id}: refusing to connect"
            )
        connection = Connection(name, await _open_socket(url, self._clock), self.codec, self._clock)
        request = requests.Balance(balance=1)
        return await _logged_in(connection, request, _timeout_s(self._clock), self._facts, _options_key)

    def _facts(self, frame: Frame) -> AccountFacts:
        balance = self.codec.decode_balance(frame)
        if balance.loginid != self._account_id:
            problem = f"the socket speaks for {balance.loginid}, asked for {self._account_id}"
            raise CredentialError("accounts.login_id", problem)
        return AccountFacts(balance.loginid, balance.currency, balance.balance, is_demo=True)

    async def _choose_account(self) -> str:
        answer: Any = await self._rest("GET", "/accounts")
        if not isinstance(answer, list):
            raise LoginError("Deriv's answer to accounts is no list")
        rows = cast("list[Any]", answer)
        objects: list[dict[str, Any]] = [row for row in rows if isinstance(row, dict)]
        listed = [row for row in objects if row.get("account_id")]
        demo = [row for row in listed if row.get("account_type") == "demo"]
        chosen = [row for row in listed if row["account_id"] == self._login_id] if self._login_id else demo or listed
        if len(chosen) != 1:
            names = ", ".join(str(row.get("account_id")) for row in listed) or "none"
            raise CredentialError(
                "accounts.login_id", f"must name one account of the token ({names}), not {self._login_id or 'empty'}"
            )
        login_id = str(chosen[0]["account_id"])
        refuse_real_money(login_id, is_demo=chosen[0] in demo)
        return login_id

    async def _rest(self, method: str, path: str) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._clock.wall_s(_timeout_s(self._clock)))
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        wait_ns = self._budget.wait_ns(self._clock.now_ns())
        if wait_ns:
            raise LoginError(f"the user's REST calls of a minute are used up: the next in {wait_ns / NS_PER_S:.0f} s")
        self._budget.spend(self._clock.now_ns())
        try:
            async with self._session.request(method, self._base + path) as response:
                status = response.status
                body: Any = await response.json(content_type=None, loads=partial(json.loads, parse_float=Decimal))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise LoginError(f"{method} {path.rpartition('/')[2]}: {str(error) or type(error).__name__}") from None
        if status < 400 and isinstance(body, dict) and "data" in body:  # noqa: PLR2004 - HTTP's own border
            return cast("dict[str, Any]", body)["data"]
        code, message = _rest_error(body)
        text = f"Deriv answered {status} {code}: {message}"
        if status == HTTP_TOO_MANY:
            self._budget.refused(self._clock.now_ns())
        if status == HTTP_TOO_MANY or status >= HTTP_SERVER_ERROR or status < 400:  # noqa: PLR2004 - as above
            raise LoginError(text)
        key = "DERIV_TOKEN" if status == HTTP_UNAUTHORIZED else "accounts.login_id"
        raise CredentialError(key, text)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _options_key(code: str) -> str | None:
    return "DERIV_TOKEN" if outcome_of(Call.BALANCE, code) is Outcome.CONFIGURATION else None


def _rest_error(body: Any) -> tuple[str, str]:
    try:
        first = body["errors"][0]
        return str(first["code"]), str(first["message"])
    except (KeyError, IndexError, TypeError):
        return "(no code)", "(no message)"

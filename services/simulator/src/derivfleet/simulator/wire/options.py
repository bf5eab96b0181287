"""The current dialect's ways in: REST accounts, one-time URLs, the account's socket and the public one."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core import broadcasts
from derivfleet.simulator.wire.envelopes import RestRefused, data_response, error_response, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.deriv.dialects import Frame
    from derivfleet.simulator.core.account_ledger import Account
    from derivfleet.simulator.wire.connection_hub import ConnectionHub

__all__ = ["OptionsEndpoints"]

_ROOT = "/trading/v1/options"
_ACCOUNT_ID = re.compile(r"[A-Z]{2,4}[0-9]{1,10}")
_APP_HEADER = "Deriv-App-ID"


class OptionsEndpoints:
    """Handlers of the REST API and of the sockets' upgrades."""

    def __init__(self, hub: ConnectionHub) -> None:
        self._hub = hub
        self._exchange = hub.exchange

    @property
    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        account = f"{_ROOT}/accounts/{{account_id}}"
        return [
            web.get(f"{_ROOT}/accounts", self._guarded(self._accounts)),
            web.post(f"{account}/otp", self._guarded(self._otp)),
            web.post(f"{account}/reset-demo-balance", self._guarded(self._reset)),
            web.get(f"{_ROOT}/legacy/migration-status", self._guarded(self._migration_status)),
            web.get(f"{_ROOT}/ws/public", self._guarded(self._public_socket)),
            web.get(f"{_ROOT}/ws/{{kind:demo|real}}", self._guarded(self._account_socket)),
            web.get("/v1/health", self._health),
            web.route("*", "/trading/{rest:.*}", self._guarded(self._nowhere)),
        ]

    @staticmethod
    def _guarded(
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Refusals leave in the error envelope."""

        @functools.wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except RestRefused as refusal:
                return error_response(request, refusal)

        return guarded

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _nowhere(self, _request: web.Request) -> web.StreamResponse:
        raise RestRefused(404, "NotFound", "No such endpoint.")

    def _log_in(self, request: web.Request) -> str:
        """Check the token and the app, and count the call. Returns the app id."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        app_id = request.headers.get(_APP_HEADER, "")
        known = scheme == "Bearer" and self._exchange.logins.knows_token(token)
        user = self._exchange.options_account.loginid if known else "nobody"
        if not self._exchange.admit_rest(user, request.remote or "", self._hub.clock.now_ns()):
            raise RestRefused(429, "RateLimit", "Rate limit exceeded.")
        if not known or self._exchange.faults.on_login():
            raise RestRefused(401, "Unauthorized", "Token is missing, expired or revoked.")
        if not app_id:
            raise RestRefused(401, "Unauthorized", f"{_APP_HEADER} header is required for PAT tokens")
        if not self._exchange.logins.knows_app(app_id):
            raise RestRefused(401, "Unauthorized", f"{_APP_HEADER} is not known.")
        return app_id

    def _account(self, request: web.Request) -> Account:
        account_id = request.match_info["account_id"]
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise RestRefused(400, "ValidationError", "Account id is malformed.")
        account = self._exchange.options_account
        if account_id != account.loginid:
            raise RestRefused(403, "AccessDenied", "This is not an account of yours.")
        return account

    @staticmethod
    def _summary(account: Account) -> Frame:
        return {
            "account_id": account.loginid,
            "account_type": "demo" if account.is_demo else "real",
            "status": "active",
            "currency": account.currency,
            "balance": account.balance,
            "group": "row",
        }

    async def _accounts(self, request: web.Request) -> web.Response:
        self._log_in(request)
        return data_response(request, [self._summary(self._exchange.options_account)])

    async def _otp(self, request: web.Request) -> web.Response:
        app_id = self._log_in(request)
        account = self._account(request)
        if "trade" not in self._exchange.settings.scopes:
            raise RestRefused(403, "AccessDenied", "The token lacks the scope trade.")
        otp = self._exchange.logins.issue(account.loginid, app_id, self._hub.clock.now_ns())
        kind = "demo" if account.is_demo else "real"
        scheme = "wss" if request.secure else "ws"
        return data_response(request, {"url": f"{scheme}://{request.host}{_ROOT}/ws/{kind}?otp={otp}"})

    async def _reset(self, request: web.Request) -> web.Response:
        self._log_in(request)
        account = self._account(request)
        if not account.is_demo:
            raise RestRefused(400, "BadInputRequest", "Only a demo account can be reset.")
        now_s = int(self._hub.clock.now_s())
        moved = self._exchange.ledger.reset_balance(account.loginid, now_s)
        if moved:
            self._hub.carry_out(broadcasts.movement(self._exchange, account, moved))
        return data_response(request, self._summary(account))

    async def _migration_status(self, request: web.Request) -> web.Response:
        self._log_in(request)
        return json_response({"status": "complete"})

    def _check_upgrade(self, request: web.Request) -> None:
        if not web.WebSocketResponse().can_prepare(request):
            raise RestRefused(400, "BadInputRequest", "This endpoint wants a WebSocket upgrade.")

    async def _account_socket(self, request: web.Request) -> web.StreamResponse:
        self._check_upgrade(request)
        login = self._exchange.logins.redeem(request.query.get("otp", ""), self._hub.clock.now_ns())
        if login is None or self._exchange.faults.on_handshake():
            raise RestRefused(401, "Unauthorized", "The one-time password is missing, used or expired.")
        loginid, app_id = login
        is_demo = self._exchange.ledger.accounts[loginid].is_demo
        if (request.match_info["kind"] == "demo") != is_demo:
            raise RestRefused(401, "Unauthorized", "The one-time password is for the other kind of account.")
        if not self._exchange.has_room(loginid):
            raise RestRefused(429, "RateLimit", "Too many connections.")
        return await self._hub.serve(request, Dialect.OPTIONS, app_id, loginid)

    async def _public_socket(self, request: web.Request) -> web.StreamResponse:
        self._check_upgrade(request)
        return await self._hub.serve(request, Dialect.OPTIONS, "public")

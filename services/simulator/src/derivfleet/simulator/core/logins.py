"""Who may log in: the token, and the one-time passwords made for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["Logins"]

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Pass:
    account: str
    app_id: str
    valid_until_ns: int


class Logins:
    """One token, one app, and passwords that work once."""

    def __init__(self, seed: str, token: str, app_id: str, otp_valid_s: float) -> None:
        self._key = hashlib.blake2b(f"{seed}/{token}".encode(), digest_size=32).digest()
        self._token = token
        self._app_id = app_id
        self._valid_ns = round(otp_valid_s * _NS_PER_S)
        self._passes: dict[str, _Pass] = {}
        self._issued = 0

    def knows_token(self, token: str) -> bool:
        """Whether this is the token that logs in."""
        return token == self._token

    def knows_app(self, app_id: str) -> bool:
        """Whether this app is registered.."""
        return app_id == self._app_id

    def knows_legacy_app(self, app_id: str) -> bool:
        """The same for legacy, whose ids are numbers: the configured one, or any if that is no number."""
        return app_id.isdecimal() and (app_id == self._app_id or not self._app_id.isdecimal())

    def issue(self, account: str, app_id: str, now_ns: int) -> str:
        """A one-time password for a socket of this account."""
        self._issued += 1
        otp = hashlib.blake2b(str(self._issued).encode(), key=self._key, digest_size=24).hexdigest()
        self._passes[otp] = _Pass(account, app_id, now_ns + self._valid_ns)
        return otp

    def redeem(self, otp: str, now_ns: int) -> tuple[str, str] | None:
        """(account, app id) of a password; None if it is unknown, used or expired. It works once, whatever follows."""
        found = self._passes.pop(otp, None)
        if found is None or now_ns >= found.valid_until_ns:
            return None
        return found.account, found.app_id

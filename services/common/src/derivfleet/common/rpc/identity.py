"""Who calls: a token names its bearer, and the bearer's role says what it may do."""

from __future__ import annotations

from contextvars import ContextVar
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Identities",
    "IdentitiesUnavailableError",
    "Identity",
    "Role",
    "caller",
    "known_caller",
]


class Role(StrEnum):
    """What a bearer may do: a bot trades, an observer reads, an operator may do all but trade."""

    BOT = "bot"
    OBSERVER = "observer"
    OPERATOR = "operator"


class Identity(BaseModel):
    """A bearer: for a bot, ``name`` is the bot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    role: Role


class IdentitiesUnavailableError(Exception):
    """Tokens cannot be checked now; nobody can be let in or turned away for good."""


class Identities(Protocol):
    """Where tokens are checked."""

    async def identify(self, token: str) -> Identity | None:
        """The bearer of a token; None if nobody. Raises IdentitiesUnavailableError."""
        ...


_caller: ContextVar[Identity] = ContextVar("caller")


def set_caller(identity: Identity) -> None:
    """Remember whom the current call comes from."""
    _caller.set(identity)


def known_caller() -> Identity | None:
    """Whom the current call comes from; None where callers are not asked who they are."""
    return _caller.get(None)


def caller() -> Identity:
    """Whom the current call comes from; only inside a call that the server has let in."""
    return _caller.get()

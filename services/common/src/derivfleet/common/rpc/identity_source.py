"""Where a server's callers are known from, as its settings say."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.token_file import TokenFile
from derivfleet.common.rpc.token_review import accounts_of, reviewing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from derivfleet.common.clock import Clock
    from derivfleet.common.rpc.identity import Identities
    from derivfleet.common.settings import ServerSettings

__all__ = ["identities_of"]


@asynccontextmanager
async def identities_of(settings: ServerSettings, clock: Clock) -> AsyncGenerator[Identities, None]:
    """The token file or the cluster. Raises ConfigurationError naming the setting that is missing or wrong."""
    prefix = settings.env_prefix
    if settings.identities == "kubernetes":
        if not settings.service_accounts:
            raise ConfigurationError(f"{prefix}SERVICE_ACCOUNTS", "is required with identities from kubernetes")
        accounts = accounts_of(settings.service_accounts, f"{prefix}IDENTITIES")
        async with reviewing(accounts, clock, f"{prefix}IDENTITIES") as reviews:
            yield reviews
        return
    if settings.tokens is None:
        raise ConfigurationError(f"{prefix}TOKENS", "is required: the token file that `derivfleet up` makes")
    yield TokenFile(settings.tokens, f"{prefix}TOKENS")

"""Supabase as the replicator sees it: rows that are put there, or a reason why not. Its key is never shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
from postgrest import APIError
from postgrest.types import ReturnMethod

from derivfleet.metrics.replicate.remote import RemoteError
from supabase import AsyncClient, AsyncClientOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.metrics.replicate.outbox import Json, Target

__all__ = ["Supabase"]

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_KEY_CODES = re.compile(r"PGRST30\d|42501|401|403")
"""PostgREST's codes for a token that it does not take (https://docs.postgrest.org/en/v12/references/errors.html), and
PostgreSQL's for a privilege that is missing."""
_SCHEMA_CODES = re.compile(r"42P01|42703|42P10|PGRST10[46]|PGRST20[2-5]|404")
"""A table, column or key is not there: the migrations have not been applied."""
_ROW_CODES = re.compile(r"2[23][0-9A-Z]{3}|PGRST10[02]")
"""PostgreSQL's classes 22 (data exception) and 23 (integrity constraint violation): this row will never go in."""


class Supabase:
    """A Supabase project through its REST API, as its service role."""

    def __init__(self, url: str, key: str) -> None:
        # One try a call: the replicator waits between tries, and knows how long. A redirect could carry the key away.
        self._http = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)
        options = AsyncClientOptions(
            httpx_client=self._http,
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
        )
        self._client = AsyncClient(url, key, options)

    async def put(self, target: Target, rows: Sequence[Json]) -> None:
        try:
            builder = self._client.table(target.name)
            await builder.upsert(rows, on_conflict=target.key, returning=ReturnMethod.minimal).execute()  # pyright: ignore[reportUnknownMemberType] - its JSON type is open
        except APIError as error:
            code = error.code or ""
            raise RemoteError(_kind_of(code), f"{code}: {error.message}"[:300]) from None
        except (httpx.HTTPError, OSError) as error:
            # Its text may quote what was sent.
            raise RemoteError("UNREACHABLE", f"no answer: {type(error).__name__}") from None

    async def close(self) -> None:
        await self._http.aclose()


def _kind_of(code: str) -> str:
    if _KEY_CODES.fullmatch(code):
        return "KEY"
    if _SCHEMA_CODES.fullmatch(code):
        return "SCHEMA"
    if _ROW_CODES.fullmatch(code):
        return "ROW"
    return "PROBLEM"

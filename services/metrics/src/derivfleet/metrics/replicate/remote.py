"""The seam between the replicator and where the copy is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from derivfleet.common.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.metrics.replicate.outbox import Json, Target

__all__ = ["Remote", "RemoteError"]


class RemoteError(Exception):
    """Rows could not be put there. ``code``: UNREACHABLE, KEY, SCHEMA, ROW (one of these rows) or PROBLEM."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(redact(problem))
        self.code = code


class Remote(Protocol):
    """Where the copy is."""

    async def put(self, target: Target, rows: Sequence[Json]) -> None:
        """Insert rows, or update those of the same key, all or none. Raises RemoteError."""
        ...

    async def close(self) -> None: ...

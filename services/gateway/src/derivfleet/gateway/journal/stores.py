"""The databases that a journal may be kept in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from derivfleet.gateway.journal.sqlite import SqliteStore

if TYPE_CHECKING:
    from derivfleet.gateway.journal.store import Store

__all__ = ["open_store"]


def open_store(where: Path | str, key: str, password: str = "") -> Store:
    """The database of a path or a ``postgresql://`` address. Raises ConfigurationError naming ``key``."""
    if isinstance(where, str) and "://" in where:
        from derivfleet.gateway.journal.postgres import PostgresStore  # noqa: PLC0415 - who has a file needs no driver

        return PostgresStore(where, key, password)
    return SqliteStore(Path(where), key)

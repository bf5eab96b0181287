"""What the journal asks of a database, and how that can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = tuple[Any, ...]
    Step = tuple[str, Sequence[object]]

__all__ = ["ContractTakenError", "FencedError", "InUseError", "JournalError", "Store"]


class JournalError(Exception):
    """The journal could not be read or written, as on a full disk. Nothing was written."""


class FencedError(JournalError):
    """Another gateway has taken the journal over: this one must not write to it any more."""


class InUseError(ConfigurationError):
    """Another gateway has the journal; it may be free soon."""


class ContractTakenError(Exception):
    """A second order claims a contract."""


class Store(Protocol):
    """A database. Statements are written in the SQL that all of them know, with ``?`` for each parameter."""

    int_type: str
    """What 64-bit integers are called."""
    key_type: str
    """A primary key of them, which the rows are ordered by."""
    place: str
    """Where it is, for people; without secrets."""

    @property
    def is_connected(self) -> bool:
        """Whether it can be asked at all. If not, everything but ``reconnect`` and ``close`` raises at once."""
        ...

    def version(self) -> int:
        """The version of its schema; 0 if it is new."""
        ...

    def set_version(self, version: int) -> Step:
        """The statement that does."""
        ...

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows. Raises JournalError."""
        ...

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        """Do all or nothing. ``durable``: when it returns, not even a power cut undoes it.

        Raises JournalError, or ContractTakenError if the index of contracts says so.
        """
        ...

    def reconnect(self) -> None:
        """Find the database again; may take seconds, so it is called in a thread. Raises JournalError."""
        ...

    def close(self) -> None:
        """Let go of it, and of the lock that keeps others away."""
        ...

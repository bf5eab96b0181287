"""How far the gateway's order feed has been kept: the table ``feeds``."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FeedMark", "feed_mark", "keep_feed_mark"]

_KEEP_MARK = (
    "INSERT INTO feeds (source, position, seen_to_ns, refused, base, journal) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (source) DO UPDATE SET "
    "position = MAX(position, excluded.position), seen_to_ns = MAX(seen_to_ns, excluded.seen_to_ns), "
    "refused = MAX(refused, excluded.refused), base = MAX(base, excluded.base), "
    "journal = CASE WHEN excluded.base >= base AND excluded.journal != '' THEN excluded.journal ELSE journal END"
)


@dataclass(frozen=True, slots=True)
class FeedMark:
    """How far the order feed has been kept: its position, up to when all was seen, events that had to be refused.

    The position is ``base`` more than in the gateway's ``journal``.
    """

    position: int = 0
    seen_to_ns: int = 0
    refused: int = 0
    base: int = 0
    journal: str = ""

    def joined(self, other: FeedMark) -> FeedMark:
        """The further of the two in each respect; the store joins in the same way."""
        return FeedMark(
            max(self.position, other.position),
            max(self.seen_to_ns, other.seen_to_ns),
            max(self.refused, other.refused),
            *max((self.base, self.journal), (other.base, other.journal), key=lambda pair: (pair[0], bool(pair[1]))),
        )


def feed_mark(connection: sqlite3.Connection, source: str) -> FeedMark:
    """The mark of a feed; zeros if it never was."""
    row = connection.execute(
        "SELECT position, seen_to_ns, refused, base, journal FROM feeds WHERE source = ?", (source,)
    ).fetchone()
    return FeedMark(*row) if row else FeedMark()


def keep_feed_mark(connection: sqlite3.Connection, source: str, mark: FeedMark) -> None:
    """Join a mark with the one that is kept."""
    connection.execute(_KEEP_MARK, (source, *astuple(mark)))

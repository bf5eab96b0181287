"""Calls written down before they are made, so that a restart counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota import Block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.gateway.journal.store import Step, Store

__all__ = ["blocks", "noting"]

BLOCKS_KEPT_NS = 2 * 3600 * 10**9


def noting(account: str, blocks: Iterable[Block]) -> list[Step]:
    """What writes blocks down, and forgets those that no window counts any more."""
    rows = [(account, block.bucket, block.opened_ns, block.calls) for block in blocks]
    steps: list[Step] = [
        ("INSERT INTO blocks (account, bucket, opened_ns, calls) VALUES (?, ?, ?, ?)", row) for row in rows
    ]
    oldest_ns = min((opened_ns for _, _, opened_ns, _ in rows), default=0) - BLOCKS_KEPT_NS
    return [*steps, ("DELETE FROM blocks WHERE account = ? AND opened_ns < ?", (account, oldest_ns))]


def blocks(store: Store, account: str, after_ns: int) -> list[Block]:
    """Blocks of calls opened after an instant, oldest first."""
    rows = store.read(
        "SELECT bucket, opened_ns, calls FROM blocks WHERE account = ? AND opened_ns > ? ORDER BY opened_ns",
        (account, after_ns),
    )
    return [Block(*row) for row in rows]

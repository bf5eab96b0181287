"""Calls written down before they are made, so that a crash forgets none.

Writing every call would cost a commit each. So calls are taken in blocks: a block is written down when it is opened,
and as many calls follow as it holds. Whoever starts anew counts an open block as spent to the last call, just now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Block", "Blocks"]

BLOCKS_A_WINDOW = 30
BLOCK_LASTS_NS = 600_000_000_000
"""An open block is used no longer than this: what is old enough is forgotten, and not all of it would be."""


class Block(NamedTuple):
    """``calls`` of a bucket, made since ``opened_ns``."""

    bucket: str
    opened_ns: int
    calls: int


class Blocks:
    """The blocks of one bucket."""

    def __init__(self, bucket: str, calls_a_window: int, landing_ns: int, opened: list[Block]) -> None:
        """``calls_a_window``: the limit of the short window; a block lasts about two seconds at that rate.
        ``landing_ns``: the last call of a block has reached Deriv at the latest so long after the block was closed.
        ``opened`` is where a block goes when it is opened, to be written down before its first call is made.
        """
        self._bucket = bucket
        self._landing_ns = landing_ns
        self._calls = max(1, calls_a_window // BLOCKS_A_WINDOW)
        self._left = 0
        self._number = 0
        self._opened_ns = 0
        self._opened = opened

    def spend(self, now_ns: int) -> int:
        """A call is about to be made; the number of its block."""
        if self._left == 0 or now_ns - self._opened_ns >= BLOCK_LASTS_NS:
            self._left = self._calls
            self._number += 1
            self._opened_ns = now_ns
            self._opened.append(Block(self._bucket, now_ns, self._calls))
        self._left -= 1
        return self._number

    def give_back(self, number: int) -> None:
        """A call of a block was not made. Only the open block has room for another: the others are older than that."""
        if number == self._number:
            self._left += 1

    def spent(self, blocks: Iterable[Block], latest_ns: int) -> list[tuple[int, int]]:
        """What blocks of an earlier run stand for, oldest first: by when how many calls will have reached Deriv.

        ``latest_ns``: when all of them will have.
        """
        mine = sorted((block for block in blocks if block.bucket == self._bucket), key=lambda block: block.opened_ns)
        closed_ns = [*(block.opened_ns for block in mine[1:]), latest_ns]
        return [
            (min(min(end_ns, block.opened_ns + BLOCK_LASTS_NS) + self._landing_ns, latest_ns), block.calls)
            for block, end_ns in zip(mine, closed_ns, strict=False)
        ]

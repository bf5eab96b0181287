"""Order ids: derived from the decision, so that the same decision is the same order, whichever process makes it."""

from __future__ import annotations

import hashlib
import re

__all__ = ["MAX_ORDER_ID", "order_id"]

MAX_ORDER_ID = 64
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_DIGEST_LENGTH = 32


def order_id(bot: str, symbol: str, tick_epoch_s: int, ordinal: int = 0) -> str:
    """The id of a bot's ``ordinal``-th order on a tick: 1 to 64 characters of ``A-Z a-z 0-9 . _ : -``.

    Readable wherever it fits. Otherwise a digest stands for bot and symbol; such an id has three parts instead of
    four, so that the two kinds never meet.
    """
    readable = f"{bot}:{symbol}:{tick_epoch_s}:{ordinal}"
    if len(readable) <= MAX_ORDER_ID and _PLAIN.fullmatch(bot) and _PLAIN.fullmatch(symbol):
        return readable
    digest = hashlib.sha256(f"{bot}\0{symbol}".encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{digest}:{tick_epoch_s}:{ordinal}"

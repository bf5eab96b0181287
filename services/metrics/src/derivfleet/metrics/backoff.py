"""How long to wait before the next try: twice as long each time, spread by a jitter that the same process repeats."""

from __future__ import annotations

import hashlib

__all__ = ["delay_s"]

_FIRST_S = 0.5
_MOST_S = 30.0
_DIGEST_RANGE = 2**32


def delay_s(name: str, attempt: int) -> float:
    """Seconds to wait after the failed try number ``attempt`` (from 0): between half of 0.5, 1, 2 … 30 s and all of it.

    The jitter comes from ``name`` and ``attempt``, so that processes of different names do not try in step, and a run
    can be repeated exactly.
    """
    whole = min(_MOST_S, _FIRST_S * 2 ** min(attempt, 16))
    digest = hashlib.sha256(f"{name}:{attempt}".encode()).digest()
    return whole * (0.5 + 0.5 * int.from_bytes(digest[:4]) / _DIGEST_RANGE)

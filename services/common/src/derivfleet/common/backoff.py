"""How long to wait before trying again."""

from __future__ import annotations

import hashlib

__all__ = ["backoff_s"]


def backoff_s(attempt: int, key: str, first_s: float = 1.0, most_s: float = 30.0) -> float:
    """Exponential backoff with jitter: the ``attempt``-th wait (from 0) in seconds.

    The jitter takes up to half of the wait away. It is derived from ``key`` and the attempt, so that many who fail
    together do not come back together, and a run can be repeated.
    """
    full_s = min(most_s, first_s * 2.0 ** min(attempt, 30))
    digest = hashlib.blake2b(f"{key}/{attempt}".encode(), digest_size=4).digest()
    return full_s * (1 - 0.5 * int.from_bytes(digest, "big") / 2**32)

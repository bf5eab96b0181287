"""When to log in: one queue for all slots of a user, because logins and sockets are counted per user.

REST calls per minute and open sockets have limits, and a service that refuses one login refuses the next as well: so
slots log in one at a time, and a refusal makes all of them wait.
"""

from __future__ import annotations

from collections import deque

from derivfleet.common.backoff import backoff_s

__all__ = ["LoginQueue"]

NS_PER_S = 1_000_000_000

LINGER_NS = 120 * NS_PER_S
"""A socket that was given up without a goodbye may stay open at Deriv until it has been idle for so long."""


class LoginQueue:
    """When the first in the queue may try, whichever slot it is."""

    def __init__(self, key: str, most_sockets: int) -> None:
        """``key`` seeds the jitter of the waits."""
        self._key = key
        self._most = most_sockets
        self._held = 0
        self._lingering: deque[int] = deque()
        self.failures = 0
        """Logins that failed, one after the other, since the last that did not."""
        self._not_before_ns = 0

    def wait_ns(self, now_ns: int) -> tuple[int, str]:
        """How long the next login has to wait, and why, if it is not for the failure of the last one."""
        backoff_ns = max(0, self._not_before_ns - now_ns)
        while self._lingering and self._lingering[0] + LINGER_NS <= now_ns:
            self._lingering.popleft()
        surplus = self._held + len(self._lingering) + 1 - self._most
        if self._held and surplus > 0:  # with none left, a refusal by Deriv costs less than waiting
            # If the living alone are too many, there is no telling when: ask again after a while.
            since_ns = self._lingering[surplus - 1] if surplus <= len(self._lingering) else now_ns
            room_ns = since_ns + LINGER_NS
            if room_ns - now_ns > backoff_ns:
                return room_ns - now_ns, f"{self._most} sockets of this user may still be open at Deriv"
        return backoff_ns, ""

    def failed(self, now_ns: int) -> None:
        """A login failed: everybody waits, longer each time."""
        self._not_before_ns = now_ns + round(backoff_s(self.failures, self._key) * NS_PER_S)
        self.failures += 1

    def logged_in(self) -> None:
        """A socket is open."""
        self.failures = 0
        self._held += 1

    def ended(self, now_ns: int, *, may_linger: bool) -> None:
        """A socket has ended; ``may_linger``: Deriv may not have heard of that."""
        self._held -= 1
        if may_linger:
            self._lingering.append(now_ns)

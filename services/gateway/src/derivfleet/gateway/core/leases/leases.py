"""Which replica of a bot may trade which symbols.

A bot's symbols are divided among its replicas. Each holding has an epoch; a purchase names the epoch it was decided
under, and is refused if the symbol has changed hands since. So a replica that was paused or cut off cannot trade beside
its successor, whatever it believes.

Replicas renew their holdings; one that does not do so for a while has lost them. When a replica comes or goes, as few
symbols as possible change hands.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Lease", "Leases"]


@dataclass(frozen=True, slots=True)
class Lease:
    """One symbol in one replica's hands until ``expires_ns``; ``epoch`` is unlike that of any other holding."""

    symbol: str
    replica: str
    epoch: int
    expires_ns: int


@dataclass(slots=True)
class _Holding:
    replica: str
    epoch: int


class Leases:
    """The symbols of one bot.

    Epochs grow with time (they begin at the time of granting, in ns), so that they go on growing over a restart of the
    gateway, which remembers no holdings.
    """

    def __init__(self, symbols: tuple[str, ...], lasts_ns: int) -> None:
        self._symbols = symbols
        self._lasts_ns = lasts_ns
        self._seen_ns: dict[str, int] = {}
        self._holdings: dict[str, _Holding] = {}
        self._last_epoch = 0

    @property
    def replicas(self) -> tuple[str, ...]:
        """Those that have renewed lately, as of the last call."""
        return tuple(sorted(self._seen_ns))

    def renew(self, replica: str, now_ns: int) -> list[Lease]:
        """A replica is alive; returns what it holds from now on."""
        self._expire(now_ns)
        self._seen_ns[replica] = now_ns
        self._divide(now_ns)
        return [
            Lease(symbol, replica, holding.epoch, now_ns + self._lasts_ns)
            for symbol, holding in self._holdings.items()
            if holding.replica == replica
        ]

    def leave(self, replica: str, now_ns: int) -> None:
        """A replica says goodbye: its symbols are free at once."""
        if self._seen_ns.pop(replica, None) is not None:
            self._divide(now_ns)

    def allows(self, replica: str, symbol: str, epoch: int, now_ns: int) -> bool:
        """Whether a purchase decided under an epoch may still be made."""
        self._expire(now_ns)
        holding = self._holdings.get(symbol)
        return holding is not None and (holding.replica, holding.epoch) == (replica, epoch)

    def holder(self, symbol: str, now_ns: int) -> Lease | None:
        """Who holds a symbol now."""
        self._expire(now_ns)
        holding = self._holdings.get(symbol)
        if holding is None:
            return None
        return Lease(symbol, holding.replica, holding.epoch, self._seen_ns[holding.replica] + self._lasts_ns)

    def _expire(self, now_ns: int) -> None:
        gone = [replica for replica, seen_ns in self._seen_ns.items() if now_ns >= seen_ns + self._lasts_ns]
        for replica in gone:
            del self._seen_ns[replica]
        if gone:
            self._divide(now_ns)

    def _divide(self, now_ns: int) -> None:
        """Give every symbol a living holder, evenly, moving as few as possible."""
        living = sorted(self._seen_ns)
        held: dict[str, list[str]] = {replica: [] for replica in living}
        free: list[str] = []
        for symbol in self._symbols:
            holding = self._holdings.get(symbol)
            if holding is not None and holding.replica in held:
                held[holding.replica].append(symbol)
            else:
                free.append(symbol)
        if not living:
            self._holdings.clear()
            return
        least, extra = divmod(len(self._symbols), len(living))
        # Those who hold most keep the larger parts, so that fewer symbols move.
        by_size = sorted(living, key=lambda replica: (-len(held[replica]), replica))
        parts = {replica: least + (rank < extra) for rank, replica in enumerate(by_size)}
        for replica in living:
            free += held[replica][parts[replica] :]
            del held[replica][parts[replica] :]
        for replica in living:
            while len(held[replica]) < parts[replica]:
                symbol = free.pop(0)
                held[replica].append(symbol)
                self._last_epoch = max(self._last_epoch + 1, now_ns)
                self._holdings[symbol] = _Holding(replica, self._last_epoch)

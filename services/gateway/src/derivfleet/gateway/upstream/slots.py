"""The slots of a pool: what a call is for, where its home is, and how good the socket there is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.common.redaction import redact
from derivfleet.connection.core.health import Verdict

if TYPE_CHECKING:
    from derivfleet.connection.connection import Connection

__all__ = ["SLOTS", "ConnectionRole", "Slot", "SlotState"]


class ConnectionRole(StrEnum):
    """What a call is for."""

    ORDERS = "orders"
    """It opens a position: not on a socket that is suspect, for then its answer is as good as lost."""
    EXITS = "exits"
    """It closes a position: there is room for it where there is none for others."""
    READS = "reads"
    HISTORY = "history"
    """Its answer is so large that it may make its socket slow: it does not follow the others away from there."""

    @property
    def home(self) -> ConnectionRole:
        """Whose slot it uses if nothing is wrong."""
        return ConnectionRole.ORDERS if self in (ConnectionRole.ORDERS, ConnectionRole.EXITS) else ConnectionRole.READS


SLOTS = (ConnectionRole.ORDERS, ConnectionRole.READS)


class SlotState(StrEnum):
    """Whether a slot has a usable socket, and how good it is."""

    CONNECTING = "connecting"
    READY = "ready"
    SLOW = "slow"
    SUSPECT = "suspect"
    WAITING = "waiting"
    CLOSED = "closed"


_STATES = {Verdict.READY: SlotState.READY, Verdict.SLOW: SlotState.SLOW, Verdict.SUSPECT: SlotState.SUSPECT}
_VERDICTS = {state: verdict for verdict, state in _STATES.items()}


class Slot:
    """One place for a socket."""

    def __init__(self, role: ConnectionRole, now_ns: int) -> None:
        self.role = role
        self.state = SlotState.CONNECTING
        self.since_time_ns = now_ns
        self.connection: Connection | None = None
        self.ping_ms = 0.0
        self.reconnects = 0
        self.problem = ""

    @property
    def usable(self) -> Connection | None:
        """Its socket, if calls may be made on it."""
        return self.connection if self.connection is not None and self.connection.is_open else None

    def become(self, state: SlotState, now_ns: int, problem: str = "") -> None:
        self.state, self.since_time_ns, self.problem = state, now_ns, redact(problem)

    def judge(self, now_ns: int) -> bool:
        """Take over what its socket's health has found; returns whether that is news."""
        if self.connection is None or self.state not in _VERDICTS:
            return False
        health = self.connection.health
        if health.verdict is _VERDICTS[self.state]:
            self.problem = health.problem
            return False
        self.become(_STATES.get(health.verdict, SlotState.SUSPECT), now_ns, health.problem)
        return True

"""What the exchange wants done on a socket."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Close", "Effect", "Freeze", "Send"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send one text frame, possibly a while later."""

    connection: int
    text: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """End a socket, after what was sent before."""

    connection: int
    code: int
    reason: str
    abrupt: bool = False
    """Without a close frame and without sending what is queued, as a broken line does."""
    drained: bool = False
    """What is queued is sent even so."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Read and send nothing on a socket any more, and leave its TCP connection as it is."""

    connection: int


Effect = Send | Close | Freeze

"""What bots say of themselves: when they decided, and how long each operation took them.

The two programs write it down here; the fleet's bots have it in their logs. Nothing of what became of their money is
taken from here.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from derivfleet.common.clock import Clock

__all__ = ["BotLog", "LogWriter", "Operation", "errors_in", "read_log_file", "read_logs"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a bot wanted done: from the wish to the answer, with all waiting for locks, limits, sockets."""

    bot: str
    call: str
    wanted_ns: int
    done_ns: int

    @property
    def took_ms(self) -> float:
        """Fleet time."""
        return (self.done_ns - self.wanted_ns) / 1e6


@dataclass(slots=True)
class BotLog:
    """What the bots of one run said."""

    decided_ns: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Bot → when it decided to trade, in order."""
    operations: list[Operation] = field(default_factory=list[Operation])

    def decide(self, bot: str, time_ns: int) -> None:
        self.decided_ns.setdefault(bot, []).append(time_ns)


class LogWriter:
    """A file of JSON lines, each there as soon as it is said."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = path.open("w", buffering=1)
        self._clock = clock

    def decided(self, bot: str) -> None:
        """A bot wants to buy from now on."""
        self._say({"event": "decided", "bot": bot, "time_ns": self._clock.now_ns()})

    @contextmanager
    def operation(self, bot: str, call: str, wanted_ns: int | None = None) -> Generator[None, None, None]:
        """Note how long the block took, however it ends; it began when it was ``wanted_ns``, if that was earlier."""
        start_ns = self._clock.now_ns() if wanted_ns is None else wanted_ns
        try:
            yield
        finally:
            done_ns = self._clock.now_ns()
            self._say({"event": "operation", "bot": bot, "call": call, "wanted_ns": start_ns, "done_ns": done_ns})

    def close(self) -> None:
        self._file.close()

    def _say(self, facts: dict[str, object]) -> None:
        self._file.write(json.dumps(facts) + "\n")


def read_log_file(path: Path) -> BotLog:
    """The story in a file of :class:`LogWriter`."""
    story = BotLog()
    for line in _lines(path):
        match line:
            case {"event": "decided"}:
                story.decide(line["bot"], line["time_ns"])
            case {"event": "operation"}:
                story.operations.append(Operation(line["bot"], line["call"], line["wanted_ns"], line["done_ns"]))
            case _:
                continue
    return story


def read_logs(paths: Iterable[Path]) -> BotLog:
    """The story in the logs of the fleet's bots.

    Their one operation is the purchase: from ``decided`` to the first line that says how it came out. That an order's
    state is unknown is no answer; then it lasts until the end of the trade is known.
    """
    story = BotLog()
    for path in paths:
        wanted_ns: dict[str, int] = {}
        for line in _lines(path):
            order_id = line.get("order_id", "")
            match line:
                case {"event": "decided"}:
                    story.decide(line["bot"], line["time_ns"])
                    wanted_ns[order_id] = line["time_ns"]
                case {"event": "order open", "state": "confirmed"} | {"event": "trade ended"} if order_id in wanted_ns:
                    start_ns = wanted_ns.pop(order_id)
                    story.operations.append(Operation(line["bot"], "buy", start_ns, line["time_ns"]))
                case _:
                    continue
    return story


def errors_in(paths: Iterable[Path]) -> int:
    """How many lines in logs of services tell of an error: of what nobody foresaw, mostly."""
    return sum(line.get("level") == "error" for path in paths for line in _lines(path))


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    """The objects in a file of JSON lines; other lines, and a last one that was cut, are not ours."""
    for text in path.read_text().splitlines():
        try:
            line: object = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield cast("dict[str, Any]", line)

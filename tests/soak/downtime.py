"""When a bot could not trade: from its own log, and from when the gateway could not have bought. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Span", "down_spans", "joined", "length"]

Span = tuple[int, int]
"""From and to, nanoseconds of fleet time."""
_DOWN = frozenset({"gateway not there yet, retrying", "stream cut, retrying"})


def down_spans(lines: Iterable[str], until_ns: int) -> list[Span]:
    """The spans in which a bot lacked its ticks, the news of its orders, or all of its symbols; or was not there.

    Before its first decision it is starting, which is not held against it.
    """
    since: dict[str, int] = {}
    found: list[Span] = []
    began_ns = until_ns
    for text in lines:
        line = _object(text)
        time_ns = line.get("time_ns")
        if not isinstance(time_ns, int):
            continue
        began_ns = min(began_ns, time_ns) if line.get("event") == "decided" else began_ns
        what, is_up = _news(line)
        if is_up is False:
            since.setdefault(what, time_ns)
        elif is_up and what in since:
            found.append((since.pop(what), time_ns))
    found += [(start_ns, until_ns) for start_ns in since.values()]
    return joined((max(start, began_ns), min(end, until_ns)) for start, end in found)


def _news(line: Mapping[str, Any]) -> tuple[str, bool | None]:
    """Of what a line tells, and whether that is there now; None if it tells of nothing."""
    event = line.get("event")
    if event in _DOWN:
        return str(line.get("stream")), False
    if event == "gateway is there":
        return str(line.get("stream")), True
    if event == "symbols held":
        return "symbols", bool(line.get("symbols"))
    if event in ("bot ended", "decided"):
        return "process", event == "decided"
    return "", None


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same time, with no instant in two spans."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def length(spans: Iterable[Span]) -> int:
    """Nanoseconds in spans that do not overlap."""
    return sum(end - start for start, end in spans)


def _object(text: str) -> dict[str, Any]:
    try:
        line: object = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", line) if isinstance(line, dict) else {}

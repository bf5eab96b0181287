"""Ways to break things. Everything follows from the generator that is handed in."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

__all__ = ["broken_bytes", "broken_json", "broken_text", "garbage"]

RAW = "\x01raw\x02"
"""Marks a string that stands for what no JSON writer would write."""
LITERALS = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e-400", "1E+99999", "0.1e-99999999999", "9" * 25, "9" * 5000, "-0",
    "00", "1.", "'x'", "0x10", "1_000", "{}", "[]", "null", "true", "",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.1, 1e16, 1e300, "", " ", "0", "1e5",
    "1e99999999",
    "NaN", "sNaN", "-Infinity", "1e-99999999", "9" * 40, "9" * 5000, "1_0", "٣", "\x00", "\ud800", "é" * 50, "x" * 5000,
    [], {}, [[]], [None], {"": None}, {"error": {"code": 1}}, [1, "1"], "<not shown>", "2026-13-45", "1/0",
)  # fmt: skip
PIECES = (
    b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\r\n", b'"', b"\\", b"\\u0000",
    b"\\ud800", b"{", b"}",
    b"[", b"]", b",", b":", b"- ", b"&a ", b"*a", b"!!python/object:x ", b"%", b"'", b"---\n", b"1e999", b"-",
    b"~", b"? ",
)  # fmt: skip
MOST_DEEP = 20_000
HUGE = 200_000


def broken_json(chance: Random, text: str, others: Sequence[str]) -> bytes:
    """A JSON text with one to four of its values changed, moved, doubled or gone; now and then its bytes besides."""
    document: Any = json.loads(text)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        document = _changed(chance, document, others)
    found = _written(chance, document).encode("utf-8", "surrogatepass")
    return broken_bytes(chance, found) if chance.random() < 0.1 else found


def broken_text(chance: Random, text: str) -> bytes:
    """A text with its bytes changed."""
    return broken_bytes(chance, text.encode())


def broken_bytes(chance: Random, data: bytes) -> bytes:
    """One to five changes: bits, pieces, doublings, ends."""
    for _ in range(chance.randint(1, 5)):
        at, to = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        match chance.randrange(7):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
            case 1:
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[min(to, at + 40) :]
            case 3:
                data = data[:to] + data[at : min(to, at + 200)] + data[to:]
            case 4:
                data = data[:at] if chance.random() < 0.3 else data
            case 5:
                data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]
            case _:
                data = data[:at] + chance.choice(PIECES) * chance.randint(2, 50) + data[at:]
    return data


def garbage(chance: Random) -> bytes:
    """Nothing of any kind, or far too much of one."""
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randint(0, 300))
        case 1:
            return chance.choice((b"[", b'{"a":', b"[{", b"- ", b"{a: ")) * chance.randint(1, MOST_DEEP)
        case 2:
            return b'{"req_id":7,"msg_type":"' + chance.choice((b"x", b"\\u0041", b"\xc3\xa9")) * HUGE + b'"}'
        case 3:
            return b'{"tick":' + b'{"a":' * chance.randint(1, 2000) + b"1" + b"}" * chance.randint(1, 2000) + b"}"
        case 4:
            return chance.choice((b"", b" ", b"null", b"1", b'"x"', b"[]", b"{}", b"true", b"\x00", b"NaN"))
        case _:
            return b" " * chance.randint(1, HUGE) + b"{}"


def _paths(document: Any, limit: int = 400) -> list[tuple[Any, Any]]:
    """(container, key) of the values within, as far as ``limit``."""
    found: list[tuple[Any, Any]] = []
    todo: list[Any] = [document]
    while todo and len(found) < limit:
        one: Any = todo.pop(0)
        pairs: list[tuple[Any, Any]] = []
        at: Any = one
        if isinstance(one, dict):
            pairs = list(one.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON
        elif isinstance(one, list):
            pairs = list(enumerate(one))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON
        for key, value in pairs:
            found.append((at, key))
            todo.append(value)
    return found


def _value(chance: Random) -> Any:
    """One of its own, for it may be changed in turn."""
    return deepcopy(chance.choice(VALUES))


def _changed(chance: Random, document: Any, others: Sequence[str]) -> Any:
    paths = _paths(document)
    if not paths:
        return _value(chance)
    container, key = chance.choice(paths)
    match chance.randrange(10):
        case 0 | 1 | 2:
            container[key] = _value(chance)
        case 3 | 4:
            container[key] = RAW + chance.choice(LITERALS) + RAW
        case 5:
            del container[key]
        case 6:
            other = json.loads(chance.choice(others))
            (place, its) = chance.choice(_paths(other))
            container[key] = place[its]
        case 7:
            times = chance.choice((1, 2, 200))
            # Many times many times many would keep the fuzz busy with itself.
            container[key] = [container[key]] * (times if len(json.dumps(container[key])) * times < HUGE else 1)
        case 8 if isinstance(container, dict):
            # The same key twice, with different values.
            container[f"{RAW}{key}"] = _value(chance)
        case _:
            value = container[key]
            container[key] = _other_type(chance, value)
    return document


def _other_type(chance: Random, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        changes: tuple[Callable[[], Any], ...] = (
            lambda: str(value), lambda: -value, lambda: value * 10**15, lambda: value / 3, lambda: value + 0.001,
            lambda: bool(value),
        )  # fmt: skip
        return chance.choice(changes)()
    if isinstance(value, str):
        return chance.choice(
            (value + "\x00", value[:1000] * 100, value[:1], value.upper(), [value], {"code": value}, 7)
        )
    return chance.choice((str(value)[:200], {"x": None}, [value], 1))


def _written(chance: Random, document: Any) -> str:
    text = json.dumps(document, ensure_ascii=chance.random() < 0.5)
    for mark in (json.dumps(RAW)[1:-1], RAW):
        text = "".join(_without(mark, text))
    return text


def _without(mark: str, text: str) -> Iterator[str]:
    """As a value the literal stands without quotes; as a key only the mark goes, which leaves the key twice."""
    position = 0
    while (start := text.find(mark, position)) >= 0:
        begin, quote = start + len(mark), text.find('"', start)
        end = quote - len(mark)
        if text[start - 1] == '"' and end > start and text.startswith(mark, end):
            yield text[position : start - 1]
            yield text[begin:end]
            position = quote + 1
        else:
            yield text[position:start]
            position = begin
    yield text[position:]

"""The walls of the house: who may import whom, and which rooms do no I/O."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SERVICES = ("bot", "cli", "gateway", "metrics", "probe", "simulator")
SHARED = {"common", "deriv", "v1"}
SPEAKS_TO_DERIV = {"gateway", "probe"}
"""Services that hold sockets to Deriv, and so share its library of one."""

PURE = [
    "services/deriv/src/derivfleet/deriv",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("services/*/src/derivfleet/**/core"))),
]
"""Rooms without I/O: time comes in as an argument, effects go out as values."""

PURE_STANDARD_LIBRARY = frozenset(
    [
        "__future__",
        "abc",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "statistics",
        "string",
        "struct",
        "types",
        "typing",
        "uuid",
    ]
)
PURE_PACKAGES = frozenset({"pydantic", "ddsketch"})


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, wherever in it, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield node.lineno, module
                if module == "derivfleet":
                    yield from ((node.lineno, f"derivfleet.{alias.name}") for alias in names)
            case _:
                continue


@pytest.mark.parametrize("service", [*SERVICES, "common", "connection", "deriv"])
def test_no_service_imports_another(service: str) -> None:
    allowed = {service, "common", "v1"} if service == "common" else {service, *SHARED}
    if service in SPEAKS_TO_DERIV:
        allowed.add("connection")
    if service == "deriv":
        allowed = {"deriv"}
    strangers = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sorted((ROOT / "services" / service).rglob("*.py"))
        if "v1" not in path.parts
        for line, module in imports(path)
        if module.startswith("derivfleet.") and module.split(".")[1] not in allowed
    ]
    assert strangers == []


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_import_nothing_that_does_input_or_output(room: str) -> None:
    own = (room.partition("/src/")[2].replace("/", "."), "derivfleet.deriv")
    impure: list[str] = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for line, module in imports(path):
            top = module.split(".")[0]
            fine = (
                module.startswith(own)
                or top in PURE_PACKAGES
                or (top in PURE_STANDARD_LIBRARY and top in sys.stdlib_module_names)
                or module in ("derivfleet.common.backoff", "derivfleet.common.strategies", "derivfleet.common.spans")
            )
            if not fine:
                impure.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert impure == []


def test_every_service_has_a_pure_room_or_is_a_thin_shell() -> None:
    with_core = {Path(room).parts[1] for room in PURE}
    assert {"connection", "deriv", "gateway", "probe", "simulator"} <= with_core


@pytest.mark.parametrize("word", ["time.time(", "datetime.now(", "time.monotonic("])
def test_all_time_comes_from_the_one_clock(word: str) -> None:
    clock = ROOT / "services/common/src/derivfleet/common/clock.py"
    strays = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("services/*/src/**/*.py"))
        if path != clock and word in path.read_text()
    ]
    assert strays == []


def test_files_are_rooms_of_a_readable_size() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sorted(ROOT.glob("services/*/src/derivfleet/*/**/*.py"))
        if "v1" not in path.parts and (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}

"""The specification of orders shows the table that the code decides by."""

from __future__ import annotations

import re
from pathlib import Path

from derivfleet.deriv.errors import Outcome, known_codes, outcome_of
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DENIALS

PAGE = (Path(__file__).parents[1] / "docs/orders.md").read_text()
MEANINGS = {
    "nothing happened; ask for something else": Outcome.NOT_EXECUTED,
    "nothing happened; the same may work later": Outcome.LATER,
    "nothing happened, and the same never will": Outcome.CONFIGURATION,
}


def rows() -> list[tuple[str, list[str], str]]:
    """Call, codes and meaning of each row."""
    table = PAGE.partition("<!-- evidence -->")[2].partition("<!-- /evidence -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return [(call, re.findall(r"`([^`]+)`", codes), meaning) for call, codes, meaning in cells]


def test_the_page_shows_every_code_that_proves_something_and_no_other() -> None:
    for call, name in ((Call.BUY, "buy"), (Call.SELL, "exits")):
        shown: dict[str, Outcome] = {}
        for where, codes, meaning in rows():
            if where in ("any call", name) and meaning in MEANINGS:
                # What a call's own row says goes before what holds for any.
                shown |= dict.fromkeys(codes, MEANINGS[meaning])
        assert shown == known_codes(call)


def test_what_the_page_says_to_prove_nothing_proves_nothing() -> None:
    (codes,) = [codes for _, codes, meaning in rows() if meaning not in MEANINGS]
    for call in (Call.BUY, Call.SELL, Call.CANCEL, Call.CONTRACT_UPDATE):
        for code in codes:
            text = "Connection closed" if code == "RateLimit" else ""
            assert outcome_of(call, code, text) is Outcome.UNKNOWN
        assert outcome_of(call, "NeverHeardOf") is Outcome.UNKNOWN


def test_the_table_of_denials_is_the_code() -> None:
    table = PAGE.partition("<!-- denials -->")[2].partition("<!-- /denials -->")[0]
    assert table.strip().splitlines()[2:] == [f"| `{denial.code}` | {denial.meaning} |" for denial in DENIALS]


def test_the_rules_are_numbered_and_name_rooms_that_exist() -> None:
    rules = re.findall(r"^(\d+)\. \*\*", PAGE.partition("## Rules")[2], re.MULTILINE)
    assert [int(number) for number in rules] == list(range(1, len(rules) + 1))
    assert len(rules) >= 12
    gateway = Path(__file__).parents[1] / "services/gateway/src/derivfleet/gateway"
    section = PAGE.partition("## Rules")[2].partition("## What a bot")[0]
    rooms = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+)(?:\.[A-Z_]+)?`", section))
    assert len(rooms) >= 8
    for room in rooms:
        assert (gateway / f"{room}.py").exists(), room

"""Thousands of broken inputs, and whether the run would tell of one that breaks something."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from tests.fuzz import corpus
from tests.fuzz.account_target import AccountTarget
from tests.fuzz.fuzz_run import SHARES, TARGETS, play_one, shares_of, smallest
from tests.fuzz.mutators import broken_json
from tests.fuzz.shrink import shrunk
from tests.fuzz.targets import chance_of

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("cases", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_nothing_crashes_hangs_or_grows(tmp_path: Path, cases: int) -> None:
    figures = tmp_path / "fuzz.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-m", "tests.fuzz", "-n", str(cases), "--figures", str(figures)]
    command += ["--jobs", "2", "--folder", str(tmp_path / "run")]
    ended = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    facts: dict[str, Any] = json.loads(figures.read_text())
    assert (facts["crashes"], facts["hangs"]) == (0, 0)
    assert {name: one["cases"] for name, one in facts["by_target"].items()} == shares_of(cases)


class Brittle:
    """Breaks at a word, stands still at another."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def make(self, chance: random.Random) -> bytes:
        return chance.randbytes(20)

    def throw(self, case: bytes) -> None:
        if b"bad" in case:
            raise KeyError("bad")


async def test_a_case_that_breaks_something_is_told_and_made_small() -> None:
    target = Brittle()
    assert play_one(target, b"good") is None
    case = b"a" * 70 + b"bad" + b"z" * 50
    found = play_one(target, case)
    assert found is not None
    assert (found.kind, "KeyError" in found.error, "test_fuzz.py" in found.where) == ("crash", True, True)

    async def fails(smaller: bytes) -> bool:
        again = play_one(target, smaller)
        return again is not None and again.where == found.where

    assert await shrunk(case, fails) == b"bad"


class BrittleAccount(AccountTarget):
    """An account that breaks at a word."""

    def throw(self, case: bytes) -> None:
        super().throw(case)
        if b"bad" in case:
            raise KeyError("bad")


def test_an_account_serves_the_next_case_after_one_that_broke_it() -> None:
    with BrittleAccount() as target:
        assert play_one(target, b"buy\ngood") is None
        found = play_one(target, b"buy\n..bad..")
        assert found is not None
        assert smallest(target, b"buy\n..bad..", found, [0, 0, 0]) == b"bad"
        assert play_one(target, b"buy\ngood") is None


@pytest.mark.parametrize("name", TARGETS)
def test_a_case_follows_from_seed_target_and_number(name: str) -> None:
    with TARGETS[name]() as target:
        first = [target.make(chance_of(1, name, number)) for number in range(30)]
        assert first == [target.make(chance_of(1, name, number)) for number in range(30)]
        assert first != [target.make(chance_of(2, name, number)) for number in range(30)]
        found = [play_one(target, case) for case in first]
        # How long a case takes a processor is judged above, in a process of its own: measuring coverage multiplies it.
        assert [one for one in found if one is not None and one.kind != "hang"] == []


def test_every_kind_of_answer_is_in_the_corpus() -> None:
    kinds = {json.loads(text)["msg_type"] for _, text in corpus.frames()}
    assert kinds >= {"authorize", "balance", "buy", "history", "candles", "ohlc", "proposal", "proposal_open_contract"}
    assert kinds >= {"portfolio", "profit_table", "sell", "statement", "tick", "time", "transaction", "website_status"}


def test_json_is_broken_in_ways_that_a_writer_of_json_is_not_capable_of() -> None:
    texts = [text for _, text in corpus.frames()]
    made = b"".join(broken_json(random.Random(number), texts[number % len(texts)], texts) for number in range(3000))  # noqa: S311
    assert b": NaN" in made
    assert b": 1E+99999" in made
    assert sum(SHARES.values()) == 100

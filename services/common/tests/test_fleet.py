from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet
from derivfleet.common.strategy_parameters import DigitFrequency, MovingAverage

DEMO = Path(__file__).parents[3] / "fleet.yaml"
BOT = {"name": "one", "strategy": "digit_frequency", "symbols": ["R_100"]}


def write(folder: Path, document: object) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def problem(folder: Path, document: object, known: frozenset[str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_fleet(write(folder, document), known)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_shipped_fleet_has_ten_bots_of_two_strategies() -> None:
    fleet = load_fleet(DEMO)
    assert len(fleet.bots) == 10
    assert {type(bot.parameters) for bot in fleet.bots} == {DigitFrequency, MovingAverage}
    assert fleet.account_of(fleet.bots[0]).key == "demo"


def test_a_stake_is_what_the_author_wrote(tmp_path: Path) -> None:
    fleet = load_fleet(write(tmp_path, {"bots": [{**BOT, "stake": 0.35}]}))
    assert fleet.bot("one").stake == Decimal("0.35")
    assert fleet.bots[0].parameters == DigitFrequency()


@pytest.mark.parametrize(
    ("bot", "named"),
    [
        ({"stakes": 1}, "fleet.yaml: bots.one.stakes: unknown key"),
        ({"stake": "much"}, "bots.one.stake: "),
        ({"stake": 0.355}, "bots.one.stake: "),
        ({"stake": -1}, "bots.one.stake: "),
        ({"strategy": "martingale"}, "bots.one: strategy: unknown strategy 'martingale'; known are digit_frequency"),
        ({"symbols": []}, "bots.one.symbols: "),
        ({"symbols": ["R_10", "R_10"]}, "bots.one.symbols: symbol R_10 is listed twice"),
        ({"parameters": {"barier": 3}}, "bots.one.parameters.barier: unknown key"),
        ({"parameters": {"barrier": "x"}}, "bots.one.parameters.barrier: "),
        ({"parameters": {"barrier": 9}}, "bots.one.parameters: barrier 9 can never win over"),
        ({"parameters": 5}, "bots.one.parameters: "),
        ({"replicas": 0}, "bots.one.replicas: "),
        ({"name": "Not A Name"}, "bots.Not A Name.name: "),
        ({"name": "gateway"}, "the name gateway is taken"),
        (
            {"caps": {"quote": 3}},
            "bots.one.caps: unknown call 'quote'; known are buy, proposal, proposal_open_contract, ",
        ),
        ({"caps": {"buy": 0}}, "bots.one.caps.buy: "),
        ({"caps": {"buy": 10_001}}, "bots.one.caps.buy: "),
        ({"caps": ["buy"]}, "bots.one.caps: "),
        ({"account": "real"}, "bots: one: account 'real' is not in accounts (demo)"),
    ],
)
def test_a_wrong_bot_is_named_with_its_key(tmp_path: Path, bot: dict[str, object], named: str) -> None:
    assert named in problem(tmp_path, {"bots": [{**BOT, **bot}]})


def with_limits(**limits: object) -> dict[str, object]:
    return {"bots": [BOT], "accounts": [{"key": "demo", "limits": limits}]}


def test_measured_limits_and_caps_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    windows = {"lists": {60: 25}, "trade": {60: 300, 3600: 9000}}
    document = with_limits(headroom=1.0, windows=windows, connections=3)
    fleet = load_fleet(write(tmp_path, {**document, "bots": [{**BOT, "caps": {"buy": 3, "ticks": 9}}]}))
    limits = fleet.accounts[0].limits
    assert (limits.windows, limits.streams_per_connection, limits.connections) == (windows, 0, 3)
    assert fleet.bots[0].caps == {"buy": 3, "ticks": 9}
    # In JSON, which charts and copies of the file go through, the length of a window is a text.
    assert load_fleet(write(tmp_path, fleet.model_dump(mode="json"))) == fleet


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("bots: [", "is not YAML in line"),
        ("- 1", "must be a mapping"),
        ("bots: 2026-13-45", "is not YAML: month must be in 1..12"),
        ("bots: !!int", "is not YAML: "),
        ("#" * 1_000_001, "is larger than 1 MB: no fleet file is"),
        ("bots: !!bool what", "is not YAML: "),
        ("bots: !!timestamp x", "is not YAML: "),
        ("[" * 5000, "is not YAML: "),
        ("bots: \x00", "is not YAML: "),
        ({"bots": [{**BOT, "strategy": "x" * 5000}]}, "unknown strategy 'xxx"),
        ({}, "bots: is required"),
        ({"bots": []}, "bots: "),
        ({"bots": [BOT, BOT]}, "the name one is used twice"),
        ({"bots": [{"strategy": "digit_frequency"}]}, "bots.[0]."),
        ({"bots": ["one"]}, "bots.[0]: "),
        ({"bots": [BOT], "acounts": []}, "acounts: unknown key"),
        ({"bots": [BOT], "accounts": [{"limits": {"headroom": 1.5}}]}, "accounts.0.limits.headroom"),
        (
            with_limits(windows={"lists": {61: 30}}),
            "limits.windows: lists has a window of 61 seconds; known are 60 and",
        ),
        (with_limits(windows={"lists": {60: 0}}), "accounts.0.limits.windows.lists.60: "),
        (with_limits(windows={"lists": 30}), "accounts.0.limits.windows.lists: "),
        (with_limits(windows=[30]), "accounts.0.limits.windows: "),
        (with_limits(streams_per_connection=-1), "accounts.0.limits.streams_per_connection: "),
        (with_limits(connections="many"), "accounts.0.limits.connections: "),
        ({"bots": [{**BOT, "strategy": "moving_average", "parameters": {"fast_ticks": 20}}]}, "must be less than"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, document: object, named: str) -> None:
    text = problem(tmp_path, document)
    assert named in text
    assert "\n" not in text
    assert len(text) < 1000


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(b"bots: \xff")
    with pytest.raises(ConfigurationError, match="is no text in UTF-8"):
        load_fleet(path)


def test_an_unknown_symbol_is_named(tmp_path: Path) -> None:
    text = problem(tmp_path, {"bots": [BOT]}, frozenset({"R_10"}))
    assert text == "fleet.yaml: bots.one.symbols: unknown symbol R_100; known are R_10"


def test_a_missing_file_and_a_missing_bot_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_fleet(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="there is no bot 'two'"):
        load_fleet(write(tmp_path, {"bots": [BOT]})).bot("two")


ONE_BOT = "bots: [{name: b, strategy: digit_frequency, symbols: [R_100]}]"


@pytest.mark.parametrize("text", [f"\ufefffleet: a\n{ONE_BOT}\n", f"fleet: a\r\n{ONE_BOT}\r\n"])
def test_a_file_of_another_editor_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(text.encode())
    assert [bot.name for bot in load_fleet(path).bots] == ["b"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (ONE_BOT.replace("}", ', stake: "0,35"}'), "bots.b.stake: "),
        (ONE_BOT.replace("}", ", martingale: 2.1, stop_loss: 100}"), "bots.b.martingale: unknown key"),
        (ONE_BOT.replace("name: b", "name: 007"), "bots.7.name: "),
        (ONE_BOT.replace("[R_100]", "R_100"), "bots.b.symbols: "),
        (f"fleet: no\n{ONE_BOT}", "fleet: "),
        ("bots:\n\t- {name: b}\n", "is not YAML in line 2: found character '\\t'"),
        (f"x-defaults: &d {{stake: 0.50}}\n{ONE_BOT}", "x-defaults: unknown key"),
    ],
)
def test_what_people_write_by_mistake_is_named(tmp_path: Path, text: str, named: str) -> None:
    assert named in problem(tmp_path, text)


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason="of a key that stands twice, the last one counts")
@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{ONE_BOT}\n{ONE_BOT.replace('name: b', 'name: c')}\n", "bots"),
        (ONE_BOT.replace("}", ", stake: 0.35, pause_ticks: 2, stake: 35}"), "stake"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, named: str) -> None:
    assert named in problem(tmp_path, text)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="files are read by the slow one of YAML's two readers")
def test_a_file_is_read_by_the_fast_one_of_the_two_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[str] = []

    class Counted(yaml.SafeLoader):
        def __init__(self, stream: Any) -> None:
            slow.append("opened")
            super().__init__(stream)

    monkeypatch.setattr(yaml, "SafeLoader", Counted)
    load_fleet(write(tmp_path, {"bots": [BOT]}))
    assert slow == []

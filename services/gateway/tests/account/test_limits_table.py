"""What the fleet file knows better than the published limits."""

from __future__ import annotations

from typing import Any

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import CAPPED_CALLS, Account, Limits
from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.account.limits_table import table_as_told, table_of


def account(**limits: Any) -> Account:
    return Account(limits=Limits(**limits))


@pytest.mark.parametrize(("name", "published"), [(Dialect.OPTIONS, OPTIONS_LIMITS), (Dialect.LEGACY, LEGACY_LIMITS)])
def test_without_a_word_in_the_file_the_table_is_the_published_one(name: Dialect, published: object) -> None:
    assert table_of(name, account()) == published


def test_what_the_file_says_replaces_that_window_alone() -> None:
    table = table_of(Dialect.OPTIONS, account(windows={"lists": {60: 20}}, streams_per_connection=50, connections=3))
    assert table.buckets["lists"].windows == {60: 20, 3600: 1500}
    assert {name: table.buckets[name] for name in ("trade", "money", "other")} == {
        name: OPTIONS_LIMITS.buckets[name] for name in ("trade", "money", "other")
    }
    assert (table.streams.per_connection, table.connections_per_user) == (50, 3)
    assert table.streams.proposals_per_connection == OPTIONS_LIMITS.streams.proposals_per_connection


@pytest.mark.parametrize(
    ("name", "limits", "line"),
    [
        (
            Dialect.OPTIONS,
            {"windows": {"outcome": {60: 20}}},
            "accounts.demo.limits.windows.outcome: unknown bucket; the options API has lists, money, other, trade",
        ),
        (Dialect.LEGACY, {"windows": {"lists": {60: 20}}}, "accounts.demo.limits.windows.lists: unknown bucket; "),
        (Dialect.OPTIONS, {"connections": 1}, "accounts.demo.limits.connections: is 1, but the gateway needs 2"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_key(name: Dialect, limits: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        table_of(name, account(**limits))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("own", "minute"), [(20, 20), (30, 25), (None, 25)])
def test_what_a_server_tells_can_be_lowered_and_not_raised(own: int | None, minute: int) -> None:
    one = account(windows={} if own is None else {"outcome": {60: own}, "virtual_buy": {60: 5}})
    told = {"max_requests_outcome": {"minutely": 25, "hourly": 1000}}
    table = table_as_told(table_of(Dialect.LEGACY, one), one, told)
    assert table.buckets["outcome"].windows == {60: minute, 3600: 1000}
    assert table.buckets["virtual_buy"].windows[60] == (60 if own is None else 5)


def test_every_call_that_can_be_capped_is_one_of_derivs() -> None:
    assert set(CAPPED_CALLS) <= {str(call) for call in Call}

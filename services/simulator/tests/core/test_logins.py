"""Passwords work once and for two minutes."""

from __future__ import annotations

import pytest

from derivfleet.simulator.core.exchange import Credentials
from derivfleet.simulator.core.logins import Logins

NS = 1_000_000_000


def logins(app_id: str = "12345") -> Logins:
    return Logins("1", "a1-TOKEN", app_id, 120)


def test_a_password_opens_once() -> None:
    known_logins = logins()
    otp = known_logins.issue("DOT90000001", "12345", 0)
    assert known_logins.redeem(otp, 119 * NS) == ("DOT90000001", "12345")
    assert known_logins.redeem(otp, 119 * NS) is None


def test_a_password_expires_and_a_failed_try_burns_it() -> None:
    known_logins = logins()
    otp = known_logins.issue("DOT90000001", "12345", 0)
    assert known_logins.redeem(otp, 120 * NS) is None
    assert known_logins.redeem(otp, 0) is None
    assert known_logins.redeem("made-up", 0) is None


def test_no_two_passwords_are_alike() -> None:
    known_logins = logins()
    assert len({known_logins.issue("DOT90000001", "12345", 0) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("configured", "asked", "known", "known_to_legacy"),
    [
        ("12345", "12345", True, True),
        ("12345", "999", False, False),
        ("my-app", "my-app", True, False),
        ("my-app", "999", False, True),
        ("12345", "", False, False),
    ],
)
def test_apps(configured: str, asked: str, known: bool, known_to_legacy: bool) -> None:
    known_logins = logins(configured)
    assert known_logins.knows_app(asked) is known
    assert known_logins.knows_legacy_app(asked) is known_to_legacy


def test_only_the_token_is_known_and_it_is_not_shown() -> None:
    assert logins().knows_token("a1-TOKEN")
    assert not logins().knows_token("a1-token")
    assert not logins().knows_token("")
    assert "a1-TOKEN" not in repr(Credentials("a1-TOKEN", "12345"))

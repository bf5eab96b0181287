from __future__ import annotations

import json
import logging

import pytest
import structlog

from derivfleet.common.clock import ManualClock
from derivfleet.common.logs import configure_logs
from derivfleet.common.redaction import hide, hide_for_a_while, redact

CANARY = "canary-7f3a91c5"


@pytest.fixture(autouse=True)
def _plain_logging_afterwards() -> object:  # pyright: ignore[reportUnusedFunction] - a fixture
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_carries_time_service_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("gateway", ManualClock(5))
    structlog.get_logger().info("order sent", order_id="o1", trace_id="t1")
    (line,) = lines(capsys)
    assert line == {
        "event": "order sent",
        "order_id": "o1",
        "trace_id": "t1",
        "level": "info",
        "time_ns": 5 * 10**9,
        "service": "gateway",
    }


def test_a_secret_reaches_no_line_whatever_way_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    hide(CANARY)
    configure_logs("gateway", ManualClock())
    log = structlog.get_logger()
    log.warning("token %s", CANARY, url=f"wss://host/ws/demo?otp={CANARY}", nested={"deep": [CANARY]})
    logging.getLogger("some.library").error("failed with %s", CANARY)
    try:
        int(CANARY)
    except ValueError:
        log.exception("ended")
    text = capsys.readouterr().err
    assert CANARY not in text
    assert text.count("***") >= 5


def test_what_looks_like_a_secret_is_hidden_unseen() -> None:
    assert redact("wss://a.b/ws/demo?otp=abc123&x=1") == "wss://a.b/ws/demo?otp=***&x=1"
    assert redact("Authorization: Bearer abc.def") == "Authorization: Bearer ***"
    assert redact("postgresql://user:pass@host/db") == "postgresql://user:***@host/db"


def test_short_strings_are_not_taken_for_secrets() -> None:
    hide("a")
    assert redact("a cat") == "a cat"


def test_text_output_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("bot", ManualClock(), "text", "warning")
    structlog.get_logger().info("unseen")
    structlog.get_logger().warning("seen", count=3)
    text = capsys.readouterr().err
    assert "unseen" not in text
    assert "count=3" in text


def test_passing_secrets_are_hidden_and_do_not_pile_up() -> None:
    for number in range(10_000):
        hide_for_a_while(f"one-time-{number:05}")
    assert redact("word one-time-09999 of one-time-09990") == "word *** of ***"
    assert redact("worthless by now: one-time-00001") == "worthless by now: one-time-00001"

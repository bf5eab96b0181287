"""What a service said last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from derivfleet.cli.run.service_log import last_line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ([], "(nothing)"),
        (['{"event": "draining"}'], "draining"),
        (["a traceback's last line", '{"event": "draining"}'], "a traceback's last line"),
        (
            [
                json.dumps(
                    {"event": "cut", "level": "warning", "time_ns": 1, "service": "gateway", "problem": "no route"}
                )
            ],
            "cut (problem no route)",
        ),
        (["{not json"], "{not json"),
    ],
)
def test_the_last_line_is_a_sentence(tmp_path: Path, lines: list[str], last: str) -> None:
    log = tmp_path / "service.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    assert last_line(log) == last


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert last_line(tmp_path / "none.log") == "(nothing)"

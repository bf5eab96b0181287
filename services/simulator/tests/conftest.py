"""Deriv's published schemas, for the tests that have them beside the repository."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import jsonschema
import pytest

from derivfleet.deriv.vocabulary import Call, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMAS = Path(os.environ.get("DERIV_SCHEMAS", Path(__file__).parents[4] / "shared" / "deriv" / "schemas"))
_CALL_OF_TYPE = {
    "tick": Call.TICKS,
    "history": Call.TICKS_HISTORY,
    "candles": Call.TICKS_HISTORY,
    "ohlc": Call.TICKS_HISTORY,
}


class _Validator(Protocol):
    """The part of jsonschema that is used here; its own stubs leave it partly unknown."""

    def validate(self, instance: object) -> None: ...


@functools.cache
def _validator(path: Path) -> _Validator:
    return cast("_Validator", jsonschema.Draft4Validator(json.loads(path.read_text())))


def assert_valid_answer(dialect: Dialect, text: str) -> None:
    """Raises jsonschema.ValidationError unless the text is a valid answer. Says nothing without the schemas."""
    frame: dict[str, Any] = json.loads(text)
    msg_type = str(frame["msg_type"])
    assert "echo_req" in frame
    if msg_type == "error" or not SCHEMAS.is_dir():
        return
    if "error" in frame:
        assert msg_type in frame["echo_req"]
        return
    call = _CALL_OF_TYPE.get(msg_type) or Call(msg_type)
    legacy = SCHEMAS / "legacy" / call / "receive.json"
    _validator(legacy if dialect is Dialect.LEGACY else SCHEMAS / "new" / f"{call}_response.schema.json").validate(
        frame
    )


@pytest.fixture(scope="session")
def valid_answer() -> Callable[[Dialect, str], None]:
    return assert_valid_answer

"""Deriv's published message schemas, where they are at hand: reference data that lies beside the project."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from derivfleet.deriv.vocabulary import Call, Dialect

__all__ = ["assert_valid_requests"]

FOLDER = Path(os.environ.get("DERIV_SCHEMAS", Path(__file__).parents[2] / "shared/deriv/schemas"))


@cache
def _validator(dialect: Dialect, call: Call) -> Any:
    path = (
        FOLDER / f"legacy/{call}/send.json" if dialect is Dialect.LEGACY else FOLDER / f"new/{call}_request.schema.json"
    )
    return jsonschema.Draft4Validator(json.loads(path.read_text()))


def assert_valid_requests(frames: list[dict[str, Any]], dialect: Dialect) -> None:
    """Every frame is valid under the schema of its call. Says nothing where the schemas are not at hand."""
    assert frames
    if not FOLDER.exists():
        return
    for frame in frames:
        call = next(call for call in Call if call in frame)
        problems = [error.message for error in _validator(dialect, call).iter_errors(frame)]
        assert problems == [], f"{call}: {problems}"

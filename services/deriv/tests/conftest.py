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
    from derivfleet.deriv.dialects import Frame

ROOT = Path(__file__).parents[3]
SCHEMAS = Path(os.environ.get("DERIV_SCHEMAS", ROOT.parent / "shared" / "deriv" / "schemas"))
LEGACY_FILES = {"request": "send.json", "response": "receive.json"}


class _Validator(Protocol):
    """The part of jsonschema that is used here; its own stubs leave it partly unknown."""

    def validate(self, instance: object) -> None: ...


class Schemas:
    """Judges frames by Deriv's own schema files."""

    @functools.cache  # noqa: B019 - one object a session
    def _validator(self, dialect: Dialect, call: Call, kind: str) -> _Validator:
        if dialect is Dialect.LEGACY:
            path = SCHEMAS / "legacy" / call / LEGACY_FILES[kind]
        else:
            path = SCHEMAS / "new" / f"{call}_{kind}.schema.json"
        schema: dict[str, Any] = json.loads(path.read_text())
        return cast("_Validator", jsonschema.Draft4Validator(schema))

    def check(self, dialect: Dialect, call: Call, kind: str, frame: Frame) -> None:
        """Raises jsonschema.ValidationError unless the frame is a valid request or response of a call."""
        self._validator(dialect, call, kind).validate(frame)


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    if not SCHEMAS.is_dir():
        pytest.skip(f"Deriv's schema files are not at {SCHEMAS}")
    return Schemas()

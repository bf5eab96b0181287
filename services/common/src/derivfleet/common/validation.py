"""What pydantic finds wrong, in words for the person who must mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["first_problem"]


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The key (dotted path) and text of the first thing wrong, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "missing":
        message = "is required"
    return ".".join(str(part) for part in first["loc"]) or "(all)", message

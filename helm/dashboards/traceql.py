"""TraceQL: how spans are found in the trace back end."""

from __future__ import annotations

from dataclasses import dataclass

from derivfleet.common.spans import SPANS, Attribute, SpanName

__all__ = ["CHOSEN_TRACE", "Search"]

_TRACE = '{ trace:id = "${trace}" }'
_SHOWN_OF_A_SPAN = (Attribute.CALL, Attribute.BUCKET, Attribute.CONNECTION, Attribute.STATE, Attribute.ERROR_CODE)

CHOSEN_TRACE = f"{_TRACE} | select(name, {', '.join(f'span.{attribute}' for attribute in _SHOWN_OF_A_SPAN)})"
"""Every span of the trace that the dashboard's variable names, with what tells one from the other."""


@dataclass(frozen=True, slots=True)
class Search:
    """Spans of one kind, of the chosen bots and of orders whose id contains the given text.

    ``condition`` narrows it, in TraceQL. Raises ValueError if the span has none of an attribute that is to be shown.
    """

    name: SpanName
    show: tuple[Attribute, ...]
    condition: str = ""

    def __post_init__(self) -> None:
        for attribute in (*self.show, Attribute.BOT, Attribute.ORDER_ID):
            if attribute not in SPANS[self.name].attributes:
                raise ValueError(f"{self.name} has no {attribute}")

    def __str__(self) -> str:
        conditions = [
            f'resource.service.name = "derivfleet-{SPANS[self.name].service}"',
            f'name = "{self.name}"',
            f'span.{Attribute.BOT} =~ "${{bot:pipe}}"',
            f'span.{Attribute.ORDER_ID} =~ ".*${{order}}.*"',
            *([self.condition] if self.condition else []),
        ]
        shown = ", ".join(f"span.{attribute}" for attribute in self.show)
        return f"{{ {' && '.join(conditions)} }} | select({shown})"

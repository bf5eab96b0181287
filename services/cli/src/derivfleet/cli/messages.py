"""What the services' messages say, for programs as JSON, and their times as dates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict, MessageToJson

from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["dict_of", "json_of", "utc"]


def utc(time_ns: int) -> datetime:
    """An instant as a date and time in UTC."""
    return datetime.fromtimestamp(time_ns / NS_PER_S, UTC)


def dict_of(message: Message) -> dict[str, Any]:
    """A message as plain data: every field by its name, 64-bit integers as text."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def json_of(message: Message) -> str:
    """A message as JSON, for programs."""
    return MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)

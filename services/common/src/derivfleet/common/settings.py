"""Settings of a service: one pydantic model each, read from the environment, unknown keys refused.

No library reads it: pydantic's own one costs every process a megabyte, for dotenv files and command lines.
"""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation at run time
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.validation import first_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "ServerSettings", "ServiceSettings", "load_settings", "split_address"]

T = TypeVar("T", bound="ServiceSettings")
_MAX_PORT = 65_535


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as host and port; port 0 takes a free one. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ValueError(f"must be host:port, not {text!r}")
    return host, int(port)


def _checked_address(text: str) -> str:
    split_address(text)
    return text


Address = Annotated[str, AfterValidator(_checked_address)]


class ServiceSettings(BaseModel):
    """What all services can be told. A subclass sets ``env_prefix``."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    env_prefix: ClassVar[str] = ""
    """What the names of its environment variables begin with, in capitals."""

    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str = ""
    """host:port of an OTLP/gRPC receiver for traces, or several with commas between; empty sends none."""


class ServerSettings(ServiceSettings):
    """What servers can be told besides: how they know their callers."""

    identities: Literal["file", "kubernetes"] = "file"
    """file: tokens made by ``derivfleet up``. kubernetes: service-account tokens, reviewed by the cluster."""
    tokens: Path | None = None
    """For file: the file of hashes."""
    service_accounts: str = ""
    """For kubernetes: what the names of the fleet's service accounts begin with, as ``fleet``."""


def load_settings(model: type[T], environment: Mapping[str, str] = os.environ) -> T:
    """Read a service's settings.

    Raises ConfigurationError naming the environment variable that is unknown, missing or of the wrong type.
    """
    told = {name.upper(): value for name, value in environment.items()}
    # A field with an alias is read from the variable of that name, without the prefix.
    aliases = {str(field.validation_alias) for field in model.model_fields.values() if field.validation_alias}
    known = {
        f"{model.env_prefix}{name}".upper(): name
        for name, field in model.model_fields.items()
        if not field.validation_alias
    }
    for name in told:
        if model.env_prefix and name.startswith(model.env_prefix) and name not in known:
            raise ConfigurationError(name, f"unknown setting; known are {', '.join(sorted(known))}")
    values = {field: told[name] for name, field in known.items() if name in told}
    try:
        return model.model_validate(values | {alias: told[alias] for alias in aliases if alias in told})
    except ValidationError as error:
        key, message = first_problem(error)
        name = f"{model.env_prefix}{key}" if key.partition(".")[0] in model.model_fields else key
        raise ConfigurationError(name.upper(), message) from None

"""How the simulator is started, and where its behaviour is read from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, ValidationError

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.settings import ServiceSettings
from derivfleet.common.validation import first_problem
from derivfleet.simulator.core.settings import SimulatorSettings

__all__ = ["SimulatorService", "load_simulator_settings"]


class SimulatorService(ServiceSettings):
    """How the process is started."""

    env_prefix: ClassVar[str] = "DERIVFLEET_SIMULATOR_"

    listen: str = "127.0.0.1:7800"
    """host:port of everything: REST, both WebSocket dialects, the ledger."""
    seed: str = "1"
    """Markets, ids and faults follow from it."""
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    """The one token that logs in, in either dialect."""
    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "12345"
    settings: str = ""
    """Path of a YAML file with SimulatorSettings; empty takes the defaults."""


def load_simulator_settings(path: str) -> SimulatorSettings:
    """Read the YAML file; defaults if the path is empty. Raises ConfigurationError naming the key."""
    if not path:
        return SimulatorSettings()
    import yaml  # noqa: PLC0415 - a megabyte that only a file needs

    try:
        content: object = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError("DERIVFLEET_SIMULATOR_SETTINGS", f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigurationError("DERIVFLEET_SIMULATOR_SETTINGS", f"{path} is no YAML: {problem}") from None
    try:
        settings = SimulatorSettings.model_validate({} if content is None else content)
    except ValidationError as error:
        key, message = first_problem(error)
        raise ConfigurationError(f"{path}: {key}", message) from None
    if bucket := settings.unknown_bucket():
        raise ConfigurationError(f"{path}: {bucket}", "unknown bucket")
    return settings

"""What a probe can be told."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation at run time
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from derivfleet.connection.settings import DerivSettings
from derivfleet.probe.core.bounds import Experiment

__all__ = ["ProbeSettings"]

UNASKED = tuple(experiment for experiment in Experiment if experiment is not Experiment.HOUR)


class ProbeSettings(DerivSettings):
    """The probe's environment: ``DERIVFLEET_PROBE_…``, and the account's credential without a prefix."""

    model_config = ConfigDict(populate_by_name=True)
    env_prefix: ClassVar[str] = "DERIVFLEET_PROBE_"

    account: str = "demo"
    """The account's key in the fleet file."""
    dialect: Literal["auto", "options", "legacy"] = "auto"
    login_id: str = ""
    """Which account of the token; empty takes the only demo account."""
    experiments: tuple[Experiment, ...] = UNASKED
    """Their names, with commas between."""
    hour_calls: Annotated[int, Field(ge=0, le=20_000)] = 0
    """How many calls the experiment `hour` makes; 0 takes a little more than the bucket's published hour."""
    confirmed: str = ""
    """The login id of the account whose calls may be spent. Without it, or with another, it only says what it would
    do."""
    out: Path | None = None
    """The folder for the report and the settings."""

    @field_validator("experiments", mode="before")
    @classmethod
    def _known_experiments(cls, value: object) -> object:
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if isinstance(names, list | tuple):
            for name in names:  # pyright: ignore[reportUnknownVariableType] - whatever was set
                if name not in list(Experiment):
                    raise ValueError(f"unknown experiment {name!r}; known are {', '.join(Experiment)}")
        return names  # pyright: ignore[reportUnknownVariableType] - checked above

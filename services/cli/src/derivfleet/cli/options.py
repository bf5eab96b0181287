"""Options that several commands take, each with its help once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_RUN_DIR",
    "DialectChoice",
    "DialectOption",
    "JsonOption",
    "RunDirOption",
    "SpeedOption",
]

DEFAULT_RUN_DIR = Path("build/run")


class DialectChoice(StrEnum):
    """What ``--dialect`` takes."""

    OPTIONS = "options"
    LEGACY = "legacy"
    AUTO = "auto"


RunDirOption = Annotated[Path, typer.Option(help="The folder of the run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
DialectOption = Annotated[DialectChoice, typer.Option(help="Deriv's API: auto goes by the app id.")]
SpeedOption = Annotated[float, typer.Option(min=0.1, max=1000, help="Fleet seconds a second; simulator only.")]

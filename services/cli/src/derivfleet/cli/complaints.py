"""How a command ends when it cannot do its work: one line for the person who must act, and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import redact
from derivfleet.common.service import EXIT_CONFIGURATION

__all__ = ["EXIT_FAILED", "CommandError", "OneLineGroup"]

EXIT_FAILED = 1


class CommandError(Exception):
    """A command could not do its work, and nothing in the configuration is to blame; ends in exit code 1."""


class OneLineGroup(TyperGroup):
    """Turns what a command raises into one line on standard error."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; usage errors are the library's own business.

        Exit code 2 for a ConfigurationError, 1 for a CommandError and for anything unforeseen. With
        ``DERIVFLEET_TRACEBACK`` in the environment the unforeseen keeps its traceback, for those who mend it.
        """
        try:
            return super().main(*args, **kwargs)
        except ConfigurationError as error:
            _end(f"{error.key}: {error.problem}", EXIT_CONFIGURATION)
        except CommandError as error:
            _end(str(error), EXIT_FAILED)
        except Exception as error:
            if "DERIVFLEET_TRACEBACK" in os.environ:
                raise
            line = " ".join(f"{type(error).__name__}: {error}".split())
            _end(f"unforeseen: {line} (DERIVFLEET_TRACEBACK=1 tells where)", EXIT_FAILED)


def _end(line: str, exit_code: int) -> NoReturn:
    typer.echo(redact(f"derivfleet: {line}"), err=True)
    sys.exit(exit_code)

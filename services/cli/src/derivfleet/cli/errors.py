"""How a command ends when it cannot do its work: one line for the person who must act, and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import typer
from typer._click.exceptions import (  # what typer raises has no public name
    ClickException,
    NoArgsIsHelpError,
    UsageError,
)
from typer.core import TyperGroup

from derivfleet.common.errors import EXIT_CONFIGURATION, ConfigurationError
from derivfleet.common.redaction import redact

__all__ = ["EXIT_FAILED", "CommandError", "NoAnswerError", "OneLineGroup"]

EXIT_FAILED = 1


class CommandError(Exception):
    """A command could not do its work, and nothing in the configuration is to blame; ends in exit code 1."""


class NoAnswerError(CommandError):
    """A service did not answer: it is not there, or busy."""


class OneLineGroup(TyperGroup):
    """Turns what a command raises into one line on standard error."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command and end the process.

        Exit code 2 for a ConfigurationError and for words that make no command, 1 for a CommandError and for anything
        unforeseen. With ``DERIVFLEET_TRACEBACK`` in the environment the unforeseen keeps its traceback, for those who
        mend it.
        """
        try:
            # The library would draw a box around what is wrong; a line can be read by grep too.
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}))
        except NoArgsIsHelpError as error:
            typer.echo(error.format_message())
            sys.exit(0)
        except ClickException as error:
            hint = (
                f" (`{error.ctx.command_path} --help` tells more)"
                if isinstance(error, UsageError) and error.ctx
                else ""
            )
            _end(" ".join(error.format_message().split()).removesuffix(".") + hint, EXIT_CONFIGURATION)
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

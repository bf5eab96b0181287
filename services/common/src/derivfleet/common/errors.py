"""Errors that every service ends on in the same way."""

from __future__ import annotations

__all__ = ["EXIT_CONFIGURATION", "ConfigurationError"]

EXIT_CONFIGURATION = 2


class ConfigurationError(Exception):
    """Something a person must set right before a start can work; ends the process with exit code 2.

    ``key`` names the setting, file key or variable, ``problem`` says what is wrong with it and what to do.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem

"""The token with which a client says who it is: read from its file, sent with every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OwnToken", "bearer", "read_token"]


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that says who calls."""
    return (("authorization", f"Bearer {token}"),)


def read_token(path: Path, key: str) -> str:
    """A bearer's own token; raises ConfigurationError naming ``key`` if there is none."""
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(key, f"cannot read {path}: {error.strerror}") from None
    if not token:
        raise ConfigurationError(key, f"{path} is empty")
    return token


class OwnToken:
    """A bearer's own token from a file that may be renewed, as a cluster does with projected tokens."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises ConfigurationError naming ``key`` if there is no token."""
        self._path = path
        self._key = key
        self._seen_ns = path.stat().st_mtime_ns if path.exists() else 0
        self._token = read_token(path, key)
        hide(self._token)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The gRPC metadata that says who calls, with the newest token."""
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._seen_ns:
                self._token = read_token(self._path, self._key)
                hide(self._token)
                self._seen_ns = changed_ns
        except (OSError, ConfigurationError):
            pass  # it is being replaced: the old one holds a little longer
        return bearer(self._token)

"""The tokens of a local fleet: made for every bearer, and known to the servers by a file of their hashes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.identity import Identity, Role

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TokenFile", "issue_tokens"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role
    sha256: str


class _Entries(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[_Entry]


class TokenFile:
    """Identities from a file of hashes, as ``derivfleet up`` writes it for the servers. Tokens are ``name.secret``."""

    def __init__(self, path: Path, key: str) -> None:
        """Read the file; raises ConfigurationError naming ``key`` if it cannot be read."""
        try:
            entries = _Entries.model_validate_json(path.read_text())
        except OSError as error:
            raise ConfigurationError(key, f"cannot read {path}: {error.strerror}") from None
        except ValidationError:
            raise ConfigurationError(key, f"{path} is not a token file; `derivfleet up` makes one") from None
        self._bearers = {
            entry.name: (entry.sha256, Identity(name=entry.name, role=entry.role)) for entry in entries.tokens
        }

    async def identify(self, token: str) -> Identity | None:
        known, identity = self._bearers.get(token.partition(".")[0], ("", None))
        digest = hashlib.sha256(token.encode()).hexdigest()
        return identity if hmac.compare_digest(known, digest) else None


def issue_tokens(bearers: dict[str, Role], folder: Path) -> Path:
    """Make a fresh token for each bearer: ``folder/<name>.token`` for it, ``folder/tokens.json`` (hashes) for servers.

    Only the owner can read the files. Returns the path of the hashes.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    entries: list[_Entry] = []
    for name, role in bearers.items():
        token = f"{name}.{secrets.token_urlsafe(24)}"
        _write_private(folder / f"{name}.token", token)
        entries.append(_Entry(name=name, role=role, sha256=hashlib.sha256(token.encode()).hexdigest()))
    path = folder / "tokens.json"
    _write_private(path, _Entries(tokens=entries).model_dump_json(indent=1))
    return path


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)

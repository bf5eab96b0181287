"""Identities in a Kubernetes cluster: the cluster itself says whose service-account token it is.

A pod's token is projected for the audience ``derivfleet-gateway`` and renewed by the kubelet. TokenReview tells which
service account it belongs to, so no pod can trade as another bot. Answers are kept for a while, by the token's hash.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import get_logger
from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Identity, Role

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from derivfleet.common.clock import Clock

__all__ = ["AUDIENCE", "Accounts", "TokenReview", "accounts_of", "reviewing"]

_log = get_logger()

AUDIENCE = "derivfleet-gateway"
KEPT_S = 60.0
"""A revoked token (its pod or account deleted) is refused at the latest after this; wall seconds."""
KEPT_AT_MOST = 1000
REVIEW_TIMEOUT_S = 5.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Accounts:
    """Which service accounts are who: ``<release>-bot-<name>``, ``<release>-metrics``, ``<release>-operator``."""

    namespace: str
    release: str

    def identity_of(self, username: str) -> Identity | None:
        """The bearer behind ``system:serviceaccount:<namespace>:<account>``; None if it has no part in this fleet."""
        prefix = f"system:serviceaccount:{self.namespace}:{self.release}-"
        if not username.startswith(prefix):
            return None
        account = username.removeprefix(prefix)
        if account.startswith("bot-"):
            return Identity(name=account.removeprefix("bot-"), role=Role.BOT)
        return {
            "metrics": Identity(name="metrics", role=Role.OBSERVER),
            "operator": Identity(name="operator", role=Role.OPERATOR),
        }.get(account)


class TokenReview:
    """Asks the API server whose token it is. ``authentication`` is an AuthenticationV1Api of ``kubernetes.aio``."""

    def __init__(self, authentication: Any, accounts: Accounts, clock: Clock) -> None:
        self._authentication = authentication
        self._accounts = accounts
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[int, Identity | None]] = OrderedDict()

    async def identify(self, token: str) -> Identity | None:
        """The bearer of a token; None if nobody. Raises IdentitiesUnavailableError if the cluster cannot be asked."""
        key = hashlib.sha256(token.encode()).digest()
        now_ns = self._clock.now_ns()
        kept = self._kept.get(key)
        if kept is not None and now_ns < kept[0]:
            return kept[1]
        identity = await self._review(token)
        self._kept[key] = (now_ns + round(self._clock.fleet_s(KEPT_S) * 1e9), identity)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_AT_MOST:
            self._kept.popitem(last=False)
        return identity

    async def _review(self, token: str) -> Identity | None:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            answer = await self._authentication.create_token_review(body, _request_timeout=REVIEW_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - as said below
            # Whatever the client raises, nobody is let in. Its text may hold the token, so only its kind is told.
            _log.warning("the cluster does not review tokens now", problem=type(error).__name__)
            raise IdentitiesUnavailableError from None
        status = answer.status
        if not status.authenticated or AUDIENCE not in (status.audiences or ()):
            return None
        return self._accounts.identity_of(status.user.username)


def accounts_of(release: str, key: str, namespace_file: Path = NAMESPACE_FILE) -> Accounts:
    """The fleet's accounts in the namespace of this pod. Raises ConfigurationError naming ``key`` outside a cluster."""
    try:
        return Accounts(namespace_file.read_text().strip(), release)
    except OSError:
        raise ConfigurationError(key, "is kubernetes, but this is no pod of a cluster: set it to file") from None


@asynccontextmanager
async def reviewing(accounts: Accounts, clock: Clock, key: str) -> AsyncGenerator[TokenReview, None]:
    """A TokenReview against the cluster that this process runs in.

    Raises ConfigurationError naming ``key`` outside a cluster.
    """
    # Its import takes a second, which a local run should not pay.
    from kubernetes.aio import client, config  # noqa: PLC0415

    try:
        config.load_incluster_config()  # pyright: ignore[reportUnknownMemberType] - one of its arguments has no type
    except config.ConfigException as error:
        raise ConfigurationError(key, f"is kubernetes, but this is no pod of a cluster: {error}") from None
    async with client.ApiClient() as api:
        yield TokenReview(client.AuthenticationV1Api(api), accounts, clock)

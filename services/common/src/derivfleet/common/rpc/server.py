"""A gRPC server as every service runs it: identity checked before any handler, health, reflection."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import get_logger
from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Role, set_caller
from derivfleet.common.rpc.malformed_requests import Readable
from derivfleet.common.rpc.status import Problem, abort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from derivfleet.common.rpc.identity import Identities, Identity

__all__ = ["Server"]

_log = get_logger()
_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
_Q = TypeVar("_Q")
_A = TypeVar("_A")
MOST_AT_ONCE = 1_200
"""Calls and streams of one connection that the server takes at once; the others wait in the client, so that one that
floods fills its own memory. Each costs the server about 20 kB. A thousand streams may share a connection."""
MOST_PENDING = 2_000
"""Calls of a lane that have arrived and not begun. Above that gRPC throws some away, whoever made them."""


UNCHECKED = Problem(
    grpc.StatusCode.UNAVAILABLE, "TOKEN_UNCHECKED", "tokens cannot be checked now: try again", retry_after_s=1.0
)


class _Gate(grpc.aio.ServerInterceptor):
    """Lets a call in if its bearer token is known and its role may use the service."""

    def __init__(
        self, identities: Identities | None, roles: Mapping[str, frozenset[Role]], open_services: frozenset[str]
    ) -> None:
        self._identities = identities
        self._roles = roles
        self._open = (*_OPEN, *(f"/{service}/" for service in open_services))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Q, _A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Q, _A] | None:
        method = handler_call_details.method
        if self._identities is None or method.startswith(self._open):
            return await continuation(handler_call_details)
        bearer = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        token = bearer.removeprefix("Bearer ") if isinstance(bearer, str) else ""
        try:
            identity = await self._identities.identify(token) if token else None
        except IdentitiesUnavailableError:
            return _refuse(await continuation(handler_call_details), UNCHECKED)
        problem = self._judge(identity, method)
        if problem is not None:
            _log.warning("call refused", method=method, reason=problem.reason, bearer=identity and identity.name)
            return _refuse(await continuation(handler_call_details), problem)
        if identity is not None:
            set_caller(identity)
        return await continuation(handler_call_details)

    def _judge(self, identity: Identity | None, method: str) -> Problem | None:
        if identity is None:
            return Problem(
                grpc.StatusCode.UNAUTHENTICATED,
                "TOKEN_UNKNOWN",
                "no valid token: `derivfleet up` makes those of a local fleet, a cluster those of pods and operators",
            )
        service = method.strip("/").partition("/")[0]
        if identity.role not in self._roles.get(service, frozenset(Role)):
            return Problem(
                grpc.StatusCode.PERMISSION_DENIED,
                "ROLE_NOT_ALLOWED",
                f"{identity.name} has the role {identity.role}, which may not use {service}",
            )
        return None


def _refuse(handler: grpc.RpcMethodHandler[_Q, _A] | None, problem: Problem) -> grpc.RpcMethodHandler[_Q, _A]:
    """A handler of the same shape as the asked one that only says no."""

    async def refuse(_request: _Q, context: grpc.aio.ServicerContext[_Q, _A]) -> _A:
        return await abort(context, problem)

    async def refuse_stream(_request: _Q, context: grpc.aio.ServicerContext[_Q, _A]) -> AsyncIterator[_A]:
        yield await abort(context, problem)

    make = grpc.unary_unary_rpc_method_handler
    behaviour: Any = refuse  # the typed stubs know synchronous behaviours only
    if handler is not None and handler.response_streaming:
        make, behaviour = grpc.unary_stream_rpc_method_handler, refuse_stream
    return make(behaviour)


class _Methods:
    """All lanes of a server as servicers are added to them.

    Generated code also registers each method with gRPC's core. The asyncio server then waits for the next call of every
    registered method at once, and sets that wait up anew for each call: fifteen methods add a fifth to a bare call.
    Found by its name, a method costs a look into a dictionary.
    """

    def __init__(self, lanes: Sequence[grpc.aio.Server]) -> None:
        self._lanes = lanes

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        readable = tuple(map(Readable, generic_rpc_handlers))
        for lane in self._lanes:
            lane.add_generic_rpc_handlers(readable)

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Nothing: the same methods come as generic ones."""


class Server:
    """One listening gRPC server.

    ``register`` adds servicers to it; ``roles`` says which roles may use which full service name (all, if absent);
    ``identities`` None lets everybody in; ``open_services`` are full names of services that ask for no token (for a
    receiver that takes spans from anywhere, beside a service that does ask).

    ``lanes`` is how many queues the calls arrive in. gRPC begins the calls of a server one by one in the order of their
    arrival, so that whoever calls after ten thousand calls of somebody else waits for them all. The kernel gives each
    connection to one of the lanes, and the lanes take turns.
    """

    def __init__(
        self,
        address: str,
        key: str,
        identities: Identities | None,
        roles: Mapping[str, frozenset[Role]] | None = None,
        max_message_bytes: int = 16 * 1024 * 1024,
        open_services: frozenset[str] = frozenset(),
        lanes: int = 1,
    ) -> None:
        self._address = address
        self._key = key
        self._names: list[str] = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
        self._health = HealthServicer()
        gate = _Gate(identities, roles or {}, open_services)
        options = [
            ("grpc.so_reuseport", int(lanes > 1)),
            ("grpc.max_concurrent_streams", MOST_AT_ONCE),
            # Else it counts streams that have ended and not been freed, and refuses the next of who keeps to the limit.
            ("grpc.http.overload_protection", 0),
            ("grpc.server.max_pending_requests", MOST_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", 2 * MOST_PENDING),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            # A client that vanished without a word must not keep its streams.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        self._lanes = [grpc.aio.server(interceptors=[gate], options=options) for _ in range(lanes)]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc_server)  # pyright: ignore[reportUnknownMemberType] - untyped in its stubs

    @property
    def grpc_server(self) -> grpc.aio.Server:
        """To add servicers to, before :meth:`start`."""
        return cast("grpc.aio.Server", _Methods(self._lanes))

    def announce(self, *service_names: str) -> None:
        """Make services visible to reflection."""
        self._names.extend(service_names)

    async def start(self) -> int:
        """Listen; returns the port. Raises ConfigurationError naming the address's key if it is in use."""
        servicer = ReflectionServicer(self._names)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, self.grpc_server)  # pyright: ignore[reportUnknownMemberType] - untyped in its stubs
        host, _, asked = self._address.rpartition(":")
        try:
            if len(self._lanes) > 1:
                _check_free(host, int(asked))
            port = self._lanes[0].add_insecure_port(self._address)
            for lane in self._lanes[1:]:
                lane.add_insecure_port(f"{host}:{port}")
        except (RuntimeError, ValueError, OSError):
            raise ConfigurationError(self._key, f"cannot listen on {self._address}: is the port in use?") from None
        for lane in self._lanes:
            await lane.start()
        return port

    async def set_serving(self, serving: bool) -> None:
        """Say by the health service whether calls are welcome."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", state)

    async def stop(self, grace_wall_s: float) -> None:
        """Refuse new calls, let running ones finish for a while, then end them."""
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(*(lane.stop(grace_wall_s) for lane in self._lanes))


def _check_free(host: str, port: int) -> None:
    """Raise OSError if somebody listens there: lanes share their port, with each other and with every stranger."""
    passive = socket.AI_PASSIVE
    for family, kind, protocol, _, where in socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=passive
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)

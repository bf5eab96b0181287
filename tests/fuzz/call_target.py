"""gRPC requests at a gateway's process: every method, with fields that are right, odd, or not even fields."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from derivfleet.cli.clients import is_serving
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.own_token import bearer, read_token
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import control_pb2, trading_pb2
from tests.chaos.processes import FleetProcesses
from tests.chaos.run_setup import prepared, until
from tests.fuzz.mutators import broken_bytes
from tests.fuzz.targets import WrongError

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from google.protobuf.descriptor import MethodDescriptor

__all__ = ["CallTarget"]

DEADLINE_S = 0.25
HANGS_AFTER_S = 10.0
STREAMED = 2
"""Messages of a stream that are read before it is left."""
SPEED = 10.0
WRONG = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
"""What a server answers when a handler raised what it should not."""
_OF_CALLERS = ("Failed sending error status from server",)
"""The caller had gone when it was told no."""
TEXTS = (
    "demo", "demo", "demo", "", "other", "R_100", "1HZ100V", "frxEURUSD", "o-1", "o-2", "o-3", "one", "CALL",
    "DIGITOVER", "DIGITEVEN", "t", "s", "m", "h", "4", "+0.1", "0.35", "1", "1.005", "-1", "1e5", "1e999999",
    "NaN", "sNaN", "٣",
    "\x00", "é" * 40, "x" * 5000, "a b", "../x", "' OR 1=1 --", "12", "9" * 18, "9" * 30, "R_100\n", "%s",
    "\u202e", "🙂" * 70,
)  # fmt: skip
NUMBERS = (0, 1, 1, 2, 5, 60, 100, 1000, 5000, 5001, -1, 2**31 - 1, -(2**31), 9_999_999_999, 2**63 - 1, -(2**63))
TRACES = (
    "",
    "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    "00-x",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
    "é",
    "-" * 300,
)


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    descriptor: MethodDescriptor
    is_streaming: bool
    is_control: bool


class CallTarget:
    """A gateway and a simulator as processes of their own. To be entered with ``async with``."""

    name = "calls"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._methods = [
            _Method(
                f"/{service.full_name}/{method.name}",
                method,
                method.server_streaming,
                service.name == "ControlService",
            )
            for module in (trading_pb2, control_pb2)
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        ]
        self._channel: Any = None  # of grpc.aio; its calls with plain bytes have no types
        self._tokens: list[tuple[str, str]] = []
        self.processes: FleetProcesses | None = None

    async def __aenter__(self) -> Self:
        parameters = {"side": "over", "barrier": 4, "window_ticks": 5}
        bot = {"name": "one", "strategy": "digit_frequency", "symbols": ["R_100", "1HZ100V"], "parameters": parameters}
        fleet = Fleet.model_validate({"fleet": "fuzz", "accounts": [{"key": "demo"}], "bots": [bot]})
        plan = prepared(self._folder, fleet, Dialect.OPTIONS, SPEED)
        processes = self.processes = FleetProcesses(plan)
        self._stack.push_async_callback(processes.stop)
        try:
            await processes.start("simulator")
            await processes.start("gateway", {"DERIVFLEET_GATEWAY_OTLP_ENDPOINT": ""})
            await until(lambda: is_serving(plan.ports.gateway))
        except BaseException:
            await self._stack.aclose()
            raise
        self._channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(plan.ports.gateway))
        self._tokens = [bearer(read_token(plan.run_dir.token(name), "token"))[0] for name in ("one", "operator")]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def gateway(self) -> int | None:
        """The gateway's process id, while it lives."""
        return None if self.processes is None else self.processes.pid("gateway")

    def log_of_errors(self) -> list[str]:
        """What is called an error in the gateway's log, but for gRPC's own words about callers: see ``_OF_CALLERS``."""
        if self.processes is None:
            return []
        lines = self.processes.plan.run_dir.log("gateway").read_text(errors="replace").splitlines()
        errors = [line for line in lines if '"level": "error"' in line or '"level": "critical"' in line]
        return [line[:2000] for line in errors if not any(word in line for word in _OF_CALLERS)]

    def make(self, chance: Random) -> bytes:
        """A method's number, a byte that chooses the head of the call, and the request."""
        number = chance.randrange(len(self._methods))
        message = GetMessageClass(self._methods[number].descriptor.input_type)()
        self._fill(chance, message, message.DESCRIPTOR)
        body = message.SerializeToString()
        if chance.random() < 0.1:
            body = broken_bytes(chance, body)
        return bytes((number, chance.randrange(256))) + body

    async def throw(self, case: bytes) -> None:
        """Raises WrongError if the answer is none that a caller should ever see."""
        if len(case) < 2:
            return
        method = self._methods[case[0] % len(self._methods)]
        head, body = case[1], case[2:]
        metadata: list[tuple[str, str]] = []
        if head % 32:
            metadata.append(self._tokens[method.is_control != (head % 32 == 1)])
        trace = TRACES[head // 32 % len(TRACES)]
        if trace.isascii() and trace:
            metadata.append(("traceparent", trace))
        try:
            if method.is_streaming:
                call = self._channel.unary_stream(method.path)(body, metadata=metadata, timeout=DEADLINE_S)
                await self._read_a_little(call)
            else:
                await self._channel.unary_unary(method.path)(body, metadata=metadata, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in WRONG:
                raise WrongError(f"{method.path}: {error.code().name}: {error.details()}") from None

    async def is_alive(self) -> bool:
        """Whether the gateway answers as it should, after all that."""
        status = self._channel.unary_unary("/derivfleet.v1.ControlService/GetStatus")
        try:
            await status(b"", metadata=[self._tokens[1]], timeout=HANGS_AFTER_S)
        except grpc.aio.AioRpcError:
            return False
        return True

    @staticmethod
    async def _read_a_little(call: Any) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S / 5):
                for _ in range(STREAMED):
                    await call.read()
        except TimeoutError:
            pass  # a stream may have nothing to tell
        finally:
            call.cancel()

    def _fill(self, chance: Random, message: Any, descriptor: Any) -> None:
        for field in descriptor.fields:
            if chance.random() < 0.1:
                continue
            if field.message_type is not None:
                self._fill(chance, getattr(message, field.name), field.message_type)
            elif field.is_repeated:
                getattr(message, field.name).extend(
                    self._value(chance, field) for _ in range(chance.choice((0, 1, 2, 60)))
                )
            else:
                setattr(message, field.name, self._value(chance, field))

    @staticmethod
    def _value(chance: Random, field: FieldDescriptor) -> Any:
        if field.type == FieldDescriptor.TYPE_STRING:
            usual = _USUAL.get(field.name)
            return chance.choice(usual) if usual and chance.random() < 0.8 else chance.choice(TEXTS)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return chance.random() < 0.5
        number = chance.choice(NUMBERS)
        return max(-(2**31), min(2**31 - 1, number)) if field.type != FieldDescriptor.TYPE_INT64 else number


_USUAL = {
    "account": ("demo", ""),
    "symbol": ("R_100", "1HZ100V"),
    "symbols": ("R_100", "1HZ100V", "R_50"),
    "order_id": ("o-1", "o-2", "o-3", "o-4", "o-5"),
    "replica": ("r",),
    "contract_type": ("CALL", "DIGITOVER"),
    "stake": ("0.35", "1"),
    "duration_unit": ("t",),
    "barrier": ("", "4"),
    "page_token": ("", "12"),
    "bot": ("", "one"),
}

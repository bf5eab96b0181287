"""Bots as forks of one process: they start at once, and share the memory of what all of them load."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

from derivfleet.cli.run.program import start_program

if TYPE_CHECKING:
    from derivfleet.cli.run.program import Program

__all__ = ["ForkServer", "ForkedProcess"]

STOP_TIMEOUT_S = 10.0
"""Wall seconds from the end of its input to SIGKILL."""


class ForkedProcess:
    """A fork, as asyncio shows a process that it started itself."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._returncode: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._returncode.result() if self._returncode.done() else None

    async def wait(self) -> int:
        """Its return code, once it has ended."""
        return await asyncio.shield(self._returncode)

    def end(self, returncode: int) -> None:
        """It has ended."""
        if not self._returncode.done():
            self._returncode.set_result(returncode)


class ForkServer:
    """The process that forks, which is the bots' own module. It is started with the first fork, and again if it died.

    The kernel kills its forks when it dies.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._server: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._started: asyncio.Future[ForkedProcess] | None = None
        self._forks: dict[int, ForkedProcess] = {}

    @property
    def pid(self) -> int | None:
        """None if it does not run."""
        return None if self._server is None or self._server.returncode is not None else self._server.pid

    async def start(self, program: Program) -> ForkedProcess:
        """A fork with the program's environment and log; its arguments are the server's. Raises OSError if it dies."""
        async with self._one_at_a_time:
            stdin = await self._stdin()
            program.log.parent.mkdir(parents=True, exist_ok=True)
            job = {"name": program.name, "environment": dict(program.environment), "log": str(program.log.resolve())}
            self._started = asyncio.get_running_loop().create_future()
            try:
                stdin.write(json.dumps(job).encode() + b"\n")
                await stdin.drain()
                return await self._started
            finally:
                self._started = None

    async def stop(self) -> None:
        """End it. Its forks should have ended before: those that are left are killed with it."""
        if self._server is None or self._server.stdin is None or self._reader is None:
            return
        self._server.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._server.wait()
        except TimeoutError:
            self._server.kill()
        await self._reader

    async def _stdin(self) -> asyncio.StreamWriter:
        """Where jobs go; starts the server if it does not run."""
        if self.pid is None:
            self._server = await start_program(self._program, hears=True, speaks=True)
            self._reader = asyncio.create_task(self._read(self._server))
        if self._server is None or self._server.stdin is None:
            raise OSError("the fork server has no input")
        return self._server.stdin

    async def _read(self, server: asyncio.subprocess.Process) -> None:
        """Hear what becomes of the forks, until the server ends."""
        if server.stdout is not None:
            async for line in server.stdout:
                news = json.loads(line)
                if "exit_code" in news:
                    self._forks.pop(news["pid"]).end(news["exit_code"])
                    continue
                self._forks[news["pid"]] = fork = ForkedProcess(news["pid"])
                if self._started is not None:
                    self._started.set_result(fork)
        await server.wait()
        if self._started is not None and not self._started.done():
            self._started.set_exception(ConnectionResetError("the fork server has ended"))
        for fork in self._forks.values():
            fork.end(-signal.SIGKILL)
        self._forks.clear()

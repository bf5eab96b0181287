"""``python -m derivfleet.bot.fork_server``: bots as forks of one process that has loaded all that a bot needs.

Bots that are started one by one load the same code again and again. A fork has it at once, which spares a second of
processor time. It shares that memory with the others until it writes there, and so needs half of its own.

Standard input brings a line of JSON for each bot, with ``name``, ``environment`` and ``log`` (a path). Standard output
tells ``name`` and ``pid`` once it is started, then ``pid`` and ``exit_code`` once it has ended. The server ends with
its input. Nothing else is done here, so that there is nothing to fail: no thread, no socket, no secret.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from derivfleet.bot.__main__ import main as run_bot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

__all__ = ["Job", "main"]

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # <linux/prctl.h>
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Job:
    """A bot to be started. Its output goes to ``log``, appended."""

    name: str
    environment: Mapping[str, str]
    log: str


class _Server:
    """Reads jobs and forks; tells what becomes of the forks."""

    def __init__(self, jobs: int, news: int) -> None:
        """``jobs`` and ``news`` are file descriptors."""
        self._jobs = jobs
        self._news = news
        self._bots: set[int] = set()
        # A child that ends wakes the server up.
        self._wakes, self._woken = socket.socketpair()
        for end in (self._wakes, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _heard)
        signal.set_wakeup_fd(self._woken.fileno())

    def run(self) -> Job | None:
        """Serve until the input ends, which gives None. It gives the job too: that is in a fork, which must do it."""
        unread = b""
        while True:
            ready, _, _ = select.select((self._jobs, self._wakes), (), ())
            if self._wakes in ready:
                self._wakes.recv(_CHUNK)
                self._reap()
            if self._jobs in ready:
                chunk = os.read(self._jobs, _CHUNK)
                if not chunk:
                    return None
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    job = Job(**json.loads(line))
                    if self._fork(job):
                        return job

    def _fork(self, job: Job) -> bool:
        """Whether this is the fork."""
        server = os.getpid()
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._wakes.close()
            self._woken.close()
            _die_with(server)
            return True
        # A group of its own: signals for it reach what it may have started too.
        with suppress(ProcessLookupError):
            os.setpgid(pid, pid)
        self._bots.add(pid)
        self._tell(name=job.name, pid=pid)
        return False

    def _reap(self) -> None:
        for pid in tuple(self._bots):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._bots.remove(pid)
                self._tell(pid=pid, exit_code=os.waitstatus_to_exitcode(status))

    def _tell(self, **news: str | int) -> None:
        os.write(self._news, json.dumps(news).encode() + b"\n")


def _heard(_number: int, _frame: FrameType | None) -> None:
    """A signal that has a handler is written to the wake-up descriptor; there is nothing else to do."""


def _die_with(server: int) -> None:
    """Let the kernel kill this process when the server dies, as it kills the server when the supervisor does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before that was heard.
    if os.getppid() != server:
        sys.exit(1)


def _become(job: Job) -> None:
    """Take on the environment, the output and the name of a bot's process."""
    os.environ.clear()
    os.environ.update(job.environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(job.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    # The command line is the server's, so this is what tells one bot from another in `top`.
    ctypes.CDLL(None).prctl(PR_SET_NAME, job.name.encode())


def main() -> int:
    """Serve; in a fork, run its bot. Returns the exit code of the process."""
    # What a bot imports only when it has a receiver of spans, and here they all have.
    import_module("derivfleet.common.otlp")
    # What is here now stays to the end. Looked through for garbage, it would be written to, and shared no more.
    gc.collect()
    gc.freeze()
    job = _Server(sys.stdin.fileno(), sys.stdout.fileno()).run()
    if job is None:
        return 0
    _become(job)
    return run_bot()


if __name__ == "__main__":
    raise SystemExit(main())

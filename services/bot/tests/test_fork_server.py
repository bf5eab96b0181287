"""The process that forks bots, and its forks, as a supervisor sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is used on Linux alone")

TIMEOUT_S = 60.0


class Server:
    """A server, and what it tells."""

    def __init__(self, log: Path) -> None:
        self.log = log
        words = [sys.executable, "-m", "derivfleet.bot.fork_server"]
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def fork(self, name: str, **environment: str) -> int:
        """Have a bot forked; its process id."""
        assert self.process.stdin is not None
        job = {"name": name, "environment": environment, "log": str(self.log)}
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        news = self.heard()
        assert news["name"] == name
        return int(news["pid"])

    def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        news: dict[str, Any] = json.loads(self.process.stdout.readline())
        return news


@pytest.fixture
def server(tmp_path: Path) -> Generator[Server, None, None]:
    one = Server(tmp_path / "bot.log")
    yield one
    one.process.kill()
    one.process.wait()
    for pipe in (one.process.stdin, one.process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.fixture
def bot(tmp_path: Path) -> dict[str, str]:
    """The environment of a bot whose gateway is not there."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("bots: [{name: over-4, strategy: digit_frequency, symbols: [R_100]}]")
    token = tmp_path / "token"
    token.write_text("over-4.secret")
    told = {"NAME": "over-4", "FLEET": str(fleet), "TOKEN_FILE": str(token), "GATEWAY": "127.0.0.1:1"}
    return {f"DERIVFLEET_BOT_{name}": value for name, value in told.items()}


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_fork_is_a_bot_that_logs_and_ends_in_order(server: Server, bot: dict[str, str]) -> None:
    pid = server.fork("over-4", **bot)
    eventually(lambda: server.log.exists() and "gateway not there yet" in server.log.read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "over-4\n"
    assert os.getpgid(pid) == pid
    os.killpg(pid, signal.SIGTERM)
    assert server.heard() == {"pid": pid, "exit_code": 0}
    assert "bot ended" in server.log.read_text()


def test_what_is_wrong_with_its_settings_is_its_own_last_line(server: Server) -> None:
    pid = server.fork("nobody")
    assert server.heard() == {"pid": pid, "exit_code": 2}
    assert server.log.read_text().startswith("bot: DERIVFLEET_BOT_")


def test_one_that_is_killed_takes_nobody_with_it(server: Server, bot: dict[str, str]) -> None:
    killed, other = server.fork("over-4", **bot), server.fork("over-4", **bot)
    os.kill(killed, signal.SIGKILL)
    assert server.heard() == {"pid": killed, "exit_code": -9}
    assert is_there(other)
    assert is_there(server.fork("over-4", **bot))


def test_a_fork_knows_nothing_of_another_ones_environment(server: Server, bot: dict[str, str]) -> None:
    server.fork("over-4", **bot, DERIVFLEET_BOT_LOG_LEVEL="debug")
    pid = server.fork("over-4", **{**bot, "DERIVFLEET_BOT_NAME": "over-5"})
    assert server.heard() == {"pid": pid, "exit_code": 2}
    assert "there is no bot 'over-5'" in server.log.read_text()


@pytest.mark.parametrize("ends", ["killed", "without input"])
def test_no_bot_outlives_the_server(server: Server, bot: dict[str, str], ends: str) -> None:
    pids = [server.fork("over-4", **bot) for _ in range(2)]
    assert all(map(is_there, pids))
    if ends == "killed":
        server.process.kill()
    else:
        assert server.process.stdin is not None
        server.process.stdin.close()
    assert server.process.wait(TIMEOUT_S) == (0 if ends == "without input" else -9)
    eventually(lambda: not any(map(is_there, pids)))


def test_forks_share_what_is_loaded(server: Server, bot: dict[str, str]) -> None:
    pids = [server.fork("over-4", **bot) for _ in range(4)]
    eventually(lambda: server.log.exists() and server.log.read_text().count("gateway not there yet") >= len(pids))
    for pid in pids:
        figures = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        resident_kb, shared_out_kb = (int(figures[name].split()[0]) for name in ("Rss", "Pss"))
        assert shared_out_kb < 0.6 * resident_kb

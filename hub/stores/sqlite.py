"""SQLite: the default store. WAL, `synchronous=FULL`, one writer, readers on connections of their own.

Schema and migrations go through sqlite-utils; the hot path uses `executemany` on a plain connection.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from hub.ports import Conflict, Tx
from hub.stores.schema import Table
from hub.stores.sqltx import SCAN_ROWS, SqlTx, quoted
from hub.stores.turns import Turns
from wire.errors import StoreFault

BUSY_MS = 10_000
"""Longest wait for another process (a command beside the hub) to finish its transaction, ms."""

_ASK_MS = 20  # pause before asking again for what another program holds

MIGRATION_SET = "doorchime"

MIGRATION_NAMES = ("0001_first", "0002_foreign", "0003_enrolment", "0004_seal_and_boots")
"""In order. PostgreSQL has the same."""

MIGRATIONS = Migrations(MIGRATION_SET)
"""Forward only; each runs the file of its name in `sql/sqlite`. A released file never changes."""


def _statements(name: str) -> list[str]:
    text = files("hub.stores").joinpath(f"sql/sqlite/{name}.sql").read_text("utf-8")
    return [part.strip() for part in text.split(";") if part.strip()]


def _add(name: str) -> None:
    def apply(db: Database) -> None:
        for statement in _statements(name):
            db.conn.execute(statement)

    apply.__name__ = name
    MIGRATIONS(name=name)(apply)


for _name in MIGRATION_NAMES:
    _add(_name)


class SqliteStore:
    """See `hub.ports.Store`. `path` is made on first use, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turns: Turns[sqlite3.Connection] = Turns(self._connect, sqlite3.Connection.close)

    def migrate(self) -> list[str]:
        """Bring the schema up to date; a copy of the database is kept beside it before each change."""
        with self._turns.writer() as connection, _faults():
            db = Database(connection)
            known = {migration.name for migration in MIGRATIONS.pending(Database(memory=True))}
            newer = [one.name for one in MIGRATIONS.applied(db) if one.name not in known]
            if newer:
                raise StoreFault(
                    f"{self.path}: its schema ({newer[-1]}) is newer than this program; "
                    "install the newer version, or restore the backup made before it"
                )
            pending = [migration.name for migration in MIGRATIONS.pending(db)]
            if not pending:
                return []
            if db.table_names():
                self._keep_copy(connection, pending[0])
            connection.execute("BEGIN IMMEDIATE")  # another process may be doing the same
            try:
                pending = [migration.name for migration in MIGRATIONS.pending(db)]
                MIGRATIONS.apply(db)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return pending

    def _keep_copy(self, connection: sqlite3.Connection, migration: str) -> None:
        target = self.path.with_name(f"{self.path.name}.before-{migration}")
        target.unlink(missing_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """One durable transaction. After a fault of the store the next one gets a connection of its own."""
        with self._turns.writer() as connection:
            try:
                with _faults():
                    connection.execute("BEGIN IMMEDIATE")
                yield SqliteTx(connection)
                with _faults():
                    connection.execute("COMMIT")
            except StoreFault:
                with suppress(sqlite3.Error):  # a full disk has rolled back already, a failing one cannot
                    connection.execute("ROLLBACK")
                self._turns.drop_writer()
                raise
            except BaseException:
                with _faults():
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A snapshot."""
        with self._turns.reader() as connection:
            with _faults():
                connection.execute("BEGIN")
            try:
                yield SqliteTx(connection)
            finally:
                if connection.in_transaction:  # a fault of the disk has ended it already
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Release everything; idempotent."""
        self._turns.close()

    def _connect(self, writing: bool) -> sqlite3.Connection:
        try:
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=512
            )
        except (OSError, sqlite3.Error) as exc:
            raise StoreFault(f"{self.path}: cannot be opened: {exc}") from exc
        with _faults():
            _to_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")  # NORMAL loses the last commits on power cut
            connection.execute("PRAGMA foreign_keys = ON")
            if not writing:
                connection.execute("PRAGMA query_only = ON")
        return connection


def _to_wal(connection: sqlite3.Connection) -> None:
    """Two programs that open a fresh file together: SQLite tells one of them "locked" at once, whatever its timeout,
    because both hold a shared lock and want it exclusive. So ask again, at most for BUSY_MS."""
    for again in range(BUSY_MS // _ASK_MS, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if not again:
                raise
            threading.Event().wait(_ASK_MS / 1000)  # another process cannot signal us


class SqliteTx(SqlTx):
    """See `hub.ports.Tx`. Lists travel as one JSON argument: a statement's text never depends on their length."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Run; all rows."""
        with _faults():
            return self._connection.execute(sql, args).fetchall()

    def change(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run; rows touched."""
        with _faults():
            return self._connection.execute(sql, args).rowcount

    def stream(self, sql: str, args: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Run; rows in portions."""
        with _faults():
            cursor = self._connection.execute(sql, args)
            cursor.arraysize = SCAN_ROWS
            while found := cursor.fetchmany():
                yield from found

    def selected(self, table: Table) -> str:
        """Every column, as it is."""
        return ", ".join(f't."{name}"' for name in table.names) if table.name != "push" else quoted(*table.names)

    def one_of(self, table: Table, name: str, values: Sequence[Any]) -> tuple[str, Any]:
        """Membership in a JSON array."""
        return f'"{name}" IN (SELECT value FROM json_each(?))', json.dumps(values)

    def keys(self, table: Table, names: Sequence[str], keys: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """Keys from a JSON array; a column in which all keys agree, as the tenant, travels once."""
        places = range(len(names))
        shared = {place for place in places if len({key[place] for key in keys}) == 1}
        varying = [place for place in places if place not in shared]
        if len(varying) == 1:  # plain values are read faster than pieces of an inner array
            (only,) = varying
            parts, listed = {only: "value"}, [key[only] for key in keys]
        else:
            parts = {place: f"value ->> {at}" for at, place in enumerate(varying)}
            listed = [[key[place] for place in varying] for key in keys] if varying else [0]
        columns = ", ".join(f"{parts.get(place, '?')} AS k{place}" for place in places)
        return f"(SELECT {columns} FROM json_each(?)) k", [*(keys[0][p] for p in sorted(shared)), json.dumps(listed)]

    def write_many(self, table: Table, rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
        """`executemany`: measured faster than any single statement."""
        marks = ", ".join("?" for _ in table.names)
        with _faults():
            self._connection.executemany(
                f'INSERT INTO "{table.name}" ({quoted(*table.names)}) VALUES ({marks}) {conflict}', rows
            )

    def _order(self, table: Table, where: Any, name: str) -> str:
        # without statistics SQLite would rather walk the primary key than sort what an index filters
        only_key = set(where) <= set(table.key)
        return f'"{name}"' if only_key else f'+"{name}"'


@contextmanager
def _faults() -> Iterator[None]:
    """A refused unique index becomes Conflict; what SQLite cannot do, StoreFault; a mistake of ours stays."""
    try:
        yield
    except sqlite3.IntegrityError as exc:
        if "UNIQUE" in str(exc):
            raise Conflict(str(exc)) from exc
        raise
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as exc:  # disk full, locked for too long, I/O error, not a database
        raise StoreFault(f"SQLite: {exc}") from exc

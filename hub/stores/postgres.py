"""PostgreSQL, for chains with one already. Set-based: lists travel as arrays, one statement whatever their length."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql as composed

from hub.ports import Conflict, Tx
from hub.stores.rows import column
from hub.stores.schema import Kind, Table
from hub.stores.sqltx import SCAN_ROWS, SqlTx, quoted
from hub.stores.turns import Turns
from wire.errors import StoreFault

MIGRATIONS = ("0001_first", "0002_foreign", "0003_enrolment", "0004_seal_and_boots")
"""Forward only; each is the file of its name in `sql/postgres`. A released file never changes."""

MIGRATION_LOCK = 0x646F6F72
"""Advisory lock ("door"): two hubs starting at once must not both migrate."""

WRITE_LOCK = 0x6877
"""First key of the advisory lock ("hw") that every write transaction takes before anything else, and holds to its end.

Use cases read rows, think, and write whole rows back; under READ COMMITTED a second writer (a command beside the hub)
would undo what the first has committed in between, watermarks included. So writers take turns, as SQLite makes them.
The second key is the schema: hubs that share a database do not wait for one another. When workers lease partitions,
their rows are disjoint by lease: they take this lock shared, and whoever holds no lease takes it as it is here.
"""

LOCK_WAIT_MS = 10_000
"""Longest wait for a lock while writing, ms, as SQLite's BUSY_MS: beyond it somebody hangs, and waiting is no help."""

_MY_TURN = "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s, hashtext(current_schema()))"

CONNECT_S = 10
"""Longest wait for a connection, s."""

_ARRAY: dict[Kind, str] = {"text": "text[]", "int": "bigint[]", "real": "float8[]", "bool": "bool[]", "json": "text[]"}

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresStore:
    """See `hub.ports.Store`. `url` is libpq's; `schema` on its search path holds the tables."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turns: Turns[Connection] = Turns(self._connect, psycopg.Connection.close)

    def migrate(self) -> list[str]:
        """Bring the schema up to date, each migration in its own transaction. Backups are pg_dump's."""
        with self._turns.writer() as connection, _faults():
            connection.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            try:
                return self._migrate(connection)
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])

    @staticmethod
    def _migrate(connection: Connection) -> list[str]:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS doorchime_migration "
            "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {row[0] for row in connection.execute("SELECT name FROM doorchime_migration")}
        newer = sorted(applied - set(MIGRATIONS))
        if newer:
            raise StoreFault(
                f"the database's schema ({newer[-1]}) is newer than this program; install the newer version"
            )
        pending = [name for name in MIGRATIONS if name not in applied]
        for name in pending:
            text = files("hub.stores").joinpath(f"sql/postgres/{name}.sql").read_bytes()
            with connection.transaction():
                connection.execute(text)
                connection.execute("INSERT INTO doorchime_migration (name) VALUES (%s)", [name])
        return pending

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """One durable transaction; waits while another connection writes."""
        with self._turns.writer() as connection:
            try:
                with _faults(), connection.transaction():
                    connection.execute(_MY_TURN, [str(LOCK_WAIT_MS), WRITE_LOCK])
                    yield PostgresTx(connection)
            except StoreFault:
                self._turns.drop_writer()
                raise

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A snapshot."""
        with self._turns.reader() as connection, _faults(), connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield PostgresTx(connection)

    def close(self) -> None:
        """Release everything; idempotent."""
        self._turns.close()

    def _connect(self, writing: bool) -> Connection:
        try:
            return psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S, prepare_threshold=2)
        except psycopg.Error as exc:
            raise StoreFault(f"PostgreSQL cannot be reached: {type(exc).__name__}; check `database`") from exc


class PostgresTx(SqlTx):
    """See `hub.ports.Tx`."""

    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Run; all rows."""
        with _faults():
            return list(self._connection.execute(_marked(sql), args).fetchall())

    def change(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run; rows touched."""
        with _faults():
            return self._connection.execute(_marked(sql), args).rowcount

    def stream(self, sql: str, args: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Run; rows in portions, through a cursor of the server."""
        with _faults(), self._connection.cursor(name="scan") as cursor:
            cursor.itersize = SCAN_ROWS
            cursor.execute(_marked(sql), args)
            yield from cursor

    def selected(self, table: Table) -> str:
        """Every column; JSON as text, so that both SQL stores decode alike."""
        return ", ".join(f't."{c.name}"' + ("::text" if c.kind == "json" else "") for c in table.columns)

    def one_of(self, table: Table, name: str, values: Sequence[Any]) -> tuple[str, Any]:
        """Membership in an array."""
        return f'"{name}" = ANY(?::{_ARRAY[column(table, name).kind]})', list(values)

    def keys(self, table: Table, names: Sequence[str], keys: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """Keys from parallel arrays."""
        arrays = ", ".join(f"?::{_ARRAY[column(table, name).kind]}" for name in names)
        columns = ", ".join(f"k{place}" for place in range(len(names)))
        return f"unnest({arrays}) AS k({columns})", [list(values) for values in zip(*keys, strict=True)]

    def write_many(self, table: Table, rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
        """One INSERT … SELECT from parallel arrays."""
        arrays = ", ".join(f"?::{_ARRAY[c.kind]}" for c in table.columns)
        picked = ", ".join(
            f"v{place}" + ("::jsonb" if c.kind == "json" else "") for place, c in enumerate(table.columns)
        )
        names = ", ".join(f"v{place}" for place in range(len(table.columns)))
        self.change(
            f'INSERT INTO "{table.name}" ({quoted(*table.names)}) '
            f"SELECT {picked} FROM unnest({arrays}) AS v({names}) {conflict}",
            [list(values) for values in zip(*rows, strict=True)],
        )


def _marked(text: str) -> composed.SQL:
    # every text is put together in this package, from names in the schema; values travel apart
    return composed.SQL(text.replace("?", "%s"))


@contextmanager
def _faults() -> Iterator[None]:
    """A refused unique index becomes Conflict; what the server cannot do, StoreFault; a mistake of ours stays."""
    try:
        yield
    except psycopg.errors.UniqueViolation as exc:
        raise Conflict(exc.diag.constraint_name or "unique") from exc
    except psycopg.errors.LockNotAvailable as exc:
        raise StoreFault("PostgreSQL: another program has been writing for too long; see pg_stat_activity") from exc
    except (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError) as exc:
        raise StoreFault(f"PostgreSQL: {type(exc).__name__}") from exc  # its text may quote a value

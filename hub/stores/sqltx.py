"""One transaction in SQL: everything SQLite and PostgreSQL have in common. Each adds its own way of passing lists.

Statements are written with `?`; every identifier is quoted, since `grant`, `key` and `offer` are words of SQL.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hub.core.model import Push, Visit
from hub.core.states import WAITING_PUSH, PushState
from hub.ports import Key, R
from hub.stores.erasure import erase, expire
from hub.stores.rows import column, decoder, encoder, key_reader, plain
from hub.stores.schema import BY_RECORD, TABLES, Table
from wire.errors import StoreFault

SCAN_ROWS = 1_000
"""Rows fetched at a time while scanning: bounds memory, whatever the size of a table."""


def quoted(*names: str) -> str:
    """Identifiers, quoted, with commas between."""
    return ", ".join(f'"{name}"' for name in names)


class SqlTx(ABC):
    """See `hub.ports.Tx`. Subclasses say how to run a statement and how to pass lists."""

    def __init__(self) -> None:
        self._depth = 0

    @abstractmethod
    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Run a statement; the rows it gives."""

    @abstractmethod
    def change(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it touched."""

    @abstractmethod
    def stream(self, sql: str, args: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Run a query whose rows come `SCAN_ROWS` at a time."""

    @abstractmethod
    def selected(self, table: Table) -> str:
        """The columns of a table as this store must ask for them, in order."""

    @abstractmethod
    def one_of(self, table: Table, name: str, values: Sequence[Any]) -> tuple[str, Any]:
        """A condition that a column is one of a list, and its one argument."""

    @abstractmethod
    def keys(self, table: Table, names: Sequence[str], keys: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """A FROM item `k` with columns k0, k1, … of these keys, and its arguments."""

    @abstractmethod
    def write_many(self, table: Table, rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
        """Insert rows, with this ON CONFLICT clause."""

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises."""
        self._depth += 1
        name = f"s{self._depth}"
        self.change(f"SAVEPOINT {name}")
        try:
            yield
        except StoreFault:
            raise  # the transaction is gone as a whole
        except BaseException:
            self.change(f"ROLLBACK TO SAVEPOINT {name}")
            self.change(f"RELEASE SAVEPOINT {name}")
            raise
        else:
            self.change(f"RELEASE SAVEPOINT {name}")
        finally:
            self._depth -= 1

    def get(self, kind: type[R], keys: Sequence[Key]) -> list[R]:
        """By primary key."""
        if not keys:
            return []
        table = BY_RECORD[kind]
        source, args = self.keys(table, table.key, list(dict.fromkeys(map(tuple, keys))))
        match = " AND ".join(f't."{name}" = k.k{place}' for place, name in enumerate(table.key))
        found = self.rows(
            f'SELECT {self.selected(table)} FROM {source} CROSS JOIN "{table.name}" t WHERE {match}', args
        )
        return list(map(decoder(table), found))

    def put(self, rows: Sequence[Any]) -> None:
        """Insert or replace."""
        if not rows:
            return
        table = BY_RECORD[type(rows[0])]
        read_key = key_reader(table)
        last = {read_key(row): row for row in rows}  # of two versions of one row the later counts
        rest = [name for name in table.names if name not in table.key]
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in rest)
        values = list(map(encoder(table), last.values()))
        self.write_many(table, values, f"ON CONFLICT ({quoted(*table.key)}) DO UPDATE SET {changes}")

    def insert(self, rows: Sequence[Any]) -> None:
        """Insert only."""
        if rows:
            table = BY_RECORD[type(rows[0])]
            self.write_many(table, list(map(encoder(table), rows)), "")

    def delete(self, kind: type[Any], keys: Sequence[Key]) -> int:
        """By primary key."""
        if not keys:
            return 0
        table = BY_RECORD[kind]
        source, args = self.keys(table, table.key, list(dict.fromkeys(map(tuple, keys))))
        names = ", ".join(f"k{place}" for place in range(len(table.key)))
        return self.change(
            f'DELETE FROM "{table.name}" WHERE ({quoted(*table.key)}) IN (SELECT {names} FROM {source})', args
        )

    def find(
        self,
        kind: type[R],
        where: Mapping[str, Any],
        *,
        after: Key | None = None,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[R]:
        """Filter and page."""
        table = BY_RECORD[kind]
        condition, args = self._where(table, where)
        if after is not None:
            marks = ", ".join("?" for _ in table.key)
            condition += f" AND ({quoted(*table.key)}) {'<' if newest_first else '>'} ({marks})"
            args += list(after)
        order = ", ".join(self._order(table, where, name) + (" DESC" if newest_first else "") for name in table.key)
        sql = f'SELECT {self.selected(table)} FROM "{table.name}" t WHERE {condition} ORDER BY {order} LIMIT ?'
        return list(map(decoder(table), self.rows(sql, [*args, limit])))

    def _order(self, table: Table, where: Mapping[str, Any], name: str) -> str:
        """The sort key; subclasses may keep the planner from walking the primary key when a better index filters."""
        return f'"{name}"'

    def count(self, kind: type[Any], where: Mapping[str, Any]) -> int:
        """Count."""
        table = BY_RECORD[kind]
        condition, args = self._where(table, where)
        return int(self.rows(f'SELECT count(*) FROM "{table.name}" t WHERE {condition}', args)[0][0])

    def due(self, kind: type[R], column: str, now_ms: int, limit: int) -> list[R]:
        """By deadline."""
        table = BY_RECORD[kind]
        sql = f'SELECT {self.selected(table)} FROM "{table.name}" t WHERE "{column}" <= ? ORDER BY "{column}" LIMIT ?'
        return list(map(decoder(table), self.rows(sql, [now_ms, limit])))

    def swap(self, kind: type[Any], key: Key, expect: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """Compare and set."""
        table = BY_RECORD[kind]
        condition, args = self._where(table, {**dict(zip(table.key, key, strict=True)), **expect})
        changes = ", ".join(f'"{name}" = ?' for name in change)
        values = [plain(value, column(table, name).kind) for name, value in change.items()]
        return self.change(f'UPDATE "{table.name}" AS t SET {changes} WHERE {condition}', [*values, *args]) == 1

    def visits_near(self, keys: Sequence[tuple[str, str, str, int, int]]) -> list[Any]:
        """By overlap."""
        if not keys:
            return []
        table = BY_RECORD[Visit]
        names = ("tenant", "profile", "store", "seen_at_ms", "entered_at_ms")
        source, args = self.keys(table, names, keys)
        found = self.rows(
            f'SELECT {self.selected(table)} FROM {source} CROSS JOIN "{table.name}" t '
            "WHERE t.tenant = k.k0 AND t.profile = k.k1 AND t.store = k.k2 AND t.seen_at_ms >= k.k3 "
            "AND t.entered_at_ms <= k.k4",
            args,
        )
        return list(map(decoder(table), found))

    def take_pushes(self, tenant: str, now_ms: int, lease_until_ms: int, limit: int) -> list[Push]:
        """Lease."""
        table = BY_RECORD[Push]
        states = ", ".join(f"'{state.value}'" for state in WAITING_PUSH)
        found = self.rows(
            f"UPDATE push AS t SET state = '{PushState.LEASED.value}', attempts = t.attempts + 1, due_at_ms = ? "
            f"WHERE (tenant, push) IN (SELECT tenant, push FROM push WHERE tenant = ? AND due_at_ms <= ? "
            f"AND state IN ({states}) ORDER BY expires_at_ms, push LIMIT ? {self.skip_locked}) "
            f"RETURNING {self.selected(table)}",
            [lease_until_ms, tenant, now_ms, limit],
        )
        taken: list[Push] = list(map(decoder(table), found))
        return sorted(taken, key=lambda push: (push.expires_at_ms, push.push))

    skip_locked = ""
    """What lets two workers of different processes pass each other while leasing."""

    def earliest(self, kind: type[Any], column: str) -> int | None:
        """Smallest deadline."""
        found = self.rows(f'SELECT min("{column}") FROM "{BY_RECORD[kind].name}"')[0][0]
        return None if found is None else int(found)

    def erase(self, tenant: str, profile: str) -> dict[str, int]:
        """See `hub.stores.erasure`."""
        return erase(self, tenant, profile)

    def expire(self, tenant: str, now_ms: int, limit: int) -> dict[str, int]:
        """See `hub.stores.erasure`."""
        return expire(self, tenant, now_ms, limit)

    def outdated(self, table: Table, tenant: str, before_ms: int, limit: int) -> list[Any]:
        """By age and holds."""
        age = f'"{table.retention.column}"'
        # the tenant as an expression: an index that begins with it would be walked as a whole
        sql = f"SELECT {self.selected(table)} FROM \"{table.name}\" t WHERE t.{age} <= ? AND t.tenant || '' = ?"
        args: list[Any] = [before_ms, tenant]
        for hold in table.retention.holds:
            match = " AND ".join(f'h."{theirs}" = t."{ours}"' for theirs, ours in hold.match)
            young = f" AND h.{age} > ?" if hold.younger else ""
            sql += f' AND NOT EXISTS (SELECT 1 FROM "{hold.table}" h WHERE {match}{young})'
            args += [before_ms] if hold.younger else []
        return [decoder(table)(row) for row in self.rows(f"{sql} ORDER BY t.{age} LIMIT ?", [*args, limit])]

    def scan(self, tenant: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row of every table."""
        for table in TABLES:
            sql = f'SELECT {self.selected(table)} FROM "{table.name}" t WHERE tenant = ?'
            for row in self.stream(sql, [tenant]):
                yield table.name, dict(zip(table.names, row, strict=True))

    def _where(self, table: Table, where: Mapping[str, Any]) -> tuple[str, list[Any]]:
        parts, args = [], []
        for name, value in where.items():
            kind = column(table, name).kind  # also refuses a column that does not exist
            if value is None:
                parts.append(f'"{name}" IS NULL')
            elif isinstance(value, list | tuple):
                part, arg = self.one_of(table, name, [plain(one, kind) for one in value])
                parts.append(part)
                args.append(arg)
            else:
                parts.append(f'"{name}" = ?')
                args.append(plain(value, kind))
        return " AND ".join(parts), args

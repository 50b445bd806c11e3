"""A store in memory, held to the same contract: for tests, and for trying things out. Nothing survives the process."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hub.core.model import Push, Visit
from hub.core.states import WAITING_PUSH, PushState
from hub.ports import Conflict, Key, R, Tx
from hub.stores.erasure import erase, expire
from hub.stores.rows import decoder, encoder, key_of, matches
from hub.stores.schema import BY_RECORD, TABLES, Hold, Table

Rows = dict[Key, tuple[Any, ...]]


class MemoryStore:
    """See `hub.ports.Store`. One lock: writers queue up; readers see a copy of the last commit."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rows: dict[type[Any], Rows] = {table.record: {} for table in TABLES}

    def migrate(self) -> list[str]:
        """Nothing to do."""
        return []

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """One transaction on a copy that replaces the original when the block ends."""
        with self._lock:
            tx = MemoryTx({kind: dict(rows) for kind, rows in self._rows.items()})
            yield tx
            self._rows = tx.rows

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """The last commit; a commit replaces whole tables, so what is being read never changes."""
        yield MemoryTx(self._rows)

    def close(self) -> None:
        """Nothing to release."""


class MemoryTx:
    """See `hub.ports.Tx`. Rows are kept as stored values, so that what comes out is never what went in."""

    def __init__(self, rows: dict[type[Any], Rows]) -> None:
        self.rows = rows

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises."""
        before = {kind: dict(rows) for kind, rows in self.rows.items()}
        try:
            yield
        except BaseException:
            self.rows.update(before)
            raise

    def get(self, kind: type[R], keys: Sequence[Key]) -> list[R]:
        """By primary key."""
        table, decode = self._table(kind)
        return [decode(table[key]) for key in dict.fromkeys(map(tuple, keys)) if key in table]

    def put(self, rows: Sequence[Any]) -> None:
        """Insert or replace."""
        for row in rows:
            self._store(BY_RECORD[type(row)], row)

    def insert(self, rows: Sequence[Any]) -> None:
        """Insert only."""
        for row in rows:
            table = BY_RECORD[type(row)]
            if key_of(table, row) in self.rows[table.record]:
                raise Conflict(f"{table.name}: the primary key exists")
            self._store(table, row)

    def _store(self, table: Table, row: Any) -> None:
        key, rows = key_of(table, row), self.rows[table.record]
        for unique in table.unique:
            mine = tuple(getattr(row, name) for name in unique)
            if None in mine:
                continue  # as in SQL: nulls are equal to nothing
            places = [table.names.index(name) for name in unique]
            if any(tuple(other[place] for place in places) == mine and at != key for at, other in rows.items()):
                raise Conflict(f"{table.name}: {', '.join(unique)} exists")
        rows[key] = encoder(table)(row)

    def delete(self, kind: type[Any], keys: Sequence[Key]) -> int:
        """By primary key."""
        return sum(self.rows[kind].pop(tuple(key), None) is not None for key in keys)

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
        found: list[Any] = []
        table, decode = self._table(kind)
        for key in sorted(table, reverse=newest_first):
            if len(found) >= limit:
                break
            if after is not None and (key >= tuple(after) if newest_first else key <= tuple(after)):
                continue
            row = decode(table[key])
            if matches(row, where):
                found.append(row)
        return found

    def count(self, kind: type[Any], where: Mapping[str, Any]) -> int:
        """Count."""
        table, decode = self._table(kind)
        return sum(matches(decode(values), where) for values in table.values())

    def due(self, kind: type[R], column: str, now_ms: int, limit: int) -> list[R]:
        """By deadline."""
        table, decode = self._table(kind)
        place = BY_RECORD[kind].names.index(column)
        found = [values for values in table.values() if values[place] is not None and values[place] <= now_ms]
        return [decode(values) for values in sorted(found, key=lambda values: values[place])[:limit]]

    def swap(self, kind: type[Any], key: Key, expect: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """Compare and set."""
        table, decode = self._table(kind)
        values = table.get(tuple(key))
        if values is None or not matches(row := decode(values), expect):
            return False
        self._store(BY_RECORD[kind], replace(row, **change))
        return True

    def visits_near(self, keys: Sequence[tuple[str, str, str, int, int]]) -> list[Any]:
        """By overlap."""
        spans = {(tenant, profile, store): (low, high) for tenant, profile, store, low, high in keys}
        found: list[Any] = []
        table, decode = self._table(Visit)
        places = [BY_RECORD[Visit].names.index(name) for name in ("tenant", "profile", "store")]
        for values in table.values():
            low, high = spans.get(tuple(values[place] for place in places), (1, 0))
            if low <= high:
                row = decode(values)
                if row.entered_at_ms <= high and row.seen_at_ms >= low:
                    found.append(row)
        return found

    def take_pushes(self, tenant: str, now_ms: int, lease_until_ms: int, limit: int) -> list[Push]:
        """Lease."""
        due = [row for row in self.due(Push, "due_at_ms", now_ms, len(self.rows[Push])) if row.tenant == tenant]
        due = [row for row in due if row.state in WAITING_PUSH]
        taken = [
            replace(row, state=PushState.LEASED.value, attempts=row.attempts + 1, due_at_ms=lease_until_ms)
            for row in sorted(due, key=lambda row: (row.expires_at_ms, row.push))[:limit]
        ]
        self.put(taken)
        return taken

    def earliest(self, kind: type[Any], column: str) -> int | None:
        """Smallest deadline."""
        place = BY_RECORD[kind].names.index(column)
        return min((v[place] for v in self.rows[kind].values() if v[place] is not None), default=None)

    def erase(self, tenant: str, profile: str) -> dict[str, int]:
        """See `hub.stores.erasure`."""
        return erase(self, tenant, profile)

    def expire(self, tenant: str, now_ms: int, limit: int) -> dict[str, int]:
        """See `hub.stores.erasure`."""
        return expire(self, tenant, now_ms, limit)

    def outdated(self, table: Table, tenant: str, before_ms: int, limit: int) -> list[Any]:
        """By age and holds."""
        column = str(table.retention.column)
        held = [(hold, self._speakers(hold, column, before_ms)) for hold in table.retention.holds]
        found = []
        for row in self.due(table.record, column, before_ms, len(self.rows[table.record])):
            kept = any(tuple(getattr(row, ours) for _, ours in hold.match) in keys for hold, keys in held)
            if row.tenant == tenant and not kept:
                found.append(row)
        return found[:limit]

    def _speakers(self, hold: Hold, column: str, before_ms: int) -> set[tuple[Any, ...]]:
        table = next(one for one in TABLES if one.name == hold.table)
        places = [table.names.index(theirs) for theirs, _ in hold.match]
        age = table.names.index(column) if hold.younger else None
        rows = self.rows[table.record].values()
        return {tuple(row[place] for place in places) for row in rows if age is None or row[age] > before_ms}

    def scan(self, tenant: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every row."""
        for table in TABLES:
            for values in self.rows[table.record].values():
                if values[0] == tenant:
                    yield table.name, dict(zip(table.names, values, strict=True))

    def _table(self, kind: type[R]) -> tuple[Rows, Any]:
        return self.rows[kind], decoder(BY_RECORD[kind])

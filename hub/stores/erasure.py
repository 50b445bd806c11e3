"""Erasure and retention, from the rules in the schema. Written on `Tx`, so every store does the same."""

from dataclasses import replace
from typing import Any, Protocol

from hub.core.identity import pseudonym
from hub.ports import Tx
from hub.stores.rows import key_of
from hub.stores.schema import TABLES, Table

ROWS_AT_ONCE = 10_000
"""Rows handled per statement while erasing: bounds memory; the loop goes on until nothing is left."""


class Ageing(Tx, Protocol):
    """A `Tx` that can also say what its retention rules no longer keep."""

    def outdated(self, table: Table, tenant: str, before_ms: int, limit: int) -> list[Any]:
        """Rows whose retention column is <= `before_ms` and that no hold of the table keeps, oldest first."""


def erase(tx: Tx, tenant: str, profile: str) -> dict[str, int]:
    """Apply every table's erasure rule; rows touched per table."""
    touched: dict[str, int] = {}
    for table in sorted(TABLES, key=lambda one: one.erasure.via is None):  # dependants first: they need their parents
        count = 0
        if table.erasure.how == "delete":
            count = _delete(tx, table, tenant, profile)
        elif table.erasure.how == "pseudonymise":
            count = _pseudonymise(tx, table, tenant, profile)
        if count:
            touched[table.name] = count
    return touched


def _delete(tx: Tx, table: Table, tenant: str, profile: str) -> int:
    total = 0
    where: dict[str, Any] = {"tenant": tenant, "profile": profile}
    if table.erasure.via is not None:
        parent, column = table.erasure.via
        kind = next(one.record for one in TABLES if one.name == parent)
        parents = tx.find(kind, where, limit=ROWS_AT_ONCE)
        if not parents:
            return 0
        where = {"tenant": tenant, column: [getattr(row, column) for row in parents]}
    while rows := tx.find(table.record, where, limit=ROWS_AT_ONCE):
        total += tx.delete(table.record, [key_of(table, row) for row in rows])
    return total


def _pseudonymise(tx: Tx, table: Table, tenant: str, profile: str) -> int:
    total = 0
    change = {"profile": pseudonym(tenant, profile), **(table.erasure.blank or {})}
    while rows := tx.find(table.record, {"tenant": tenant, "profile": profile}, limit=ROWS_AT_ONCE):
        tx.put([replace(row, **change) for row in rows])
        total += len(rows)
    return total


def expire(tx: Ageing, tenant: str, now_ms: int, limit: int) -> dict[str, int]:
    """Apply every table's retention rule, at most `limit` rows each; rows removed per table."""
    removed: dict[str, int] = {}
    for table in TABLES:
        rule = table.retention
        if rule.column is None:
            continue
        old = tx.outdated(table, tenant, now_ms - rule.keep_ms, limit)
        count = tx.delete(table.record, [key_of(table, row) for row in old])
        if count:
            removed[table.name] = count
    return removed

"""Records ⇄ plain column values, the same for every store."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.stores.schema import Column, Table

REPLACEMENT = "\ufffd"
"""Stands for NUL, which PostgreSQL cannot hold in text: the same visible result on every store."""


def encoder(table: Table) -> Callable[[Any], tuple[Any, ...]]:
    """A function from record to the tuple of column values."""
    names = table.names
    special = [(place, column.kind) for place, column in enumerate(table.columns) if column.kind in ("json", "text")]

    def encode(row: Any) -> tuple[Any, ...]:
        values = [getattr(row, name) for name in names]
        for place, kind in special:
            values[place] = plain(values[place], kind)
        return tuple(values)

    return encode


def plain(value: Any, kind: str) -> Any:
    """One value as it is stored."""
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("\\u0000", "\\ufffd")
    if kind == "text":
        text = str(value)
        return text.replace("\0", REPLACEMENT) if "\0" in text else text
    return value


def decoder(table: Table) -> Callable[[Sequence[Any]], Any]:
    """A function from a row of column values to the record."""
    record = table.record
    special = [(place, column.kind) for place, column in enumerate(table.columns) if column.kind in ("json", "bool")]

    def decode(values: Sequence[Any]) -> Any:
        if special:
            values = list(values)
            for place, kind in special:
                value = values[place]
                if value is not None:
                    values[place] = bool(value) if kind == "bool" else json.loads(value)
        return record(*values)

    return decode


def column(table: Table, name: str) -> Column:
    """The column of that name.

    Raises:
        KeyError: the table has none; an error of ours, so it is not softened.
    """
    return next(one for one in table.columns if one.name == name)


def matches(row: Any, where: Mapping[str, Any]) -> bool:
    """Whether a record's columns equal `where`, as `hub.ports.Tx.find` means it."""
    return all(
        getattr(row, name) in value if isinstance(value, list | tuple) else getattr(row, name) == value
        for name, value in where.items()
    )


def key_of(table: Table, row: Any) -> tuple[Any, ...]:
    """Primary key of a record."""
    return tuple(getattr(row, name) for name in table.key)

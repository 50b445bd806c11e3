"""Records ⇄ plain column values, the same for every store."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pydantic_core import from_json, to_json

from hub.stores.schema import TABLES, Column, Table

REPLACEMENT = "\ufffd"
"""Stands for NUL, which PostgreSQL cannot hold in text: the same visible result on every store."""

Encode = Callable[[Any], tuple[Any, ...]]
Decode = Callable[[Sequence[Any]], Any]
Key = Callable[[Any], tuple[Any, ...]]


def _encoder(table: Table) -> Encode:
    read = attrgetter(*table.names)
    texts = [place for place, column in enumerate(table.columns) if column.kind == "text"]
    jsons = [place for place, column in enumerate(table.columns) if column.kind == "json"]

    def encode(row: Any) -> tuple[Any, ...]:
        values = list(read(row))
        for place in texts:
            value = values[place]
            if value.__class__ is not str or "\0" in value:
                values[place] = plain(value, "text")
        for place in jsons:
            values[place] = plain(values[place], "json")
        return tuple(values)

    return encode


def plain(value: Any, kind: str) -> Any:
    """One value as it is stored."""
    if value is None:
        return None
    if kind == "json":
        return to_json(value).decode().replace("\\u0000", "\\ufffd")
    if kind == "text":
        text = str(value)
        return text.replace("\0", REPLACEMENT) if "\0" in text else text
    return value


def _decoder(table: Table) -> Decode:
    record = table.record
    special = [
        (place, bool if column.kind == "bool" else from_json)
        for place, column in enumerate(table.columns)
        if column.kind in ("json", "bool")
    ]

    def decode(values: Sequence[Any]) -> Any:
        if special:
            values = list(values)
            for place, read in special:
                value = values[place]
                if value is not None:
                    values[place] = read(value)
        return record(*values)

    return decode


def _key(table: Table) -> Key:
    if len(table.key) == 1:  # attrgetter of one name gives no tuple
        (name,) = table.key
        return lambda row: (getattr(row, name),)
    return attrgetter(*table.key)


_ENCODERS = {table.record: _encoder(table) for table in TABLES}
_DECODERS = {table.record: _decoder(table) for table in TABLES}
_KEYS = {table.record: _key(table) for table in TABLES}


def encoder(table: Table) -> Encode:
    """A function from record to the tuple of column values."""
    return _ENCODERS[table.record]


def decoder(table: Table) -> Decode:
    """A function from a row of column values to the record."""
    return _DECODERS[table.record]


def key_reader(table: Table) -> Key:
    """A function from record to its primary key."""
    return _KEYS[table.record]


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
    return _KEYS[table.record](row)

"""Durable state. SQL lives here and nowhere else; every store passes one contract suite."""

from pathlib import Path

from hub.ports import Store
from hub.stores.memory import MemoryStore
from hub.stores.sqlite import SqliteStore
from wire.errors import BadConfig

try:
    from hub.stores.postgres import PostgresStore
except ModuleNotFoundError as _missing:  # an optional extra
    if _missing.name is None or not _missing.name.startswith("psycopg"):
        raise
    PostgresStore = None  # type: ignore[assignment,misc]


def open_store(url: str) -> Store:
    """The store at `sqlite:PATH`, `postgresql://…` or `memory:`; connects on first use.

    Raises:
        BadConfig: no such kind of store, or its package is not installed.
    """
    kind, _, rest = url.partition(":")
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite" and rest:
        return SqliteStore(Path(rest))
    if kind in ("postgres", "postgresql"):
        if PostgresStore is None:
            raise BadConfig("database: PostgreSQL needs `pip install 'doorchime[postgres]'`")
        return PostgresStore(url)
    raise BadConfig("database: write `sqlite:PATH` or `postgresql://user@host/name`")

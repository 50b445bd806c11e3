"""Every released schema, with data in it, becomes today's; nothing of the data changes."""

import sqlite3
from importlib.resources import files

import psycopg
import pytest
from sqlite_utils import Database

from hub.core.foreign import source_of
from hub.core.model import Edge, EdgeBoot, Visit
from hub.stores import open_store
from hub.stores.postgres import MIGRATIONS
from hub.stores.schema import TABLES
from hub.stores.sqlite import MIGRATIONS as SQLITE_MIGRATIONS
from hub.stores.sqlite import SqliteStore
from tests.store_contract import T

RELEASED = range(1, len(MIGRATIONS) + 1)
"""How many migrations a released program had."""

JSON = '{"a":1}'
PLAIN = {"text": "x", "integer": 7, "bigint": 7, "real": 0.5, "double precision": 0.5, "boolean": True, "jsonb": JSON}


def statements(dialect, count):
    for name in MIGRATIONS[:count]:
        text = files("hub.stores").joinpath(f"sql/{dialect}/{name}.sql").read_text("utf-8")
        yield from (part for part in text.split(";") if part.strip())


def old_sqlite(path, count):
    """A database as the program with `count` migrations left it, one row in every table; the rows."""
    db = Database(path)
    for statement in statements("sqlite", count):
        db.conn.execute(statement)
    db.conn.commit()
    SQLITE_MIGRATIONS.pending(db)  # makes the table of migrations
    tables = [name for name in db.table_names() if not name.startswith("_")]
    rows = {}
    for table in tables:
        columns = {c.name: PLAIN[c.type.lower()] for c in db[table].columns}
        columns |= {name: T for name in columns if name == "tenant"}
        jsons = {c.name for one in TABLES if one.name == table for c in one.columns if c.kind == "json"}
        rows[table] = columns | dict.fromkeys(jsons & columns.keys(), JSON)
        db[table].insert(rows[table])
    for name in MIGRATIONS[:count]:
        db["_sqlite_migrations"].insert({"migration_set": "doorchime", "name": name, "applied_at": "then"})
    db.close()
    return rows


@pytest.mark.parametrize("count", RELEASED)
def test_sqlite_takes_every_released_schema_along_with_its_data(tmp_path, count):
    path = tmp_path / "hub.db"
    before = old_sqlite(path, count)
    store = SqliteStore(path)
    assert store.migrate() == list(MIGRATIONS[count:])
    store.close()
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        for table, row in before.items():
            (found,) = db.execute(f'SELECT * FROM "{table}"').fetchall()
            assert {name: found[name] for name in row} == row, table
    db.close()
    kept = path.with_name(f"hub.db.before-{MIGRATIONS[count]}") if count < len(MIGRATIONS) else None
    assert kept is None or kept.exists()


@pytest.mark.postgres
@pytest.mark.parametrize("count", RELEASED)
def test_postgres_takes_every_released_schema_along_with_its_data(postgres_server, count):
    url = postgres_server.database()
    before = {}
    with psycopg.connect(url) as db:
        for statement in statements("postgres", count):
            db.execute(statement)
        db.execute("CREATE TABLE doorchime_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())")
        for name in MIGRATIONS[:count]:
            db.execute("INSERT INTO doorchime_migration (name) VALUES (%s)", [name])
        columns = db.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' "
            "AND table_name <> 'doorchime_migration' ORDER BY table_name, ordinal_position"
        ).fetchall()
        for table, column, kind in columns:
            before.setdefault(table, {})[column] = T if column == "tenant" else PLAIN[kind]
        for table, row in before.items():
            names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("%s" for _ in row)
            db.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(row.values()))
    store = open_store(url)
    assert store.migrate() == list(MIGRATIONS[count:])
    store.close()
    with psycopg.connect(url) as db:
        for table, row in before.items():
            names = ", ".join(f'"{name}"::text' for name in row)
            (found,) = db.execute(f'SELECT {names} FROM "{table}"').fetchall()
            assert [text.replace(" ", "") for text in found] == [_text(value) for value in row.values()], table


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_edges_of_the_first_schema_are_edges_of_ours(tmp_path):
    path = tmp_path / "hub.db"
    old_sqlite(path, 1)
    store = SqliteStore(path)
    store.migrate()
    with store.read() as tx:
        (edge,) = tx.find(Edge, {"tenant": T})
        assert source_of(edge) is None
        assert (tx.count(EdgeBoot, {"tenant": T}), tx.count(Visit, {"tenant": T})) == (1, 1)
    store.close()

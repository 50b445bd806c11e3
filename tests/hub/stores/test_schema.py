"""The schema in the databases is the one in schema.py, and every table says how long and what erasure does."""

import sqlite3

import psycopg
import pytest
from sqlite_utils import Database

from hub.core.model import RECORDS
from hub.stores import open_store
from hub.stores.schema import TABLES

SQLITE_TYPES = {"text": "TEXT", "int": "INTEGER", "real": "REAL", "bool": "INTEGER", "json": "TEXT"}
POSTGRES_TYPES = {"text": "text", "int": "bigint", "real": "double precision", "bool": "boolean", "json": "jsonb"}


def migrated(url):
    store = open_store(url)
    store.migrate()
    store.close()


def test_every_record_has_a_table_and_every_table_its_rules():
    assert {table.record for table in TABLES} == set(RECORDS)
    for table in TABLES:
        assert table.retention.why, table.name
        assert table.erasure.why, table.name
        assert table.key[0] == "tenant", table.name
        if "profile" in table.names:
            assert table.erasure.how in ("delete", "pseudonymise"), table.name
        if table.retention.column is not None:
            assert table.retention.keep_ms > 0
            assert table.retention.column in table.due, f"{table.name}: retention would scan the table"


def test_sqlite_has_the_schema(tmp_path):
    path = tmp_path / "hub.db"
    migrated(f"sqlite:{path}")
    db = Database(path)
    assert {name for name in db.table_names() if not name.startswith("_")} == {table.name for table in TABLES}
    for table in TABLES:
        columns = [(c.name, c.type, not c.notnull) for c in db[table.name].columns]
        assert columns == [(c.name, SQLITE_TYPES[c.kind], c.nullable) for c in table.columns], table.name
        assert tuple(db[table.name].pks) == table.key
        indexes = {(bool(i.unique), tuple(i.columns)) for i in db[table.name].indexes}
        assert indexes >= wanted_indexes(table), table.name
    db.close()


@pytest.mark.postgres
def test_postgres_has_the_schema(postgres_server):
    url = postgres_server.database()
    migrated(url)
    with psycopg.connect(url) as db:
        for table in TABLES:
            columns = db.execute(
                "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns "
                "WHERE table_name = %s ORDER BY ordinal_position",
                [table.name],
            ).fetchall()
            assert columns == [(c.name, POSTGRES_TYPES[c.kind], c.nullable) for c in table.columns], table.name
            indexes = db.execute(
                "SELECT i.indisunique, array(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k(n, place) "
                "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.place) "
                "FROM pg_index i WHERE i.indrelid = %s::regclass",
                [f'"{table.name}"'],
            ).fetchall()
            assert {(unique, tuple(names)) for unique, names in indexes} >= wanted_indexes(table) | {(True, table.key)}


def wanted_indexes(table):
    return (
        {(True, names) for names in table.unique}
        | {(False, names) for names in table.indexes}
        | {(False, (name,)) for name in table.due}
    )


def test_sqlite_finds_people_by_index_not_by_walking(tmp_path):
    path = tmp_path / "hub.db"
    migrated(f"sqlite:{path}")
    with sqlite3.connect(path) as db:
        plan = db.execute(
            'EXPLAIN QUERY PLAN SELECT * FROM "offer_grant" t WHERE tenant = ? AND profile IN (SELECT value FROM '
            'json_each(?)) ORDER BY +"tenant", +"grant" LIMIT 9',
            ("t", "[]"),
        ).fetchall()
    db.close()
    assert any("offer_grant_profile_state" in str(step) for step in plan), plan

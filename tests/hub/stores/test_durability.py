"""What was committed survives kill -9; what cannot be committed is said; migrations keep a way back."""

import signal
import stat
import subprocess
import sys
import threading

import psycopg
import pytest
from sqlite_utils import Database

from hub.core.model import Shop
from hub.stores import open_store
from hub.stores import sqlite as sqlite_store
from hub.stores.postgres import MIGRATIONS
from tests.store_contract import T, row
from wire.errors import StoreFault

COMMITTER = """
import sys
from hub.core.model import (Shop)
from hub.stores import open_store
store = open_store(sys.argv[1])
store.migrate()
for number in range(1_000_000):
    with store.write() as tx:
        tx.put([Shop("default", f"s{number:07d}", "n", "UTC", "en", "EUR", 1, number)])
        tx.put([Shop("default", f"t{number:07d}", "n", "UTC", "en", "EUR", 1, number)])
    print(number, flush=True)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'hub.db'}"
    return request.getfixturevalue("postgres_server").database()


def test_everything_said_to_be_committed_survives_kill_9_and_nothing_is_half_there(url):
    process = subprocess.Popen([sys.executable, "-c", COMMITTER, url], stdout=subprocess.PIPE, text=True)
    said = -1
    for line in process.stdout:
        said = int(line)
        if said >= 200:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait(60)
    said = int(rest[-1]) if rest else said
    store = open_store(url)
    store.migrate()
    with store.read() as tx:
        rows = tx.find(Shop, {"tenant": T}, limit=10**7)
    store.close()
    left = {one.store for one in rows if one.store[0] == "s"}
    right = {one.store for one in rows if one.store[0] == "t"}
    assert {f"s{number:07d}" for number in range(said + 1)} <= left
    assert {name[1:] for name in left} == {name[1:] for name in right}


def test_two_programs_may_migrate_at_once(url):
    stores = [open_store(url) for _ in range(4)]
    applied, start = [], threading.Barrier(4)

    def migrate(store):
        start.wait(60)
        applied.extend(store.migrate())

    threads = [threading.Thread(target=migrate, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    assert applied == list(MIGRATIONS)


@pytest.mark.parametrize("attempt", range(15))
def test_programs_that_open_a_fresh_file_together_all_get_it(tmp_path, attempt):
    """Each wants the file in WAL mode first; SQLite refuses all but one of them at once, without waiting."""
    faults, start = [], threading.Barrier(6)

    def open_it():
        store = open_store(f"sqlite:{tmp_path / 'hub.db'}")
        start.wait(60)
        try:
            store.migrate()
        except StoreFault as fault:
            faults.append(fault)
        finally:
            store.close()

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults


def test_the_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "deep" / "hub.db"
    store = open_store(f"sqlite:{path}")
    store.migrate()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()


def test_a_full_disk_is_a_store_fault_and_the_store_goes_on_afterwards(tmp_path):
    store = open_store(f"sqlite:{tmp_path / 'hub.db'}")
    store.migrate()
    with store.write() as tx:
        tx.change("PRAGMA max_page_count = 1")  # the file may not grow: what a full disk looks like to SQLite
    big = [row(Shop, store=f"s{n}", name="x" * 4000) for n in range(200)]
    with pytest.raises(StoreFault), store.write() as tx:
        tx.put(big)
    with store.write() as tx:
        tx.change("PRAGMA max_page_count = 1000000")
    with store.write() as tx:
        tx.put(big)
        assert tx.count(Shop, {"tenant": T}) == 200
    store.close()


def test_a_full_disk_inside_a_savepoint_is_a_store_fault_too(tmp_path):
    store = open_store(f"sqlite:{tmp_path / 'hub.db'}")
    store.migrate()
    with pytest.raises(StoreFault), store.write() as tx:
        tx.change("PRAGMA max_page_count = 1")
        with tx.savepoint():
            tx.put([row(Shop, store=f"s{n}", name="x" * 4000) for n in range(200)])
    store.close()


def test_what_is_no_database_is_a_store_fault(tmp_path):
    path = tmp_path / "hub.db"
    path.write_text("this is not a database, whatever its name says. " * 100)
    store = open_store(f"sqlite:{path}")
    with pytest.raises(StoreFault):
        store.migrate()
    store.close()


def test_an_unreachable_server_is_a_store_fault(tmp_path):
    with pytest.raises(StoreFault, match="cannot be reached"):
        open_store(f"postgresql://nobody@/none?host={tmp_path}").migrate()


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "hub.db"
    store = open_store(f"sqlite:{path}")
    store.migrate()
    store.close()
    db = Database(path)
    db["_sqlite_migrations"].insert(
        {"migration_set": sqlite_store.MIGRATION_SET, "name": "9999_future", "applied_at": "x"}
    )
    db.close()
    store = open_store(f"sqlite:{path}")
    with pytest.raises(StoreFault, match="newer than this program"):
        store.migrate()
    store.close()


@pytest.mark.postgres
def test_a_newer_schema_is_refused_by_postgres_too(postgres_server):
    url = postgres_server.database()
    store = open_store(url)
    store.migrate()
    store.close()
    with psycopg.connect(url) as db:
        db.execute("INSERT INTO doorchime_migration (name) VALUES ('9999_future')")
    store = open_store(url)
    with pytest.raises(StoreFault, match="newer than this program"):
        store.migrate()
    store.close()


def test_a_copy_is_kept_before_a_migration_touches_a_database_with_tables(tmp_path):
    path = tmp_path / "hub.db"
    with Database(path) as old:
        old["older"].insert({"a": 1})
    store = open_store(f"sqlite:{path}")
    store.migrate()
    store.close()
    copy = path.with_name("hub.db.before-0001_first")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with Database(copy) as kept:
        assert kept.table_names() == ["older"]

"""`hub backup` and `hub restore` as their users run them, on databases in every state."""

import secrets
import shutil
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from hub.config import load
from hub.core.identity import fingerprint
from hub.core.model import Edge, Profile, Seal, Shop
from hub.main.alone import alone
from hub.main.wiring import build
from hub.stores import open_store, sqlite
from tests.edge.adapters.test_outbox import no_file_may_grow
from tests.hub.build import TENANT, shop
from tests.hub.main.test_cli import Commands
from tests.hub.stores.test_migrations import old_sqlite
from tests.hub.usecases.test_audit import Day
from tests.store_contract import row
from wire.errors import BadConfig


@pytest.fixture
def hub(tmp_path):
    """Commands on a database with a day in it, sealed with its secret."""
    found = Commands(tmp_path)
    found.run("init")
    store = found.store()
    Day(store)
    store.close()
    seal(found)
    return found


def seal(commands):
    """What the first start does."""
    build(load(commands.config)).store.close()


def beside(commands):
    return sorted(path.name for path in commands.database.parent.iterdir() if path.name.startswith("hub.db"))


def shops(path):
    store = open_store(f"sqlite:{path}")
    with store.read() as tx:
        found = {one.store for one in tx.find(Shop, {"tenant": TENANT}, limit=10**6)}
    store.close()
    return found


def test_a_backup_is_one_private_file_that_says_what_belongs_to_it(hub, tmp_path):
    store = hub.store()
    with store.write() as tx:
        tx.put([shop("just-now")])  # still in the write-ahead log
        copy = tmp_path / "backups" / "copy.db"
        copy.parent.mkdir()
    told = hub.json("backup", str(copy))
    store.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(copy.parent.iterdir()) == [copy]
    secret = bytes.fromhex((tmp_path / "secret").read_text())
    assert told == {"file": str(copy), "bytes": copy.stat().st_size, "secret": fingerprint(secret)}
    assert secret.hex().encode() not in copy.read_bytes()
    assert "just-now" in shops(copy)
    assert "name a file that does not exist" in hub.run("backup", str(copy), code=1)


def test_a_backup_under_load_is_of_one_instant_and_comes_to_an_end(hub, tmp_path):
    store, stop, copies = hub.store(), threading.Event(), []
    with store.write() as tx:
        tx.put([row(Shop, store=f"bulk{n}", name="x" * 3_000) for n in range(3_000)])

    def write():
        number = 0
        while not stop.is_set():
            with store.write() as tx:  # always two
                tx.put([row(Shop, store=f"left{number}"), row(Shop, store=f"right{number}")])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    for n in range(3):
        copies.append(tmp_path / f"copy{n}.db")
        hub.run("backup", str(copies[-1]))
    stop.set()
    writer.join(60)
    store.close()
    found = [shops(copy) for copy in copies]
    for names in found:
        left = {name[4:] for name in names if name.startswith("left")}
        right = {name[5:] for name in names if name.startswith("right")}
        assert left == right
    assert found[0] <= found[1] <= found[2]


def test_a_backup_holds_no_trace_of_what_was_deleted(hub, tmp_path):
    needle = "somebody-who-was-forgotten"
    store = hub.store()
    with store.write() as tx:
        tx.put([row(Profile, profile=needle)])
    with store.write() as tx:
        tx.change("PRAGMA secure_delete = OFF")  # Debian's SQLite overwrites what is deleted, others do not
        tx.delete(Profile, [(TENANT, needle)])
    store.close()
    assert needle.encode() in hub.database.read_bytes(), "or nothing is tested"
    hub.run("backup", str(tmp_path / "copy.db"))
    assert needle.encode() not in (tmp_path / "copy.db").read_bytes()


def test_no_room_for_a_backup_leaves_nothing_behind(hub, tmp_path):
    store = hub.store()
    with store.read() as tx, no_file_may_grow():
        tx.find(Edge, {"tenant": TENANT})
        told = hub.run("backup", str(tmp_path / "copy.db"), code=1)
    store.close()
    assert "copy.db: cannot be written" in told
    assert not list(tmp_path.glob("copy*"))


def test_a_backup_with_another_secret_at_hand_says_so(hub, tmp_path):
    own = fingerprint(bytes.fromhex((tmp_path / "secret").read_text()))
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    told = hub.run("backup", str(tmp_path / "copy.db"))
    assert "is not the secret that belongs to this database" in told
    assert own[:8] in told


def test_restore_puts_a_backup_in_place_and_keeps_what_was_there(hub, tmp_path):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    store = hub.store()
    with store.write() as tx:
        tx.put([shop("later")])
    store.close()
    told = hub.json("restore", str(copy))
    assert "later" not in shops(hub.database)
    assert "later" in shops(told["replaced"])
    assert (told["secret"], told["people"], told["edges"]) == ("fits", 1, 4)
    assert told["migrations"] == []
    assert copy.exists()
    assert stat.S_IMODE(hub.database.stat().st_mode) == 0o600
    with closing(sqlite3.connect(hub.database)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'doorchime_backup'").fetchall()
    assert hub.json("audit")["invariant_violations"] == 0
    build(load(hub.config)).store.close()
    again = hub.run("restore", str(copy))
    assert "later" in shops(told["replaced"]), "the second does not take the place of the first"
    assert f"restored {copy}, made 20" in again
    assert "docs/backup.md" in again


def test_restore_on_a_new_machine_needs_the_secret_first(hub, tmp_path):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    new = tmp_path / "new"
    new.mkdir()
    other = Commands(new)
    assert "secret_file" in other.run("restore", str(copy), code=1)
    shutil.copy(tmp_path / "secret", new / "secret")
    assert other.json("restore", str(copy))["replaced"] is None
    assert shops(other.database) == shops(hub.database)


def test_restore_refuses_while_a_hub_runs_on_the_database(hub, tmp_path):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    before = hub.database.read_bytes()
    with alone(f"sqlite:{hub.database}"):
        told = hub.run("restore", str(copy), code=1)
        assert "works on it" in told
        assert "nothing was changed" in told
        with pytest.raises(BadConfig, match="stop that first"), alone(f"sqlite:{hub.database}"):
            pass
    store = hub.store()  # something else that has it open
    with store.read() as tx:
        tx.find(Edge, {"tenant": TENANT})
        assert "is in use; stop the hub" in hub.run("restore", str(copy), code=1)
    store.close()
    assert hub.database.read_bytes() == before
    assert beside(hub) == ["hub.db", "hub.db.lock"]
    hub.run("restore", str(copy))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda copy: copy.write_text("no database"), "is no SQLite database"),
        (lambda copy: copy.write_bytes(damaged(copy.read_bytes())), "is damaged"),
        (lambda copy: copy.write_bytes(copy.read_bytes()[: 3 * 4096]), "copy.db"),
        (lambda copy: change(copy, "DROP TABLE _sqlite_migrations"), "is not the database of a hub"),
        (
            lambda copy: change(copy, f"INSERT INTO _sqlite_migrations VALUES (99, '{SET}', '9999_future', 'x')"),
            "newer version (schema 9999_future)",
        ),
        (lambda copy: change(copy, *(f"UPDATE {name} SET tenant = 'them'" for name in TENANTED)), "tenant them"),
        (lambda copy: change(copy, "UPDATE seal SET fingerprint = 'feedfacefeed'"), "needs another secret (feedface…)"),
        (
            lambda copy: change(copy, "DELETE FROM seal", "UPDATE doorchime_backup SET fingerprint = 'ba'"),
            "secret (ba…",
        ),
        (lambda copy: copy.unlink(), "no such file"),
    ],
)
def test_restore_refuses_what_does_not_fit_and_changes_nothing(hub, tmp_path, spoil, told):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    spoil(copy)
    before = hub.database.read_bytes()
    answer = hub.run("restore", str(copy), code=1)
    assert told in answer
    assert answer.endswith("nothing was changed\n")
    assert hub.database.read_bytes() == before
    assert beside(hub) in (["hub.db"], ["hub.db", "hub.db.lock"])


SET = sqlite.MIGRATION_SET
TENANTED = ("shop", "edge", "zone", "profile", "seal", "consent", "visit", "edge_boot", "api_key", "offer", "device",
            "consent_event", "identity", "decision", "offer_grant", "push", "redemption", "quarantine", "loss",
            "zone_stay", "reply")  # fmt: skip


def change(path, *statements):
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def damaged(body):
    """Nonsense in the middle of it."""
    middle = len(body) // 2 // 4096 * 4096
    return body[:middle] + b"\xa5" * 8192 + body[middle + 8192 :]


def test_restore_refuses_the_database_itself(hub):
    assert "is the database itself" in hub.run("restore", str(hub.database), code=1)


def test_a_backup_of_an_older_version_is_brought_up_to_date(hub, tmp_path):
    old = tmp_path / "old.db"
    old_sqlite(old, 1)
    told = hub.json("restore", str(old))
    assert told["migrations"] == list(sqlite.MIGRATION_NAMES[1:])
    assert told["secret"] == "unknown"
    assert not list(tmp_path.glob("*.before-*"))
    assert "does not say which secret" in hub.run("restore", str(old))


def test_a_database_of_an_older_version_can_be_backed_up_and_keeps_its_secret(tmp_path):
    commands = Commands(tmp_path)
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    (tmp_path / "secret").chmod(0o600)
    old_sqlite(commands.database, 1)
    copy = tmp_path / "copy.db"
    assert commands.json("backup", str(copy))["secret"]
    assert commands.json("restore", str(copy))["secret"] == "fits"


def test_what_a_killed_hub_left_is_kept_whole(hub, tmp_path):
    """The write-ahead log that nobody folded in belongs to the database that is kept, and to no other."""
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    killed = tmp_path / "killed"
    killed.mkdir()
    store = hub.store()
    with store.write() as tx:
        tx.put([shop("in-the-log")])
    for name in ("hub.db", "hub.db-wal"):  # as kill -9 leaves them
        shutil.copy(tmp_path / name, killed / name)
    store.close()
    other = Commands(killed)
    shutil.copy(tmp_path / "secret", killed / "secret")
    told = other.json("restore", str(copy))
    assert "in-the-log" in shops(told["replaced"])
    assert "in-the-log" not in shops(other.database)


def test_a_copy_made_by_hand_with_its_log_is_taken_whole(hub, tmp_path):
    store = hub.store()
    with store.write() as tx:
        tx.put([shop("in-the-log")])
    shutil.copy(tmp_path / "hub.db", tmp_path / "byhand.db")
    shutil.copy(tmp_path / "hub.db-wal", tmp_path / "byhand.db-wal")
    store.close()
    hub.run("restore", str(tmp_path / "byhand.db"))
    assert "in-the-log" in shops(hub.database)


def test_a_damaged_database_is_replaced_and_kept_with_its_log(hub, tmp_path):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    hub.database.write_bytes(b"not a database any more" * 500)
    (tmp_path / "hub.db-wal").write_bytes(b"nor this a log")
    told = hub.json("restore", str(copy))
    assert shops(hub.database) == shops(copy)
    kept = tmp_path / (told["replaced"].rpartition("/")[2] + "-wal")
    assert kept.read_bytes() == b"nor this a log"
    assert hub.json("audit")["invariant_violations"] == 0


def test_no_room_for_the_restored_copy_changes_nothing(hub, tmp_path):
    copy = tmp_path / "copy.db"
    hub.run("backup", str(copy))
    before = hub.database.read_bytes()
    (tmp_path / "hub.db.lock").write_text("")
    with no_file_may_grow():
        told = hub.run("restore", str(copy), code=1)
    assert "nothing was changed" in told
    assert hub.database.read_bytes() == before
    assert beside(hub) == ["hub.db", "hub.db.lock"]


def test_postgres_is_told_what_to_use(tmp_path):
    commands = Commands(tmp_path, "postgresql://hub:pw@db.example/doorchime")
    told = commands.run("backup", "shop.dump", code=1)
    assert "pg_dump --format=custom --file=shop.dump doorchime" in told
    (tmp_path / "shop.dump").write_bytes(b"PGDMP")
    told = commands.run("restore", str(tmp_path / "shop.dump"), code=1)
    assert "pg_restore --clean --if-exists --dbname=doorchime" in told
    assert "pw" not in told


def test_a_hub_refuses_a_secret_that_its_people_are_not_hashed_with(hub, tmp_path):
    right = (tmp_path / "secret").read_text()
    (tmp_path / "secret").write_text(secrets.token_hex(32))
    with pytest.raises(BadConfig, match="hashed with another secret"):
        build(load(hub.config))
    assert "another secret" in hub.run("quarantine", "replay", code=1)
    (tmp_path / "secret").write_text(right)
    build(load(hub.config)).store.close()
    store = hub.store()
    with store.read() as tx:
        (found,) = tx.find(Seal, {"tenant": TENANT})
    store.close()
    assert found.fingerprint == fingerprint(bytes.fromhex(right))

"""Copies of a SQLite database: made while the hub runs, checked, and put in the place of the old one.

A copy is one file that needs no other beside it, holds no trace of deleted rows, and says when it was made and which
secret belongs to it.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from hub.stores.schema import TABLES
from hub.stores.sqlite import MIGRATION_NAMES, MIGRATION_SET, SqliteStore
from wire.errors import BadConfig

HEAD = b"SQLite format 3\x00"
"""How every SQLite file begins."""

IN_USE_S = 2.0
"""Longest wait for a command beside the hub to let go of the database, s."""

STEPS = 200_000
"""Steps of SQLite's machine between two looks at the progress: some ms."""

PAGES = 2_000
"""Pages copied between two looks at the progress: 8 MB."""

_STAMP = (
    'CREATE TABLE IF NOT EXISTS "doorchime_backup" ("one" INTEGER PRIMARY KEY CHECK ("one" = 1), '
    '"made_at_ms" INTEGER NOT NULL, "program" TEXT NOT NULL, "tenant" TEXT NOT NULL, "fingerprint" TEXT)'
)

Watch = Callable[[int, int], None]
"""Hears of progress: bytes done, bytes in all."""


class Stamp(NamedTuple):
    """What a copy says of itself. `fingerprint` is of the secret that belongs to it; None: nobody knew."""

    made_at_ms: int
    program: str
    tenant: str
    fingerprint: str | None


class Found(NamedTuple):
    """What is in a copy. `stamp` is None when it was not made by `make`."""

    stamp: Stamp | None
    schema: str
    tenants: list[str]


def make(source: Path, target: Path, stamp: Stamp, watch: Watch) -> int:
    """Copy the database at `source` as it is at one instant, whoever writes meanwhile; bytes of the copy.

    `target` is there whole and on the disk, or not at all.

    Raises:
        BadConfig: `target` exists or cannot be written, or `source` cannot be read.
    """
    if target.exists():
        raise BadConfig(f"{target}: exists; name a file that does not exist")
    part = target.with_name(target.name + ".part")
    size = source.stat().st_size
    with _explained(f"{target}: cannot be written"), _removed_on_failure(part):
        _create(part)
        with closing(_connect(source, "rw")) as old:  # read-only could not use a write-ahead log that nobody has open
            old.set_progress_handler(lambda: watch(part.stat().st_size, size), STEPS)
            old.execute("VACUUM INTO ?", [str(part)])
        with closing(_connect(part, "rw")) as new, new:
            new.execute(_STAMP)
            new.execute('INSERT OR REPLACE INTO "doorchime_backup" VALUES (1, ?, ?, ?, ?)', stamp)
        _sync(part)
        if target.exists():
            raise BadConfig(f"{target}: exists; name a file that does not exist")
        part.rename(target)
        _sync(target.parent)
    return target.stat().st_size


def fingerprint_in(path: Path, tenant: str) -> str | None:
    """The fingerprint of the secret that belongs to a database, as it says itself; None: it does not.

    Raises:
        BadConfig: it cannot be read.
    """
    with _explained(f"{path}: cannot be read"), closing(_connect(path)) as db:
        if "seal" not in _tables(db):
            return None
        found = db.execute('SELECT fingerprint FROM "seal" WHERE tenant = ?', [tenant]).fetchone()
        return None if found is None else str(found[0])


def stage(source: Path, target: Path, watch: Watch) -> tuple[Path, Found]:
    """Copy a backup to where it can replace `target`, check every page of it; what is in it.

    Raises:
        BadConfig: `source` is no sound copy of a hub's database, or there is no room for it.
    """
    staged = target.with_name(target.name + ".restoring")
    with _explained(f"{source}: cannot be restored"), _removed_on_failure(staged):
        with source.open("rb") as file:
            if file.read(len(HEAD)) != HEAD:
                raise BadConfig(f"{source}: is no SQLite database; name a file that `doorchime hub backup` wrote")
        target.parent.mkdir(parents=True, exist_ok=True)
        _create(staged)
        logged = source.with_name(source.name + "-wal").exists()  # copied by hand while in use
        with closing(_connect(source, "ro" if logged else "ro&immutable=1")) as old, closing(_connect(staged)) as new:
            (page,) = old.execute("PRAGMA page_size").fetchone()
            old.backup(new, pages=PAGES, progress=lambda _, left, whole: watch((whole - left) * page, whole * page))
            try:
                new.execute("PRAGMA journal_mode = DELETE")
                return staged, _examine(new, source)
            except sqlite3.OperationalError:
                raise  # no room, most likely
            except sqlite3.DatabaseError as exc:
                raise BadConfig(f"{source}: is damaged ({exc}); use another backup") from exc


def adopt(staged: Path) -> list[str]:
    """Bring a staged copy to this program's schema and take its stamp off; names of the migrations applied.

    Raises:
        StoreFault: a migration failed.
    """
    store = SqliteStore(staged)
    try:
        applied = store.migrate()
    finally:
        store.close()
    with _explained(f"{staged}: cannot be written"), closing(_connect(staged)) as db:
        db.execute('DROP TABLE IF EXISTS "doorchime_backup"')
        db.execute("PRAGMA journal_mode = DELETE")
    _sync(staged)
    return applied


def swap(staged: Path, target: Path, suffix: str) -> Path | None:
    """Put a staged copy in the place of `target`; where the old database is kept, None if there was none.

    At no moment is there no database, and never does the old write-ahead log lie beside the new database.

    Raises:
        BadConfig: some program has the old database open, or the folder cannot be written.
    """
    replaced = None
    with _explained(f"{target}: cannot be replaced"):
        if target.exists():
            _close_log(target)
            replaced = _unused(target.with_name(f"{target.name}.replaced-{suffix}"))
            for end in ("-wal", "-shm"):  # of a database too damaged to be read
                left = target.with_name(target.name + end)
                if left.exists():
                    left.rename(replaced.with_name(replaced.name + end))
            _second_name(target, replaced)
        staged.replace(target)
        _sync(target.parent)
    return replaced


def discard(staged: Path) -> None:
    """Remove a staged copy and whatever stands beside it; nothing, if it was put in place."""
    for end in ("", "-journal", "-wal", "-shm"):
        staged.with_name(staged.name + end).unlink(missing_ok=True)
    for kept in staged.parent.glob(f"{staged.name}.before-*"):
        kept.unlink()


def _examine(db: sqlite3.Connection, source: Path) -> Found:
    verdict = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
    if verdict != ["ok"]:
        raise BadConfig(f"{source}: is damaged ({verdict[0]}); use another backup")
    tables = _tables(db)
    names = []
    if "_sqlite_migrations" in tables:
        found = db.execute('SELECT name FROM "_sqlite_migrations" WHERE migration_set = ?', [MIGRATION_SET])
        names = sorted(row[0] for row in found)
    if not names:
        raise BadConfig(f"{source}: is not the database of a hub; name a file that `doorchime hub backup` wrote")
    newer = sorted(set(names) - set(MIGRATION_NAMES))
    if newer:
        raise BadConfig(
            f"{source}: comes from a newer version (schema {newer[-1]}); install that one, or restore an older backup"
        )
    stamp = None
    if "doorchime_backup" in tables:
        stamp = Stamp(*db.execute('SELECT made_at_ms, program, tenant, fingerprint FROM "doorchime_backup"').fetchone())
    tenants: set[str] = set()
    for table in TABLES:
        if table.name in tables:
            tenants |= {row[0] for row in db.execute(f'SELECT DISTINCT tenant FROM "{table.name}" LIMIT 10')}
    return Found(stamp, names[-1], sorted(tenants))


def _tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _close_log(path: Path) -> None:
    """Fold the write-ahead log into the database. Works only while nobody else has it open, which is the point."""
    with path.open("rb") as file:
        if file.read(len(HEAD)) != HEAD:
            return  # SQLite would throw the log away
    try:
        with closing(sqlite3.connect(path, timeout=IN_USE_S, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc):
            raise BadConfig(
                f"{path}: is in use; stop the hub, and close what else has the database open, then try again"
            ) from exc
    except sqlite3.DatabaseError:
        return  # damaged: it is kept as it is


def _unused(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}-{number}") for number in range(2, 1_000))
    return next(name for name in (path, *numbered) if not name.exists())


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copy2(path, name)
        _sync(name)


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)


def _create(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BadConfig(f"{what}: {exc.strerror}") from exc
    except sqlite3.Error as exc:
        raise BadConfig(f"{what}: {exc}") from exc


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        discard(path)
        raise

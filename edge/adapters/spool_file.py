"""The file of the outbox: opened, made, judged; a damaged one is moved aside. What a disk refuses is told apart."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from wire.errors import StoreFault

CORRUPT_KEPT = 3
"""Damaged files kept for whoever wants to look; older ones are overwritten."""

_SCHEMA = """
CREATE TABLE boot (no INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, clock TEXT NOT NULL, last_seq INTEGER NOT NULL);
CREATE TABLE event (
  boot_no INTEGER NOT NULL, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,
  samples INTEGER NOT NULL, enters INTEGER NOT NULL, exits INTEGER NOT NULL, ran_ms INTEGER NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (boot_no, seq)
) WITHOUT ROWID;
CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL, bytes INTEGER NOT NULL, published INTEGER NOT NULL,
  lost INTEGER NOT NULL, samples_dropped INTEGER NOT NULL, ran_ms INTEGER NOT NULL
);
CREATE INDEX sample ON event (boot_no, seq) WHERE kind = 'sample';
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0);
PRAGMA user_version = 1;
"""

_REFUSALS = {sqlite3.SQLITE_FULL: "disk_full", sqlite3.SQLITE_READONLY: "disk_read_only"}
_FAILING = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OS_REFUSALS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "disk_read_only",
    errno.EIO: "disk_failing",
}


class DiskRefuses(StoreFault):
    """The disk takes nothing at present; it may again. `reason`: disk_full | disk_read_only | disk_failing."""

    def __init__(self, path: object, reason: str, detail: str) -> None:
        super().__init__(f"outbox {path}: {detail}")
        self.reason = reason


class Opened(NamedTuple):
    """A connection to an outbox with its schema, and the damaged file that had to be moved aside for it."""

    db: sqlite3.Connection
    corrupt: Path | None


def open_file(path: Path) -> Opened:
    """Open the file at `path`; made if missing, readable by its owner only.

    Raises:
        DiskRefuses: the disk takes nothing, or gives nothing.
        StoreFault: it can never be used as things are: not ours to write, or of a newer version.
    """
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            return Opened(_connect(path), None)
        except sqlite3.DatabaseError as exc:
            if _code(exc) not in _DAMAGED:
                raise
        corrupt = _move_aside(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return Opened(_connect(path), corrupt)


def open_memory() -> sqlite3.Connection:
    """An outbox that ends with the process."""
    return _connect(None)


@contextmanager
def faults(path: object) -> Iterator[None]:
    """Errors of SQLite and of the operating system as ours."""
    try:
        yield
    except sqlite3.Error as exc:
        code = _code(exc)
        if code in _REFUSALS or code in _FAILING:
            raise DiskRefuses(path, _REFUSALS.get(code, "disk_failing"), str(exc)) from exc
        raise StoreFault(f"outbox {path}: {exc}") from exc
    except OSError as exc:
        if exc.errno in _OS_REFUSALS:
            raise DiskRefuses(path, _OS_REFUSALS[exc.errno], exc.strerror or "") from exc
        raise StoreFault(f"outbox {path}: {exc.strerror}") from exc


def _code(exc: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of the Python module itself."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > 1:
            raise StoreFault(f"outbox {path}: written by a newer version; install it again, or move it away")
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            damaged = sqlite3.DatabaseError(verdict)
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged
    except BaseException:
        db.close()
        raise
    return db


def _move_aside(path: Path) -> Path:
    number = next((n for n in range(1, CORRUPT_KEPT) if not _aside(path, n).exists()), CORRUPT_KEPT)
    target = _aside(path, number)
    path.replace(target)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return target


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}")

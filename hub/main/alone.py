"""One hub per database file: a lock that ends with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wire.errors import BadConfig


def file_of(database: str) -> Path | None:
    """The file of a SQLite database; None for another kind."""
    kind, _, rest = database.partition(":")
    return Path(rest) if kind == "sqlite" else None


@contextmanager
def alone(database: str) -> Iterator[None]:
    """Hold the database for this process. PostgreSQL needs no such thing: its writers take turns.

    Raises:
        BadConfig: another process holds it, or its folder cannot be written.
    """
    path = file_of(database)
    if path is None:
        yield
        return
    lock = path.with_name(path.name + ".lock")  # not the database itself: SQLite has locks of its own there
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise BadConfig(f"database {path}: its folder cannot be written: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            who = os.read(handle, 20).decode("ascii", "replace").strip()
            raise BadConfig(f"database {path}: process {who or '?'} works on it (a hub?); stop that first") from exc
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)

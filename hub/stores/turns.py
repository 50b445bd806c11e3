"""Who may use which connection: one writer at a time, readers from a small pool. The same for every SQL store."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

C = TypeVar("C")
"""A connection."""

IDLE_READERS = 8
"""Connections kept for the next reader; one more is opened when all are busy, and closed afterwards."""


class Turns(Generic[C]):
    """Hands out connections. `connect` makes one, `close` ends one."""

    def __init__(self, connect: Callable[[bool], C], close: Callable[[C], None]) -> None:
        self._connect, self._close = connect, close
        self._lock = threading.Lock()  # guards the writer: whoever holds it may write
        self._pool_lock = threading.Lock()
        self._writer: C | None = None
        self._idle: list[C] = []
        self._closed = False

    @contextmanager
    def writer(self) -> Iterator[C]:
        """The one connection for writing, made at first use."""
        with self._lock:
            if self._writer is None:
                self._writer = self._connect(True)
            yield self._writer

    def drop_writer(self) -> None:
        """Forget a connection that may be broken. Only by its holder."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._close(writer)

    @contextmanager
    def reader(self) -> Iterator[C]:
        """A connection for reading; it is not kept when the block raises."""
        with self._pool_lock:
            reader = self._idle.pop() if self._idle else None
        if reader is None:
            reader = self._connect(False)
        try:
            yield reader
        except BaseException:
            self._close(reader)
            raise
        with self._pool_lock:
            keep = len(self._idle) < IDLE_READERS and not self._closed
            if keep:
                self._idle.append(reader)
        if not keep:
            self._close(reader)

    def close(self) -> None:
        """End every connection that nobody uses; idempotent."""
        with self._pool_lock:
            idle, self._idle, self._closed = self._idle, [], True
        for reader in idle:
            self._close(reader)
        with self._lock:
            self.drop_writer()

"""What the hub needs from the outside, as Protocols. Each has one contract suite that every implementation inherits."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar

from hub.core.model import Push
from wire.errors import BadRequest

R = TypeVar("R")
"""A record class of hub.core.model."""
T = TypeVar("T")

Key = tuple[Any, ...]
"""A primary key: the values of the table's key columns, in order, `tenant` first."""

NewId = Callable[[], str]
"""Gives a fresh lower-case ULID; ids given later sort later."""


class Conflict(Exception):
    """A unique index refused a row: somebody else did it first. The savepoint it happened in is rolled back."""


class Busy(BadRequest):
    """The writer takes nothing more right now: come back in a moment."""


class Tx(Protocol):
    """One transaction. Lists in, lists out: at most one statement per call, whatever the length."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo everything inside when the block raises, and let the exception through."""

    def get(self, kind: type[R], keys: Sequence[Key]) -> list[R]:
        """The records with these primary keys; those that do not exist are left out; order is not defined."""

    def put(self, rows: Sequence[Any]) -> None:
        """Insert or replace by primary key. All rows of one class.

        Raises:
            Conflict: another unique index than the primary key refuses a row.
        """

    def insert(self, rows: Sequence[Any]) -> None:
        """Insert only.

        Raises:
            Conflict: the primary key or a unique index exists already.
        """

    def delete(self, kind: type[Any], keys: Sequence[Key]) -> int:
        """Delete by primary key; how many there were."""

    def find(
        self,
        kind: type[R],
        where: Mapping[str, Any],
        *,
        after: Key | None = None,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[R]:
        """Records whose columns equal `where`, in order of primary key, at most `limit`.

        A list or tuple as value means "one of"; None means null. `after` continues behind that primary key
        (in the direction of travel). `where` always holds `tenant`.
        """

    def count(self, kind: type[Any], where: Mapping[str, Any]) -> int:
        """How many records `find` would give without a limit."""

    def due(self, kind: type[R], column: str, now_ms: int, limit: int) -> list[R]:
        """Records with `column` <= now_ms (null never is), smallest first. `column` is an indexed deadline."""

    def swap(self, kind: type[Any], key: Key, expect: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """Compare and set: change the columns of one record iff it still is as expected; False if it is not.

        Values of `expect` as in `find`. Safe against every concurrent transaction of the same store.
        """

    def visits_near(self, keys: Sequence[tuple[str, str, str, int, int]]) -> list[Any]:
        """Visits of (tenant, profile, store) that overlap [from_ms, to_ms] (entered_at_ms to seen_at_ms)."""

    def take_pushes(self, tenant: str, now_ms: int, lease_until_ms: int, limit: int) -> list[Push]:
        """Lease waiting pushes whose due_at_ms <= now_ms: state leased, attempts + 1, due_at_ms = lease end.

        Two workers never get the same row. The records returned show the new values. Soonest expiry first.
        """

    def erase(self, tenant: str, profile: str) -> dict[str, int]:
        """Apply each table's erasure rule to one person; rows touched per table."""

    def expire(self, tenant: str, now_ms: int, limit: int) -> dict[str, int]:
        """Apply each table's retention rule, at most `limit` rows per table; rows removed per table."""

    def earliest(self, kind: type[Any], column: str) -> int | None:
        """The smallest non-null value of an indexed deadline column, or None."""

    def scan(self, tenant: str) -> Any:
        """Iterate over (table, row as dict of column → plain value) of every table. For audit and export."""


class Store(Protocol):
    """Durable state. Thread-safe: any thread may open a transaction; writers queue up behind one another."""

    def migrate(self) -> list[str]:
        """Bring the schema up to this program's version; names of the migrations applied.

        Raises:
            StoreFault: the schema is newer than this program.
        """

    def write(self) -> AbstractContextManager[Tx]:
        """One durable transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreFault: the store cannot begin or commit (disk full, connection gone).
        """

    def read(self) -> AbstractContextManager[Tx]:
        """A consistent snapshot for reading, beside the writer."""

    def close(self) -> None:
        """Release everything; idempotent."""


class Fate(StrEnum):
    """What became of one delivery."""

    DELIVERED = "delivered"
    TRY_LATER = "try_later"
    ADDRESS_GONE = "address_gone"
    REFUSED = "refused"


class Receipt(NamedTuple):
    """Answer of a channel. `after_ms` only with TRY_LATER: the provider's own wish, ms from now, or None."""

    fate: Fate
    detail: str = ""
    after_ms: int | None = None


class Channel(Protocol):
    """A way to reach a device."""

    async def deliver(self, push: Push, ttl_s: int) -> Receipt:
        """Send once. Never raises for what the far end does: a broken network is a Receipt."""

    async def close(self) -> None:
        """Release connections; idempotent."""


class Clock(Protocol):
    """The hub's only source of time."""

    def now_ms(self) -> int:
        """Unix ms, never decreasing within a process."""

    def pause_s(self, ms: int) -> float:
        """Real seconds that `ms` of this clock last; it may say less: look again then. Not negative."""

    def most_ms(self, real_s: float) -> int:
        """The most of this clock's ms that can pass in so many real seconds: what networks and disks live by."""

    def behind(self, ms: int) -> None:
        """Hear how late the work is, ms of this clock. Only a rehearsal that runs faster than the world cares."""


class Writer(Protocol):
    """Runs commands inside the group commit."""

    def submit(self, command: Callable[[Tx], T]) -> "Future[T]":
        """Run `command` in its own savepoint of the next group; done after the commit.

        Raises:
            Busy: the queue is full, or the store cannot commit (then perhaps by the future); the caller should answer
                503 with Retry-After.
        """


Notify = Callable[[Mapping[str, Any]], None]
"""Takes one event for the live stream after its commit; never blocks, drops the oldest when nobody reads."""

Publish = Callable[[str, bytes, bool], Awaitable[None]]
"""Publish (topic, payload, retain) with QoS 1; returns when the broker has it."""

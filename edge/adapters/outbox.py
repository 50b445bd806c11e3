"""The outbox as the agent uses it: on disk, and in memory while the disk takes nothing.

A card that is full, or has gone read-only, must not silence a shop: what happens then is kept in memory, within a
bound and with counted losses as on disk, and is sent from there. As soon as the disk takes it, all of it goes there in
one transaction. What only memory holds does not survive a power cut; `trouble` says so to whoever watches.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.adapters.spool import Boot, Limits, Spool, Totals
from edge.adapters.spool_file import DiskRefuses
from wire.messages import ClockStamp

MEMORY_BYTES = 4_000_000
"""Most that is kept in memory, bytes of JSON: about 13,000 events, 10 MB of a Pi's memory. Samples go first, so enters
and exits of a busy shop last for hours."""

RETRY_MS = 5_000
"""How often a disk that refused is tried again, ms."""

SETTLED_MAX = 100
"""Starts of which it is remembered that the hub holds them, until the disk deletes them. Others are sent once more."""

LOSS_REASON = "no_disk"
"""Reason of a loss while the disk took nothing and memory was full."""

log = logging.getLogger("edge")


class Outbox:
    """See the module; methods are those of `Spool`. One thread uses it at a time.

    `trouble` is why the disk takes nothing (disk_full, disk_read_only, disk_failing), empty while it does. `refusals`
    counts how often that began.

    Raises:
        StoreFault: from every method, when the file can never be used as things are, or cannot be read.
    """

    def __init__(self, path: Path, limits: Limits, memory_bytes: int = MEMORY_BYTES) -> None:
        self.trouble, self.refusals = "", 0
        self._open: Callable[[], Spool] = lambda: Spool(path, limits)
        self._memory_limits = Limits(min(memory_bytes, limits.max_bytes), limits.max_age_ms)
        self._disk: Spool | None = None
        self._memory: Spool | None = None  # holds what follows `_last_seq` of the time when it began
        self._settled: dict[str, int] = {}  # boot → what the hub holds, and the disk did not delete
        self._boot, self._begun = "", False
        self._last_seq = self._now_ms = self._retry_at_ms = 0
        with self._refusal_noted():
            self._disk = self._open()

    @property
    def corrupt(self) -> Path | None:
        """The damaged file that was moved aside, if any."""
        return None if self._disk is None else self._disk.corrupt

    def begin(self, boot: str, clock: ClockStamp, mono_ms: int) -> None:
        """See `Spool.begin`."""
        self._boot, self._now_ms, self._retry_at_ms = boot, mono_ms, mono_ms + RETRY_MS
        with self._refusal_noted():
            if self._disk is not None:
                self._disk.begin(boot, clock, mono_ms)
                self._begun = True
        if not self._begun:
            self._memory = self._flee(clock)

    def append(self, events: Sequence[dict[str, Any]], clock: ClockStamp, mono_ms: int) -> list[int]:
        """Number and keep events: durable when it returns, unless there is `trouble`."""
        self._now_ms = mono_ms
        seqs: list[int] = []
        if not self.trouble and self._disk is not None:
            with self._refusal_noted():
                seqs = self._disk.append(events, clock, mono_ms)
        if self.trouble:
            self._memory = self._memory or self._flee(clock)
            seqs = self._memory.append(events, clock, mono_ms)
        self._last_seq = seqs[-1] if seqs else self._last_seq
        return seqs

    def mend(self, mono_ms: int) -> bool:
        """Try a disk that refused again, when it is time; whether it has taken everything."""
        self._now_ms = mono_ms
        if not self.trouble or mono_ms < self._retry_at_ms:
            return False
        self._retry_at_ms = mono_ms + RETRY_MS
        return self._to_disk()

    def due_ms(self) -> int | None:
        """When `mend` will try again; None while there is no trouble."""
        return self._retry_at_ms if self.trouble else None

    def boots(self) -> list[Boot]:
        """See `Spool.boots`."""
        found = []
        for one in self._disk.boots() if self._disk is not None else []:
            oldest_seq = max(one.oldest_seq, self._settled.get(one.boot, 0) + 1)
            if oldest_seq <= one.last_seq or one.boot == self._boot:
                found.append(one._replace(oldest_seq=oldest_seq))
        if self._memory is None:
            return found
        (current,) = self._memory.boots()
        if found and found[-1].boot == self._boot:
            on_disk = found.pop()
            if on_disk.oldest_seq <= on_disk.last_seq:
                current = current._replace(oldest_seq=on_disk.oldest_seq)
        return [*found, current]

    def read(self, boot: str, after_seq: int, limit: int) -> list[dict[str, Any]]:
        """See `Spool.read`."""
        found: list[dict[str, Any]] = []
        if self._disk is not None:
            found = self._disk.read(boot, max(after_seq, self._settled.get(boot, 0)), limit)
        if self._memory is not None and len(found) < limit:
            found += self._memory.read(boot, after_seq, limit - len(found))
        return found

    def ack(self, boot: str, upto: int) -> int:
        """See `Spool.ack`. What the disk does not delete is hidden, and deleted later."""
        gone = 0 if self._memory is None else self._memory.ack(boot, upto)
        self._settled[boot] = max(upto, self._settled.get(boot, 0))
        if len(self._settled) > SETTLED_MAX:
            del self._settled[next(iter(self._settled))]
        if self._disk is not None:
            with self._refusal_noted():
                gone += self._delete_settled(self._disk)
        return gone

    def refuse(self, boot: str, seq: int) -> None:
        """See `Spool.refuse`. On a disk that takes nothing the event stays: the sender will come to it again."""
        if self._memory is not None:
            self._memory.refuse(boot, seq)
        if self._disk is not None:
            with self._refusal_noted():
                self._disk.refuse(boot, seq)

    def expire(self, mono_ms: int) -> bool:
        """See `Spool.expire`."""
        dropped = self._memory is not None and self._memory.expire(mono_ms)
        if self._disk is not None and not self.trouble:
            with self._refusal_noted():
                dropped = self._disk.expire(mono_ms) or dropped
        return dropped

    def totals(self, mono_ms: int) -> Totals:
        """See `Spool.totals`; of both places together."""
        parts = [one.totals(mono_ms) for one in self._places]
        sums = Totals(*map(sum, zip(*parts, strict=True)))
        return sums._replace(oldest_age_ms=max(one.oldest_age_ms for one in parts))

    @property
    def in_memory(self) -> int:
        """Rows that only memory holds."""
        return 0 if self._memory is None else self._memory.rows

    @property
    def fill(self) -> float:
        """Share of its limit that is taken, of the place that is fuller."""
        return max(one.fill for one in self._places)

    def close(self) -> None:
        """Release the file, after a last try to get everything into it."""
        if self.in_memory and not self._to_disk():
            log.error("events in memory are lost: the disk takes nothing", extra={"fields": {"events": self.in_memory}})
        for one in self._places:
            one.close()

    # -- between disk and memory -------------------------------------------------------------------------------

    @property
    def _places(self) -> list[Spool]:
        return [one for one in (self._disk, self._memory) if one is not None]

    @contextmanager
    def _refusal_noted(self) -> Iterator[None]:
        """A refusal inside the block begins, or goes on with, the trouble."""
        try:
            yield
        except DiskRefuses as exc:
            if not self.trouble:
                self.refusals += 1
                self._retry_at_ms = self._now_ms + RETRY_MS
                log.error("the disk takes nothing: events are kept in memory", extra={"fields": {"reason": str(exc)}})
            self.trouble = exc.reason

    def _flee(self, clock: ClockStamp) -> Spool:
        memory = Spool(None, self._memory_limits, LOSS_REASON)
        memory.begin(self._boot, clock, self._now_ms, self._last_seq)
        return memory

    def _to_disk(self) -> bool:
        """Everything that waits for the disk goes there, or nothing changes."""
        moved, done = 0, False
        with self._refusal_noted():
            if self._disk is None:
                self._disk = self._open()
            self._delete_settled(self._disk)
            if self._memory is not None:
                if not self._begun:
                    (current,) = self._memory.boots()
                    self._disk.begin(self._boot, current.clock, self._now_ms)
                    self._begun = True
                moved = self._disk.take_over(self._memory)
            done = True
        if done:
            if self._memory is not None:
                self._memory.close()
            self._memory, self.trouble = None, ""
            log.info("the disk takes events again", extra={"fields": {"events": moved}})
        return done

    def _delete_settled(self, disk: Spool) -> int:
        gone = 0
        for boot, upto in list(self._settled.items()):
            gone += disk.ack(boot, upto)
            del self._settled[boot]
        return gone

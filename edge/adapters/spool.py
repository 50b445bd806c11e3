"""The outbox in SQLite: WAL, `synchronous=FULL`. Events leave it only on the hub's word, or as a counted loss.

Synchronous; one thread uses it at a time. A file that SQLite cannot read is moved aside and a new one begun.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edge.adapters.spool_file import faults, open_file, open_memory
from edge.core.clock import keep
from edge.core.outbox import DROP_SHARE, EVERYTHING, SAMPLES, Drop, Row, as_lost, counts_of, plan, plan_all
from wire.messages import ClockStamp

ROW_OVERHEAD = 48
"""Bytes a row takes beside its JSON, about: key, index entry, page fill."""

AGE_SLACK_MS = 60_000
"""How far beyond the age limit before anything is dropped, ms: not one row with every event, nor a write each look."""

SCAN_ROWS = 20_000
"""Rows looked at in one decision what to drop: bounds memory and the time writing waits; the next goes on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, in bytes, and how long, in ms."""

    max_bytes: int
    max_age_ms: int


class Boot(NamedTuple):
    """What is held of one boot; `oldest_seq` is `last_seq` + 1 when nothing is."""

    boot: str
    clock: ClockStamp
    oldest_seq: int
    last_seq: int


class Totals(NamedTuple):
    """Counts of this file, over all boots ever; `rows`, `bytes` and `oldest_age_ms` of what is held now."""

    rows: int
    bytes: int
    oldest_age_ms: int
    published: int
    lost: int
    samples_dropped: int


class Spool:
    """See the module. `corrupt` names the file that had to be moved aside, if any.

    Age is counted in running time: boot-clock ms of every start added up. Wall time may step and never decides.
    Without a path it is kept in memory. `overflow` is the reason of losses for want of room.

    Raises:
        DiskRefuses: from every method, when the disk cannot be written or read.
        StoreFault: from every method, when the file cannot be used.
    """

    def __init__(self, path: Path | None, limits: Limits, overflow: str = "overflow") -> None:
        self.corrupt: Path | None = None
        self._path, self._limits, self._overflow = path, limits, overflow
        self._boot_no = self._base_ms = self._ran_ms = self._noted_ms = 0
        self._rows = self._bytes = self._published = self._lost = self._samples_dropped = 0
        if path is None:
            self._db = open_memory()
        else:
            self._db, self.corrupt = open_file(path)
        self._load_state()

    def begin(self, boot: str, clock: ClockStamp, mono_ms: int, last_seq: int = 0) -> None:
        """A new start of the agent, at boot-clock `mono_ms`: its events are numbered from `last_seq` + 1."""
        base_ms = self._ran_ms - mono_ms
        with self._change():
            self._boot_no = self._db.execute("SELECT coalesce(max(no), 0) + 1 FROM boot").fetchone()[0]
            values = (self._boot_no, boot, clock.model_dump_json(), last_seq)
            self._db.execute("INSERT INTO boot VALUES (?, ?, ?, ?)", values)
            self._forget_empty_boots()
        self._base_ms = base_ms

    def append(self, events: Sequence[dict[str, Any]], clock: ClockStamp, mono_ms: int) -> list[int]:
        """Number and keep events of the current boot; durable when it returns. Drops what no longer fits."""
        self._ran_ms = max(self._ran_ms, self._base_ms + mono_ms)
        with self._change():
            last_seq, old = self._db.execute(
                "SELECT last_seq, clock FROM boot WHERE no = ?", (self._boot_no,)
            ).fetchone()
            clock = keep(ClockStamp.model_validate_json(old), clock)
            seqs = []
            for event in events:
                last_seq += 1
                seqs.append(last_seq)
                self._insert(self._boot_no, {"seq": last_seq, **event}, self._ran_ms)
            self._published += len(seqs)
            self._db.execute(
                "UPDATE boot SET last_seq = ?, clock = ? WHERE no = ?",
                (last_seq, clock.model_dump_json(), self._boot_no),
            )
            self._enforce()
        return seqs

    def expire(self, mono_ms: int) -> bool:
        """Drop what has waited too long although nothing is appended; whether anything was. Cheap: call it often."""
        self._ran_ms = max(self._ran_ms, self._base_ms + mono_ms)
        if not self._rows or self._ran_ms < self._noted_ms + AGE_SLACK_MS:
            return False
        before = self._lost
        with self._change():  # also notes the running time: or what waits over many short starts would never grow old
            self._drop_old()
        return self._lost > before

    def take_over(self, other: "Spool") -> int:
        """Append all that `other` holds of this boot, numbers and all, in one transaction; how many rows.

        `other` has one boot, which began there with the number that this one had reached. Close it afterwards.
        """
        found = other._db.execute("SELECT body, ran_ms FROM event ORDER BY seq").fetchall()
        last_seq, clock = other._db.execute("SELECT last_seq, clock FROM boot").fetchone()
        shift_ms = self._base_ms - other._base_ms
        with self._change():
            for place, (body, ran_ms) in enumerate(found):
                event = json.loads(body)
                self._insert(self._boot_no, event, ran_ms + shift_ms)
                if place == 0 and event["kind"] == "lost":  # it may touch a loss of ours
                    self._apply(
                        Drop(self._boot_no, event["first_seq"], event["seq"], counts_of(event)), event["reason"]
                    )
            self._db.execute("UPDATE boot SET last_seq = ?, clock = ? WHERE no = ?", (last_seq, clock, self._boot_no))
            self._published += other._published
            self._lost += other._lost
            self._samples_dropped += other._samples_dropped
            self._enforce()
        return len(found)

    def boots(self) -> list[Boot]:
        """Boots of which something is held, oldest first; the current one always, and last."""
        with self._faults():
            found = self._db.execute(
                "SELECT b.boot, b.clock, (SELECT first_seq FROM event e WHERE e.boot_no = b.no ORDER BY seq LIMIT 1), "
                "b.last_seq, b.no FROM boot b ORDER BY b.no"
            ).fetchall()
        return [
            Boot(boot, ClockStamp.model_validate_json(clock), last_seq + 1 if oldest is None else oldest, last_seq)
            for boot, clock, oldest, last_seq, no in found
            if oldest is not None or no == self._boot_no
        ]

    def read(self, boot: str, after_seq: int, limit: int) -> list[dict[str, Any]]:
        """Events of a boot behind `after_seq`, in order."""
        with self._faults():
            found = self._db.execute(
                "SELECT body FROM event WHERE boot_no = (SELECT no FROM boot WHERE boot = ?) AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (boot, after_seq, limit),
            ).fetchall()
        return [json.loads(row[0]) for row in found]

    def ack(self, boot: str, upto: int) -> int:
        """The hub holds everything up to `upto`: delete it; how many rows went."""
        with self._faults():
            gone = self._db.execute(
                "SELECT count(*), coalesce(sum(size), 0), b.no FROM boot b JOIN event e ON e.boot_no = b.no "
                "WHERE b.boot = ? AND e.seq <= ? GROUP BY b.no",
                (boot, upto),
            ).fetchone()
        if gone is None:
            return 0
        count, size, boot_no = gone
        with self._change():
            self._db.execute("DELETE FROM event WHERE boot_no = ? AND seq <= ?", (boot_no, upto))
            self._rows -= count
            self._bytes -= size
            self._forget_empty_boots()
        return int(count)

    def refuse(self, boot: str, seq: int) -> None:
        """Replace one event by a loss: the hub will not take it."""
        with self._change():
            rows = self._rows_between(boot, seq - 1, seq + 1)
            mine = [row for row in rows if row.first_seq <= seq <= row.seq]
            if not mine or mine[0].kind == "lost":
                return
            near = [row for row in rows if row.kind == "lost" or row is mine[0]]
            for drop in plan_all(near):
                if drop.first_seq <= seq <= drop.seq:
                    self._apply(drop, "refused")

    def totals(self, mono_ms: int) -> Totals:
        """Counts, and the age of the oldest row in running time."""
        with self._faults():
            oldest = self._db.execute("SELECT ran_ms FROM event ORDER BY boot_no, seq LIMIT 1").fetchone()
        age_ms = max(0, self._base_ms + mono_ms - oldest[0]) if oldest else 0
        return Totals(self._rows, self._bytes, age_ms, self._published, self._lost, self._samples_dropped)

    @property
    def rows(self) -> int:
        """How many rows are held."""
        return self._rows

    @property
    def fill(self) -> float:
        """Share of the byte limit that is taken."""
        return self._bytes / self._limits.max_bytes

    def close(self) -> None:
        """Release the file; idempotent."""
        self._db.close()

    # -- dropping ----------------------------------------------------------------------------------------------

    def _enforce(self) -> None:
        self._drop_old()
        limit = self._limits.max_bytes
        while self._bytes > limit:
            need, before = self._bytes - limit + int(DROP_SHARE * limit), self._bytes
            for drop in plan(self._rows_from(self._first_sample()), need, SAMPLES):
                self._apply(drop, self._overflow)
            if self._bytes >= before:  # no samples are left, or what they would leave takes as much
                for drop in plan(self._rows_from((0, 0)), need, EVERYTHING):
                    self._apply(drop, self._overflow)
            if self._bytes >= before:
                return  # nothing but losses is left: they stay

    def _drop_old(self) -> None:
        limit_ms = self._ran_ms - self._limits.max_age_ms
        oldest = self._db.execute(
            "SELECT ran_ms FROM event WHERE kind <> 'lost' ORDER BY boot_no, seq LIMIT 1"
        ).fetchone()
        if oldest is None or oldest[0] >= limit_ms - AGE_SLACK_MS:
            return
        old = [row for row, ran_ms in self._rows_and_ages((0, 0)) if ran_ms < limit_ms]
        for drop in plan_all(old):
            self._apply(drop, "age")

    def _first_sample(self) -> tuple[int, int]:
        """Where to begin to look for samples: one before the oldest, which may be a loss to join."""
        found = self._db.execute(
            "SELECT boot_no, seq - 1 FROM event WHERE kind = 'sample' ORDER BY boot_no, seq LIMIT 1"
        ).fetchone()
        return (0, 0) if found is None else (found[0], found[1])

    def _rows_from(self, place: tuple[int, int]) -> list[Row]:
        return [row for row, _ in self._rows_and_ages(place)]

    def _rows_and_ages(self, place: tuple[int, int]) -> list[tuple[Row, int]]:
        found = self._db.execute(
            "SELECT boot_no, seq, first_seq, kind, size, samples, enters, exits, ran_ms FROM event "
            "WHERE (boot_no, seq) >= (?, ?) ORDER BY boot_no, seq LIMIT ?",
            (*place, SCAN_ROWS),
        ).fetchall()
        return [(_row(one[:-1]), one[-1]) for one in found]

    def _rows_between(self, boot: str, low: int, high: int) -> list[Row]:
        """The rows that touch `low … high` of a boot."""
        found = self._db.execute(
            "SELECT boot_no, seq, first_seq, kind, size, samples, enters, exits FROM event "
            "WHERE boot_no = (SELECT no FROM boot WHERE boot = ?) AND seq >= ? AND first_seq <= ? ORDER BY seq LIMIT 3",
            (boot, low, high),
        ).fetchall()
        return [_row(one) for one in found]

    def _apply(self, drop: Drop, reason: str) -> None:
        """Replace a range, and the losses that touch it, by one loss. What was lost before is counted once."""
        drop = self._widened(drop)
        rows = self._db.execute(
            "SELECT count(*), sum(size), max(ran_ms), sum(kind = 'sample'), "
            "sum(CASE WHEN kind = 'lost' THEN seq - first_seq + 1 ELSE 0 END) "
            "FROM event WHERE boot_no = ? AND seq BETWEEN ? AND ?",
            (drop.boot_no, drop.first_seq, drop.seq),
        ).fetchone()
        count, size, ran_ms, samples, lost_before = rows
        self._db.execute(
            "DELETE FROM event WHERE boot_no = ? AND seq BETWEEN ? AND ?", (drop.boot_no, drop.first_seq, drop.seq)
        )
        self._rows -= count
        self._bytes -= size
        self._lost += drop.seq - drop.first_seq + 1 - lost_before
        self._samples_dropped += samples
        self._insert(drop.boot_no, as_lost(drop, reason), ran_ms)

    def _widened(self, drop: Drop) -> Drop:
        """With the losses right before and behind, which whoever planned the drop need not have looked at."""
        before = self._db.execute(
            "SELECT first_seq, seq, samples, enters, exits FROM event WHERE boot_no = ? AND seq = ? AND kind = 'lost'",
            (drop.boot_no, drop.first_seq - 1),
        ).fetchone()
        behind = self._db.execute(
            "SELECT first_seq, seq, samples, enters, exits, kind FROM event "
            "WHERE boot_no = ? AND seq > ? ORDER BY seq LIMIT 1",
            (drop.boot_no, drop.seq),
        ).fetchone()
        near = [one for one in (before, behind) if one is not None and (one is before or one[5] == "lost")]
        first_seq = min([drop.first_seq, *(one[0] for one in near)])
        seq = max([drop.seq, *(one[1] for one in near)])
        samples, enters, exits = (own + sum(one[2 + n] for one in near) for n, own in enumerate(drop.counts))
        return Drop(drop.boot_no, first_seq, seq, (samples, enters, exits))

    def _insert(self, boot_no: int, event: dict[str, Any], ran_ms: int) -> None:
        body = json.dumps(event, separators=(",", ":"))
        size = len(body) + ROW_OVERHEAD
        counts = counts_of(event)
        self._db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (boot_no, event["seq"], event.get("first_seq", event["seq"]), event["kind"], size, *counts, ran_ms, body),
        )
        self._rows += 1
        self._bytes += size

    def _forget_empty_boots(self) -> None:
        self._db.execute(
            "DELETE FROM boot WHERE no <> ? AND NOT EXISTS (SELECT 1 FROM event WHERE boot_no = no)", (self._boot_no,)
        )

    # -- the file ----------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One durable transaction; running totals go with it, or back with it."""
        before = (self._rows, self._bytes, self._published, self._lost, self._samples_dropped)
        try:
            with self._faults():
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute(
                    "UPDATE state SET rows = ?, bytes = ?, published = ?, lost = ?, samples_dropped = ?, ran_ms = ?",
                    (self._rows, self._bytes, self._published, self._lost, self._samples_dropped, self._ran_ms),
                )
                self._db.execute("COMMIT")
                self._noted_ms = self._ran_ms
        except BaseException:
            self._rows, self._bytes, self._published, self._lost, self._samples_dropped = before
            with self._faults():
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise

    def _faults(self) -> AbstractContextManager[None]:
        return faults(self._path)

    def _load_state(self) -> None:
        with self._faults():
            found = self._db.execute(
                "SELECT rows, bytes, published, lost, samples_dropped, ran_ms FROM state"
            ).fetchone()
        self._rows, self._bytes, self._published, self._lost, self._samples_dropped, self._ran_ms = found


def _row(values: Sequence[Any]) -> Row:
    boot_no, seq, first_seq, kind, size, samples, enters, exits = values
    return Row(boot_no, seq, first_seq, kind, size, (samples, enters, exits))

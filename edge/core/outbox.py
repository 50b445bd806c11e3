"""What to drop when the outbox is full: samples first and oldest first, then the rest; each run leaves one `lost`.

A `lost` event covers a contiguous range of one boot, so kept events between dropped ones split the loss. That is the
price of keeping them, until the losses themselves would fill the outbox: then everything in between goes too.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from edge.core.presence import Fact
from wire.ibeacon import format_uuid

DROP_SHARE = 0.10
"""Dropped at once, as a share of the limit: so that a full outbox drops rarely, not with every event."""

LOST_BYTES = 160
"""Room that one `lost` row takes, about; what a dropped run must exceed to be worth it."""

COUNTED = ("samples", "enters", "exits")

_COUNT_OF = {"sample": "samples", "enter": "enters", "exit": "exits", "unknown": "exits"}
"""Where each kind is counted in a `lost`; `unknown` ends a certainty, as an exit does."""


SPARING = ((0.25, 1), (0.50, 2), (0.75, 5))
"""Fill of the outbox up to which samples come this many times more rarely; beyond the last, SPAREST times."""

SPAREST = 10
"""At 1 s this is 10 s: still several samples per stay in a zone."""


def sample_interval_ms(base_ms: int, fill: float) -> int:
    """The sample interval under back-pressure, ms; `fill` is the share of the outbox that is taken, 0…1 and beyond."""
    return base_ms * next((factor for limit, factor in SPARING if fill <= limit), SPAREST)


def as_event(fact: Fact) -> dict[str, Any]:
    """A fact as the outbox keeps it and the wire carries it, without its sequence number."""
    key = fact.key
    return {
        "kind": fact.kind,
        "beacon": {
            "uuid": format_uuid(key[:16]),
            "major": int.from_bytes(key[16:18], "big"),
            "minor": int.from_bytes(key[18:20], "big"),
        },
        **{name: value for name, value in fact._asdict().items() if name not in ("kind", "key")},
    }


class Row(NamedTuple):
    """One row of the outbox. `counts`: samples, enters, exits it stands for."""

    boot_no: int
    seq: int
    first_seq: int
    kind: str
    size: int
    counts: tuple[int, int, int]


class Drop(NamedTuple):
    """Replace the rows `first_seq … seq` of a boot by one `lost` with these counts."""

    boot_no: int
    first_seq: int
    seq: int
    counts: tuple[int, int, int]


def counts_of(event: dict[str, Any]) -> tuple[int, int, int]:
    """Samples, enters and exits that one event stands for."""
    kind = event["kind"]
    if kind == "lost":
        return event["samples"], event["enters"], event["exits"]
    name = _COUNT_OF[kind]
    return int(name == "samples"), int(name == "enters"), int(name == "exits")


def as_lost(drop: Drop, reason: str) -> dict[str, Any]:
    """The event that stands for a drop."""
    return {
        "seq": drop.seq,
        "kind": "lost",
        "first_seq": drop.first_seq,
        **dict(zip(COUNTED, drop.counts, strict=True)),
        "reason": reason,
    }


SAMPLES = frozenset({"sample"})
EVERYTHING = frozenset({"sample", "enter", "exit", "unknown"})
"""Kinds to choose from: samples first; the rest only when no sample is left."""


def plan(rows: Sequence[Row], need_bytes: int, kinds: frozenset[str]) -> list[Drop]:
    """What to drop so that about `need_bytes` become free, oldest first, as merged runs.

    `rows` are in order of boot and sequence. Rows that are `lost` already join a neighbouring run and cost nothing.
    """
    return _runs(rows, _choose(rows, need_bytes, kinds))


def plan_all(rows: Iterable[Row]) -> list[Drop]:
    """Drop all of these, whatever they are (too old). A loss with nothing to drop beside it keeps its reason."""
    found = list(rows)
    return _runs(found, {place for place, row in enumerate(found) if row.kind != "lost"})


def _choose(rows: Sequence[Row], need_bytes: int, kinds: frozenset[str]) -> set[int]:
    chosen: set[int] = set()
    freed = 0
    for place, row in enumerate(rows):
        if freed >= need_bytes:
            break
        if row.kind in kinds:
            chosen.add(place)
            joined = place - 1 in chosen and rows[place - 1].boot_no == row.boot_no
            before = place > 0 and rows[place - 1].kind == "lost" and rows[place - 1].boot_no == row.boot_no
            freed += row.size - (0 if joined or before else LOST_BYTES)
    return chosen


def _runs(rows: Sequence[Row], chosen: set[int]) -> list[Drop]:
    """Chosen rows, and the losses beside them, as contiguous ranges. Ranges without a chosen row are left alone."""
    drops: list[Drop] = []
    run: list[int] = []

    def close() -> None:
        if any(place in chosen for place in run):
            sums = [sum(rows[place].counts[i] for place in run) for i in range(3)]
            first, last = rows[run[0]], rows[run[-1]]
            drops.append(Drop(first.boot_no, first.first_seq, last.seq, (sums[0], sums[1], sums[2])))
        run.clear()

    for place, row in enumerate(rows):
        if place not in chosen and row.kind != "lost":
            close()
            continue
        if run and (rows[run[-1]].boot_no != row.boot_no or rows[run[-1]].seq + 1 != row.first_seq):
            close()
        run.append(place)
    close()
    return drops

"""When did it happen? Boot-clock stamps of an edge → Unix ms of the hub, with an error bound.

The true offset of one boot never changes (CLOCK_BOOTTIME runs on), so an offset is learnt once and then defended:

* nothing is heard before it was sent: offset ≤ received − sent_mono for every message; the smallest such difference
  is the *bound*. A claim above it lies in the future and is refused.
* a synchronised edge's claim below the bound is believed (the message waited somewhere), unless it would make the
  message older than any queue of ours can be.
* of two claims that both satisfy the bound, the later time is the truer: a step of the edge's wall clock backwards
  is ignored, a correction forwards is taken.
* an edge without a synchronised clock is dated by the bound itself.
"""

from dataclasses import replace
from typing import NamedTuple

from hub.core.model import EdgeBoot
from wire.messages import ClockStamp

RECEIPT_ERROR_MS = 2_000
"""Error assumed when dating by receipt, ms: edge batching (≤ 1 s) plus a slow broker hop."""

MAX_QUEUED_MS = 7 * 86_400_000
"""Oldest a live message can be, ms: the session expiry of the shipped broker configuration. Older claims are wrong."""

SLEW_MS = 2_000
"""Largest change of the claimed offset taken as discipline of the same clock, ms; more is a step."""

UNKNOWN_ERROR_MS = 86_400_000
"""Error stated for events of a boot whose clock nobody can tell, ms. They are late in any case and never push."""


class Instant(NamedTuple):
    """An event's time: Unix ms, its error bound, and how it was found (synced | receipt | unknown)."""

    at_ms: int
    error_ms: int
    source: str


def learn_offset(
    row: EdgeBoot, claim: ClockStamp, sent_mono_ms: int | None, latest_mono_ms: int, received_at_ms: int
) -> EdgeBoot:
    """`row` with what this message teaches about the offset of its boot.

    `latest_mono_ms` is the latest stamp of its events. `sent_mono_ms` is None when they are of an earlier boot: then
    there is no bound to learn, only that nothing in it can have happened after it was received.
    """
    bound_ms = row.offset_bound_ms
    present_ms = received_at_ms - latest_mono_ms
    if sent_mono_ms is not None:
        fresh_ms = received_at_ms - sent_mono_ms
        bound_ms = fresh_ms if bound_ms is None else min(bound_ms, fresh_ms)
    offset_ms, error_ms, source = row.offset_ms, row.offset_error_ms, row.offset_source
    if claim.synced and claim.offset_ms <= present_ms + claim.error_ms and _plausible(claim, bound_ms):
        if source != "synced" or offset_ms is None:
            offset_ms, error_ms, source = claim.offset_ms, claim.error_ms, "synced"
        elif abs(claim.offset_ms - offset_ms) <= SLEW_MS or claim.offset_ms > offset_ms:
            offset_ms, error_ms = claim.offset_ms, claim.error_ms
    if source != "synced" and bound_ms is not None:
        offset_ms, error_ms, source = bound_ms, RECEIPT_ERROR_MS, "receipt"
    if (bound_ms, offset_ms, error_ms, source) == (
        row.offset_bound_ms,
        row.offset_ms,
        row.offset_error_ms,
        row.offset_source,
    ):
        return row
    return replace(row, offset_bound_ms=bound_ms, offset_ms=offset_ms, offset_error_ms=error_ms, offset_source=source)


def _plausible(claim: ClockStamp, bound_ms: int | None) -> bool:
    if bound_ms is None:
        return True
    return bound_ms - MAX_QUEUED_MS <= claim.offset_ms <= bound_ms + claim.error_ms


def instant(row: EdgeBoot, mono_ms: int, received_at_ms: int) -> Instant:
    """Unix time of a boot-clock stamp; never after its receipt."""
    if row.offset_ms is None:
        return Instant(received_at_ms, UNKNOWN_ERROR_MS, "unknown")
    return Instant(min(mono_ms + row.offset_ms, received_at_ms), row.offset_error_ms, row.offset_source)

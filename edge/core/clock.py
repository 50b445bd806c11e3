"""Which statement about wall time to keep for a boot. The true offset of one boot never changes; statements do."""

from wire.messages import ClockStamp

SLEW_MS = 2_000
"""Largest change taken as discipline of the same clock, ms; more is a step. The hub judges by the same limit."""


def keep(old: ClockStamp, new: ClockStamp) -> ClockStamp:
    """The better of two statements of one boot, the later given second.

    Whoever sets a clock by hand makes the kernel call it unsynchronised, so that never replaces a synchronised one. A
    synchronised step backwards is not believed either: nothing can have happened before it happened.
    """
    if old.synced and not new.synced:
        return old
    if old.synced and new.offset_ms < old.offset_ms - SLEW_MS:
        return old
    return new

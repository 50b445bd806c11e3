"""Which events of a message are new? `(edge, boot, seq)` names an event for ever; only contiguous ones are taken.

seq ≤ upto                      a repeat: counted, ignored
seq = upto + 1, or a `lost`
range that touches upto + 1     taken, upto moves
beyond a gap                    not taken: the answer is `upto`, the edge rewinds
oldest_seq > upto + 1           the edge no longer has what is missing: jump, and record the loss exactly
"""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from hub.core.model import EdgeBoot
from wire.messages import LostEvent, PresenceEvent, Read

UNKNOWN_COUNT = -1
"""Stands for "not known" in a loss whose kinds nobody counted."""


class LossRange(NamedTuple):
    """Sequences `first_seq … seq`, lost for good; counts by kind, or UNKNOWN_COUNT each."""

    first_seq: int
    seq: int
    samples: int
    enters: int
    exits: int
    reason: str


class BadEvent(NamedTuple):
    """An event that did not validate but has a sequence."""

    seq: int
    raw: dict[str, Any]
    reason: str


@dataclass(slots=True)
class Taken:
    """What a message brought: `upto` after it, new events in order, losses, bad events, and counts."""

    upto: int
    events: list[PresenceEvent] = field(default_factory=list)
    losses: list[LossRange] = field(default_factory=list)
    bad: list[BadEvent] = field(default_factory=list)
    unread: int = 0
    duplicates: int = 0
    gap: bool = False

    @property
    def lost(self) -> int:
        """How many sequences were lost."""
        return sum(loss.seq - loss.first_seq + 1 for loss in self.losses)


def take(upto: int, own: bool, read: Read) -> Taken:
    """Take what is new beyond `upto`; `own` is whether this process has had the boot from its first event on, whole.

    An edge deletes on a hub's word only, and says what it drops. So a jump means that another life of the hub had
    acknowledged what is missing, and its commits are gone: `hub_restored`. Only if there was no other life (`own`) is
    it the edge that forgot: `edge_forgot`.
    """
    message = read.message
    taken = Taken(upto)
    if message.oldest_seq > upto + 1:
        reason = "edge_forgot" if own else "hub_restored"
        unknown = (UNKNOWN_COUNT, UNKNOWN_COUNT, UNKNOWN_COUNT)
        taken.losses.append(LossRange(upto + 1, message.oldest_seq - 1, *unknown, reason))
        taken.upto = message.oldest_seq - 1
    bad = {seq: BadEvent(seq, raw, reason) for seq, raw, reason in read.bad}
    items: list[Any] = [*message.events, *bad.values()]
    items.sort(key=attrgetter("seq"))
    upto, events = taken.upto, taken.events
    for item in items:
        seq = item.seq
        if seq <= upto:
            taken.duplicates += 1
            continue
        first_seq = min(item.first_seq, seq) if isinstance(item, LostEvent) else seq
        if first_seq > upto + 1:
            taken.gap = True
            break
        if isinstance(item, PresenceEvent):
            events.append(item)
        elif isinstance(item, LostEvent):
            whole = first_seq == upto + 1
            counts = (item.samples, item.enters, item.exits) if whole else (UNKNOWN_COUNT,) * 3
            taken.losses.append(LossRange(upto + 1, seq, *counts, item.reason))
        elif isinstance(item, BadEvent):
            taken.bad.append(item)
        else:
            taken.unread += 1
        upto = seq
    taken.upto = upto
    return taken


def accounted(row: EdgeBoot) -> bool:
    """Whether every sequence up to the watermark stands in exactly one of the row's accounts."""
    parts = (row.committed, row.consent_refused, row.identity_refused, row.quarantined, row.lost)
    return min(parts) >= 0 and row.upto == sum(parts)

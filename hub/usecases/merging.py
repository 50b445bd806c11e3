"""What merging visits does to the store: rows in zones move over, the merged row stays as a part, watchers are told."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hub.core import visits
from hub.core.merging import part, root
from hub.core.model import Visit, ZoneStay
from hub.core.states import OPEN_VISIT
from hub.core.visits import Draft
from hub.ports import Tx

OTHERS_MAX = 100_000
"""Most open visits read for one group, as for any table."""


def end_others(tx: Tx, tenant: str, drafts: dict[str, Draft], zone_of: dict[str, str | None]) -> None:
    """Whoever comes again has left before: close what the same person has open in the same store from long ago.

    Adds to `drafts`. Such visits are rare, and too old to be near: late news had opened them again. Reads only when
    a visit is new.
    """
    fresh = sorted((one for one in drafts.values() if is_new(one)), key=lambda one: one.entered_at_ms)
    opened = {(one.profile, one.store): one for one in fresh}
    if not opened:
        return
    people = sorted({profile for profile, _ in opened})
    for row in tx.find(Visit, {"tenant": tenant, "profile": people, "state": OPEN_VISIT}, limit=OTHERS_MAX):
        new = opened.get((row.profile, row.store))
        if new is not None and row.visit not in drafts and row.seen_at_ms < new.entered_at_ms:
            old = drafts[row.visit] = visits.load(row, zone_of)
            visits.close(old)


def is_new(draft: Draft) -> bool:
    """Whether this visit will be stored for the first time."""
    return draft.before is None and draft.into is None


def rows(drafts: Iterable[Draft]) -> list[Visit]:
    """What to save: visits, and of a stored one that went into another what is left."""
    found = []
    for draft in drafts:
        if draft.into is None:
            found.append(visits.freeze(draft))
        elif draft.before is not None:
            found.append(part(draft))
    return found


def carry_over(tx: Tx, tenant: str, drafts: Iterable[Draft]) -> list[ZoneStay]:
    """The stays of stored visits that went into others, under their new visit and no longer under the old."""
    into = {draft.visit: root(draft).visit for draft in drafts if draft.into is not None}
    if not into:
        return []
    stays: list[ZoneStay] = tx.find(ZoneStay, {"tenant": tenant, "visit": sorted(into)}, limit=OTHERS_MAX)
    tx.delete(ZoneStay, [(stay.tenant, stay.visit, stay.entered_at_ms) for stay in stays])
    return [replace(stay, visit=into[stay.visit]) for stay in stays]


def merge_notes(drafts: Iterable[Draft]) -> list[dict[str, Any]]:
    """For watchers: which visit went into which, and how that one stands now."""
    notes: list[dict[str, Any]] = []
    for draft in drafts:
        if draft.into is not None:
            kept = root(draft)
            gone = {"type": "visit", "visit": draft.visit, "store": draft.store, "state": "merged", "into": kept.visit}
            now = {"type": "visit", "visit": kept.visit, "store": kept.store, "state": kept.state.value}
            notes += [gone, now] if draft.before is not None else [now]
    return notes

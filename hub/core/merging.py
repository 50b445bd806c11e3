"""Visits that turn out to be one: news from an edge that was offline fills the gap between them.

Of one person in one store at most the last visit is open, and no two lie within the grace of each other. An
observation that breaks this mends it at once (`tidy`):

    within the grace of each other    one goes on under its id, with everything both know; a visit that was stored
                                      under another id stays as a row in the state `merged`, with the span it had
    followed by another, still open   closed: who came again later has left before

A merged visit needs no pointer: it is a part of the visit of the same person and store that covers it. Grants and
decisions go on naming the visit they were made in, so each was still the only offer of what was a visit then; offers
fired and pushes made count for the whole from now on.
"""

from dataclasses import replace
from typing import Any

from hub.core import visits
from hub.core.model import Visit
from hub.core.states import VisitState
from hub.core.visits import Draft, Inside, Observation


def belonging(drafts: list[Draft], seen: Observation, grace_ms: int) -> Draft | None:
    """The visit that an observation belongs to; `drafts` are one person's in one store, in order of entry.

    Between two visits it belongs to the one in which this edge has let the person in, so that its word counts there;
    else to the later.
    """
    near = [draft for draft in drafts if visits.joins(draft, seen.at_ms, grace_ms)]
    if len(near) > 1:
        for draft in near:
            said = draft.edges.get(seen.source)
            if said is not None and said[0] in (Inside.IN, Inside.UNKNOWN):
                return draft
    return near[-1] if near else None


def tidy(drafts: list[Draft], received_at_ms: int, grace_ms: int) -> list[Draft]:
    """Merge and close what must be, in place; `drafts` are one person's in one store, in any order.

    Returns every draft that changed; one that went into another has `into` set and is no longer in `drafts`.
    """
    changed = []
    drafts.sort(key=lambda draft: draft.entered_at_ms)
    place = 0
    while place + 1 < len(drafts):
        early, late = drafts[place : place + 2]
        if late.entered_at_ms - early.seen_at_ms > grace_ms:
            place += 1
            continue
        drafts[place : place + 2] = [_merge(early, late, received_at_ms, grace_ms)]
        changed += [early, late]
    for draft in drafts[:-1]:
        if draft.state != VisitState.CLOSED:
            visits.close(draft)
            changed.append(draft)
    return changed


def root(draft: Draft) -> Draft:
    """The visit that this one has become part of; itself if none."""
    while draft.into is not None:
        draft = draft.into
    return draft


def part(draft: Draft) -> Visit:
    """The row to keep of a stored visit that went into another: its span, what it led to, and nothing else."""
    return replace(
        visits.freeze(draft),
        state=VisitState.MERGED,
        left_at_ms=draft.seen_at_ms,
        deadline_ms=None,
        zone=None,
        zone_since_ms=None,
        rival=None,
        rival_since_ms=None,
        edges={},
    )


def _merge(early: Draft, late: Draft, received_at_ms: int, grace_ms: int) -> Draft:
    """Make one of two; the earlier goes on, unless only the later was ever stored. Returns the one that goes on."""
    kept, gone = (late, early) if early.before is None and late.before is not None else (early, late)
    place = early.place
    if late.place.zone is not None:
        visits.end_stay(early, late.entered_at_ms)
        place = late.place
    gone.into = kept
    edges, held_at_ms = _words(early, late)
    heard = early.heard | {
        edge: one for edge, one in late.heard.items() if edge not in early.heard or one.at_ms >= early.heard[edge].at_ms
    }
    opened = (early.entered_at_ms, early.entered_error_ms, early.opened_by)
    kept.stays, gone.stays = [replace(stay, visit=kept.visit) for stay in (*early.stays, *late.stays)], []
    kept.fired = list(dict.fromkeys((*early.fired, *late.fired)))
    kept.pushes = early.pushes + late.pushes
    kept.seen_at_ms = max(early.seen_at_ms, late.seen_at_ms, held_at_ms)
    kept.entered_at_ms, kept.entered_error_ms, kept.opened_by = opened
    kept.place, kept.edges, kept.heard = place, edges, heard
    kept.state, kept.deadline_ms = late.state, late.deadline_ms
    visits.settle(kept, received_at_ms, grace_ms)
    return kept


def _words(early: Draft, late: Draft) -> tuple[dict[str, list[Any]], int]:
    """What each edge said last, and until when one held the person without having said so in the later visit."""
    edges = {edge: list(entry) for edge, entry in (early.edges | late.edges).items()}
    held_at_ms = early.seen_at_ms
    for edge in early.edges.keys() & late.edges.keys():
        older, newer = sorted((early.edges[edge], late.edges[edge]), key=lambda entry: entry[2])
        word, level, at_ms = newer
        if word == Inside.HEARD:  # samples only: the other visit did not know what this edge had said before
            word = older[0]
            held_at_ms = max(held_at_ms, at_ms) if word == Inside.IN else held_at_ms
        edges[edge] = [word, older[1] if level is None else level, at_ms]
    return edges, held_at_ms

"""One visit per person and store, whatever told us. Advances by events; every state has a deadline the hub owns.

    (none) --enter--> present --last edge says exit--> grace --deadline--> closed
       present --edge dies or its radio does, or silence--> unknown --deadline--> closed
       grace, unknown --enter, or sample of an edge inside--> present
       closed --event within the grace of its end--> present          (late news repairs, it never splits)

Late news may also show that two visits were one: see `hub.core.merging`.

A visit ends at the last instant somebody heard the person, never at the instant we noticed. Only `enter` opens a
visit. A dead edge means `unknown`, not `gone`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from hub.core.model import Visit, ZoneStay
from hub.core.states import VisitState
from hub.core.zones import NOWHERE, OURS, Heard, Pace, Place, locate, smooth

GRACE_S = 120
"""Re-entry within this joins the same visit, s. Above an edge's usual exit silence (30 s), or it would mean nothing."""

SILENCE_MS = 240_000
"""A present person nobody has reported for this long is `unknown`, ms. Above the longest exit silence of an edge
(180 s) plus a reconnect, so that an edge's own exit always comes first."""

UNKNOWN_MS = 900_000
"""`unknown` closes after this, ms: an edge reboots, a broker fails over and a backlog arrives within 15 minutes."""


class Inside(StrEnum):
    """What an edge last said about a person."""

    IN = "in"
    OUT = "out"
    UNKNOWN = "unknown"
    HEARD = "heard"  # samples only: audible there, but that edge never let the person in


class Observation(NamedTuple):
    """One event about one person, in the hub's time.

    `source` is the edge, or `app:<device>` for a phone that heard the store itself; `zone` where that edge stands;
    `level_dbm` None where nothing was measured. `late` events repair, they trigger nothing. `pace` is how the source
    speaks. `holds` says whether the source counts the person as inside; None: what it said before decides.
    """

    profile: str
    store: str
    source: str
    zone: str | None
    kind: str  # enter | sample | exit | unknown
    at_ms: int
    error_ms: int
    received_at_ms: int
    late: bool
    level_dbm: float | None
    trigger: str  # "edge/boot/seq"
    pace: Pace = OURS
    holds: bool | None = None


@dataclass(slots=True)
class Draft:
    """A visit being advanced within one transaction."""

    before: Visit | None
    tenant: str
    visit: str
    profile: str
    store: str
    state: VisitState
    entered_at_ms: int
    entered_error_ms: int
    seen_at_ms: int
    deadline_ms: int | None
    place: Place
    edges: dict[str, list[Any]]  # edge → [Inside, level_dbm or None, last_at_ms]
    fired: list[str]
    pushes: int
    opened_by: str
    heard: dict[str, Heard] = field(default_factory=dict)
    stays: list[ZoneStay] = field(default_factory=list)
    into: "Draft | None" = None  # the visit that this one has become part of, see hub.core.merging


class Step(NamedTuple):
    """What one observation did to a visit. `zone` is where the person was at its instant, and since when."""

    draft: Draft
    opened: bool
    zone_changed: bool
    zone: str | None
    zone_since_ms: int | None


def load(visit: Visit, zone_of: Mapping[str, str | None], pace_of: Mapping[str, Pace] | None = None) -> Draft:
    """A stored visit, ready to advance; `zone_of` maps edge → zone, `pace_of` those edges that have another pace."""
    paces = pace_of or {}
    heard = {
        edge: Heard(zone_of.get(edge), float(entry[1]), int(entry[2]), paces.get(edge, OURS))
        for edge, entry in visit.edges.items()
        if entry[1] is not None
    }
    return Draft(
        before=visit,
        tenant=visit.tenant,
        visit=visit.visit,
        profile=visit.profile,
        store=visit.store,
        state=VisitState(visit.state),
        entered_at_ms=visit.entered_at_ms,
        entered_error_ms=visit.entered_error_ms,
        seen_at_ms=visit.seen_at_ms,
        deadline_ms=visit.deadline_ms,
        place=Place(visit.zone, visit.zone_since_ms, visit.rival, visit.rival_since_ms),
        edges={edge: list(entry) for edge, entry in visit.edges.items()},
        fired=list(visit.fired),
        pushes=visit.pushes,
        opened_by=visit.opened_by,
        heard=heard,
    )


def open_visit(tenant: str, visit: str, seen: Observation) -> Draft:
    """A new visit, before `advance` has applied the observation that opens it."""
    return Draft(
        before=None,
        tenant=tenant,
        visit=visit,
        profile=seen.profile,
        store=seen.store,
        state=VisitState.PRESENT,
        entered_at_ms=seen.at_ms,
        entered_error_ms=seen.error_ms,
        seen_at_ms=seen.at_ms,
        deadline_ms=None,
        place=Place(None, None, None, None),
        edges={},
        fired=[],
        pushes=0,
        opened_by=seen.trigger,
    )


def freeze(draft: Draft) -> Visit:
    """The record to save."""
    closed = draft.state == VisitState.CLOSED
    return Visit(
        tenant=draft.tenant,
        visit=draft.visit,
        profile=draft.profile,
        store=draft.store,
        state=draft.state,
        entered_at_ms=draft.entered_at_ms,
        entered_error_ms=draft.entered_error_ms,
        seen_at_ms=draft.seen_at_ms,
        left_at_ms=draft.seen_at_ms if closed else None,
        deadline_ms=None if closed else draft.deadline_ms,
        zone=draft.place.zone,
        zone_since_ms=draft.place.since_ms,
        rival=draft.place.rival,
        rival_since_ms=draft.place.rival_since_ms,
        edges=draft.edges,
        fired=draft.fired,
        pushes=draft.pushes,
        opened_by=draft.opened_by,
    )


def reach_ms(state: VisitState, grace_ms: int) -> int:
    """How long after a visit's last sighting an event still belongs to it, ms.

    Present for longer than SILENCE_MS is unknown, and only nobody has looked yet.
    """
    return max(UNKNOWN_MS, grace_ms) if state in (VisitState.PRESENT, VisitState.UNKNOWN) else grace_ms


def joins(draft: Draft, at_ms: int, grace_ms: int) -> bool:
    """Whether an event at `at_ms` belongs to this visit."""
    return draft.entered_at_ms - grace_ms <= at_ms <= draft.seen_at_ms + reach_ms(draft.state, grace_ms)


def advance(draft: Draft, seen: Observation, grace_ms: int) -> Step:
    """Apply one observation to the visit it belongs to."""
    opened = draft.before is None and not draft.edges
    kind, at_ms = seen.kind, seen.at_ms
    entry = draft.edges.get(seen.source)
    said = entry[0] if entry is not None else None
    if kind == "enter" or (kind == "sample" and _inside(seen, said)):
        _note(draft, seen, Inside.IN)
        draft.entered_at_ms = min(draft.entered_at_ms, at_ms)
        draft.seen_at_ms = max(draft.seen_at_ms, at_ms)
    elif kind == "sample":
        _note(draft, seen, _heard_only(said))
    elif kind == "exit":
        _note(draft, seen, Inside.OUT)
        draft.seen_at_ms = max(draft.seen_at_ms, at_ms)
    elif said == Inside.IN:
        _note(draft, seen, Inside.UNKNOWN)
    if kind != "sample" or said == Inside.IN or draft.edges[seen.source][0] == Inside.IN:
        settle(draft, seen.received_at_ms, grace_ms)  # whoever only hears the person vouches for nothing
    if kind != "sample" and kind != "enter":
        return Step(draft, opened, False, draft.place.zone, draft.place.since_ms)
    if draft.place.since_ms is not None and at_ms < draft.place.since_ms:  # it cannot end a stay begun later
        return Step(draft, opened, False, _zone_then(draft, at_ms), at_ms)
    moved = _move(draft, seen)
    return Step(draft, opened, moved, draft.place.zone, draft.place.since_ms)


def _inside(seen: Observation, said: object) -> bool:
    """Whether a sample says that the person is inside."""
    return said == Inside.IN or said == Inside.UNKNOWN if seen.holds is None else seen.holds


def _heard_only(said: object) -> Inside:
    """What an edge says from now on that hears somebody without holding them, by what it said before."""
    if said in (Inside.IN, Inside.UNKNOWN):
        return Inside.UNKNOWN
    return Inside.OUT if said == Inside.OUT else Inside.HEARD


def lose_edge(draft: Draft, edge: str, at_ms: int, grace_ms: int) -> bool:
    """The edge can no longer speak for anybody: `unknown`, never `gone`. True when that changed something."""
    entry = draft.edges.get(edge)
    if entry is None or entry[0] != Inside.IN:
        return False
    entry[0] = Inside.UNKNOWN
    settle(draft, at_ms, grace_ms)
    return True


def forget_word(draft: Draft, edge: str) -> None:
    """The person is no longer followed at this edge: should the visit go on, it must let them in again."""
    if edge in draft.edges:
        draft.edges[edge][0] = Inside.OUT.value


def expire(draft: Draft, now_ms: int) -> None:
    """The deadline has passed: present → unknown, everything else → closed."""
    if draft.state == VisitState.PRESENT:
        for entry in draft.edges.values():
            if entry[0] == Inside.IN:
                entry[0] = Inside.UNKNOWN
        draft.state, draft.deadline_ms = VisitState.UNKNOWN, now_ms + UNKNOWN_MS
        return
    close(draft)


def close(draft: Draft) -> None:
    """End the visit at the last instant the person was heard."""
    draft.state, draft.deadline_ms = VisitState.CLOSED, None
    end_stay(draft, draft.seen_at_ms)


def _note(draft: Draft, seen: Observation, said: str) -> None:
    source, heard_at_ms, new_dbm = seen.source, seen.at_ms, seen.level_dbm
    entry = draft.edges.get(source)
    level_dbm, at_ms = (entry[1], entry[2]) if entry is not None else (None, heard_at_ms)
    if heard_at_ms >= at_ms:
        if new_dbm is not None and seen.kind != "exit":
            level_dbm = round(smooth(level_dbm, at_ms, new_dbm, heard_at_ms, seen.pace), 1)
            draft.heard[source] = Heard(seen.zone, level_dbm, heard_at_ms, seen.pace)
        at_ms = heard_at_ms
    draft.edges[source] = [said, level_dbm, at_ms]


def settle(draft: Draft, received_at_ms: int, grace_ms: int) -> None:
    """The state that follows from what edges last said, and its deadline."""
    said = [entry[0] for entry in draft.edges.values()]
    if Inside.IN in said:
        draft.state, draft.deadline_ms = VisitState.PRESENT, received_at_ms + SILENCE_MS
    elif Inside.UNKNOWN in said:
        if draft.state != VisitState.UNKNOWN:
            draft.state, draft.deadline_ms = VisitState.UNKNOWN, received_at_ms + UNKNOWN_MS
    elif draft.state != VisitState.CLOSED:
        draft.state, draft.deadline_ms = VisitState.GRACE, draft.seen_at_ms + grace_ms


def _move(draft: Draft, seen: Observation) -> bool:
    place = locate(draft.place, draft.heard, seen.at_ms)
    if place.zone == draft.place.zone:
        draft.place = place
        return False
    end_stay(draft, seen.at_ms)
    draft.place = place
    if place.zone is not None:
        draft.stays.append(ZoneStay(draft.tenant, draft.visit, seen.at_ms, place.zone, None))
    return True


def _zone_then(draft: Draft, at_ms: int) -> str | None:
    """Where the person was at an instant before the stay that is running, by what was heard about then."""
    heard = {edge: one for edge, one in draft.heard.items() if abs(at_ms - one.at_ms) <= one.pace.stale_ms}
    return locate(NOWHERE, heard, at_ms).zone


def end_stay(draft: Draft, at_ms: int) -> None:
    """The stay in the zone where the person is thought to be ends at `at_ms`, not before it began."""
    zone, since_ms = draft.place.zone, draft.place.since_ms
    if zone is None or since_ms is None:
        return
    draft.stays = [stay for stay in draft.stays if stay.entered_at_ms != since_ms]
    draft.stays.append(ZoneStay(draft.tenant, draft.visit, since_ms, zone, max(at_ms, since_ms)))

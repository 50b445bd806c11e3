"""Observations advance visits; visits lock grants and cause decisions. Shared by edges' events and phones' sightings.

keys → load → pure core → save: at most one statement per table, whatever the number of observations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from hub.core import decision, grants, merging, visits
from hub.core.foreign import ENTER_DBM, MAX_TRACKS, pace_of
from hub.core.model import Consent, Decision, Device, Edge, Grant, Offer, Profile, Push, Shop, Zone
from hub.core.offers import OfferBody, content_for, current
from hub.core.states import Purpose, PushState, VisitState, ZoneKind
from hub.core.visits import Draft, Observation, Step
from hub.core.zones import Pace
from hub.ports import NewId, Tx
from hub.usecases.merging import carry_over, end_others, merge_notes, rows
from wire import messages

MANY = 100_000
"""Upper bound of rows read at once for one group, whatever the table."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings that the use cases need, of one tenant. Durations in ms, levels in dBm.

    `started_at_ms` is when this process began, on the hub's clock.
    """

    tenant: str
    hmac_key: bytes
    grace_ms: int = visits.GRACE_S * 1000
    hold_ms: int = grants.LOCK_HOLD_S * 1000
    late_ms: int = 30_000
    quarantine_max: int = 10_000
    foreign_enter_dbm: float = ENTER_DBM
    foreign_tracks_max: int = MAX_TRACKS
    started_at_ms: int = 0


@dataclass(slots=True)
class Effects:
    """What a group did, for those who act after the commit.

    `notes` go to the live stream and hold no identity; `pushes` is how many were queued.
    """

    notes: list[dict[str, Any]] = field(default_factory=list)
    pushes: int = 0


@dataclass(slots=True)
class _Place:
    """The stores a group is about."""

    shops: dict[str, Shop]
    kinds: dict[tuple[str, str], str]  # (store, zone) → kind
    zone_of: dict[str, str | None]  # edge → zone
    pace_of: dict[str, Pace]  # foreign edge → how it speaks


@dataclass(slots=True)
class _Group:
    """One call of `arrive`: its surroundings, and what it will save."""

    tx: Tx
    rules: Rules
    place: _Place
    at_ms: int
    new_id: NewId
    effects: Effects
    visits: dict[str, Draft] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)


class _Happening(NamedTuple):
    """A step that matters beyond its visit: a presence in a door zone, or a moment that may trigger offers."""

    one: Observation
    draft: Draft
    at_door: bool
    moment: decision.Moment | None


@dataclass(frozen=True, slots=True)
class _Owned:
    """What the people of the happenings have: those at a door, what can be locked; those decided about, everything."""

    grants: dict[str, list[Grant]]
    devices: dict[str, list[Device]]
    locales: dict[str, str]
    purposes: dict[str, set[str]]


def detectable_since(tx: Tx, tenant: str, profiles: Sequence[str]) -> dict[str, int]:
    """Since when (Unix ms) each of these people agrees to presence detection. Who does not is left out: fail closed."""
    keys = [(tenant, profile, Purpose.PRESENCE_DETECTION.value) for profile in profiles]
    return {row.profile: row.at_ms for row in tx.get(Consent, keys) if row.given}


def arrive(tx: Tx, seen: Sequence[Observation], rules: Rules, at_ms: int, new_id: NewId) -> Effects:
    """Advance visits by observations of people who consented to presence detection, in the order given."""
    if not seen:
        return Effects()
    place = _load_place(tx, rules.tenant, sorted({one.store for one in seen}))
    group = _Group(tx, rules, place, at_ms, new_id, Effects())
    steps = _advance(group, seen)
    _note_visits(group, steps)
    _lock_and_decide(group, steps)
    carried = carry_over(tx, rules.tenant, group.visits.values())
    tx.put(rows(group.visits.values()))
    tx.put(carried + [stay for draft in group.visits.values() for stay in draft.stays])
    tx.insert(group.decisions)
    tx.insert(group.grants)
    tx.insert(group.pushes)
    group.effects.pushes = len(group.pushes)
    return group.effects


def _load_place(tx: Tx, tenant: str, stores: list[str]) -> _Place:
    zones = tx.find(Zone, {"tenant": tenant, "store": stores}, limit=MANY)
    edges = tx.find(Edge, {"tenant": tenant, "store": stores}, limit=MANY)
    shops = tx.find(Shop, {"tenant": tenant}, limit=MANY)
    return _Place(
        shops={shop.store: shop for shop in shops},
        kinds={(zone.store, zone.zone): zone.kind for zone in zones},
        zone_of={edge.edge: edge.zone for edge in edges},
        pace_of={edge.edge: pace_of(edge) for edge in edges if edge.source_kind is not None},
    )


def _advance(group: _Group, seen: Sequence[Observation]) -> list[tuple[Observation, Step]]:
    near, saved, grace_ms = _load_visits(group, seen), group.visits, group.rules.grace_ms
    steps: list[tuple[Observation, Step]] = []
    for one in seen:
        drafts = near[one.profile, one.store]
        draft = merging.belonging(drafts, one, grace_ms)
        if draft is not None and draft.state == VisitState.CLOSED and one.holds is False:
            continue  # who is gone comes back by being let in
        if draft is None:
            if one.kind != "enter":
                continue  # only an enter opens a visit: a sample may be somebody on the pavement
            draft = visits.open_visit(group.rules.tenant, group.new_id(), one)
            drafts.append(draft)
        saved[draft.visit] = draft
        steps.append((one, visits.advance(draft, one, grace_ms)))
        if len(drafts) > 1:
            saved.update((draft.visit, draft) for draft in merging.tidy(drafts, one.received_at_ms, grace_ms))
    end_others(group.tx, group.rules.tenant, saved, group.place.zone_of)
    return steps


def _load_visits(group: _Group, seen: Sequence[Observation]) -> dict[tuple[str, str], list[Draft]]:
    """Per (profile, store), in order of entry, every visit that one of these observations could belong to."""
    rules = group.rules
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for one in seen:
        key, at_ms = (one.profile, one.store), one.at_ms
        low, high = spans.get(key, (at_ms, at_ms))
        spans[key] = (min(low, at_ms), max(high, at_ms))
    reach_ms = max(visits.UNKNOWN_MS, rules.grace_ms)
    keys = [  # up to now: news of last week must know of a visit that followed
        (rules.tenant, profile, store, low - reach_ms, max(high, group.at_ms) + rules.grace_ms)
        for (profile, store), (low, high) in spans.items()
    ]
    near: dict[tuple[str, str], list[Draft]] = {key: [] for key in spans}
    for visit in group.tx.visits_near(keys):
        if visit.state != VisitState.MERGED:
            near[visit.profile, visit.store].append(visits.load(visit, group.place.zone_of, group.place.pace_of))
    for drafts in near.values():
        drafts.sort(key=attrgetter("entered_at_ms"))
    return near


def _note_visits(group: _Group, steps: Sequence[tuple[Observation, Step]]) -> None:
    for one, step in steps:
        draft = merging.root(step.draft)
        if step.opened and draft is step.draft:
            group.effects.notes.append({"type": "visit", "visit": draft.visit, "store": one.store, "state": "present"})
        if step.zone_changed:
            zone = draft.place.zone
            group.effects.notes.append({"type": "zone", "visit": draft.visit, "store": one.store, "zone": zone})
    group.effects.notes.extend(merge_notes(group.visits.values()))


def _happenings(group: _Group, steps: Sequence[tuple[Observation, Step]], dwelling: frozenset[str]) -> list[_Happening]:
    """Steps that matter; `dwelling` are the offers that wait for time spent."""
    kinds, found = group.place.kinds, []
    for one, step in steps:
        if one.kind != "sample" and one.kind != "enter":
            continue
        draft, zone = merging.root(step.draft), step.zone
        kind = kinds.get((one.store, zone)) if zone is not None else None
        at_door = kind == ZoneKind.DOOR and one.zone == zone
        opened = step.opened and draft is step.draft
        moment = None
        if not one.late and (opened or step.zone_changed or not dwelling.issubset(draft.fired)):
            entered = (*((None,) if opened else ()), *((kind,) if step.zone_changed and kind else ()))
            stays: tuple[tuple[str | None, int], ...] = ((None, one.at_ms - draft.entered_at_ms),)
            if kind is not None and step.zone_since_ms is not None:
                stays = (*stays, (kind, one.at_ms - step.zone_since_ms))
            moment = decision.Moment(one.store, one.at_ms, entered, stays)
        if at_door or moment is not None:
            found.append(_Happening(one, draft, at_door, moment))
    return found


def _lock_and_decide(group: _Group, steps: Sequence[tuple[Observation, Step]]) -> None:
    live = {"tenant": group.rules.tenant, "state": "live", "superseded_at_ms": None}
    offers = current(group.tx.find(Offer, live, limit=MANY))
    dwelling = frozenset(offer.offer for offer, body in offers if body.trigger.on == "dwell")
    at_door: set[str] = set()
    deciding: set[str] = set()
    pairs = []
    for happening in _happenings(group, steps, dwelling):
        one, draft, door, moment = happening
        hit = decision.triggered(offers, moment, draft.fired) if moment is not None else []
        if door:
            at_door.add(one.profile)
        if hit:
            deciding.add(one.profile)
        if door or hit:
            pairs.append((happening, hit))
    if not pairs:
        return
    owned = _load_owned(group, sorted(at_door - deciding), sorted(deciding))
    for happening, hit in pairs:
        if happening.at_door:
            _lock(group, happening.one, owned.grants[happening.one.profile])
        # an earlier event of this group may have fired the same offer meanwhile
        fresh = [offers[i] for i in hit if offers[i][0].offer not in happening.draft.fired]
        if fresh and happening.one.store in group.place.shops:
            _decide(group, happening, fresh, owned)


def _load_owned(group: _Group, at_door: list[str], deciding: list[str]) -> _Owned:
    tx, tenant = group.tx, group.rules.tenant
    owned: dict[str, list[Grant]] = {profile: [] for profile in (*at_door, *deciding)}
    devices: dict[str, list[Device]] = {profile: [] for profile in deciding}
    purposes: dict[str, set[str]] = {profile: set() for profile in deciding}
    locales: dict[str, str] = {}
    if at_door:
        for grant in tx.find(Grant, {"tenant": tenant, "profile": at_door, "lock_at_ms": None}, limit=MANY):
            owned[grant.profile].append(grant)
    if deciding:
        for grant in tx.find(Grant, {"tenant": tenant, "profile": deciding}, limit=MANY):
            owned[grant.profile].append(grant)
        for device in tx.find(Device, {"tenant": tenant, "profile": deciding, "dead_at_ms": None}, limit=MANY):
            devices[device.profile].append(device)
        asked = [(tenant, profile, purpose.value) for profile in deciding for purpose in decision.NEEDED]
        for consent in tx.get(Consent, asked):
            if consent.given:
                purposes[consent.profile].add(consent.purpose)
        locales = {row.profile: row.locale for row in tx.get(Profile, [(tenant, profile) for profile in deciding])}
    return _Owned(owned, devices, locales, purposes)


def _lock(group: _Group, one: Observation, owned: list[Grant]) -> None:
    for position, grant in enumerate(owned):
        if grant.store != one.store:
            continue
        locked = grants.lock(grant, one.at_ms, one.error_ms, one.received_at_ms, group.rules.hold_ms)
        if locked is None:
            continue
        fresh = next((i for i, new in enumerate(group.grants) if new.grant == grant.grant), None)
        if fresh is not None:
            group.grants[fresh] = locked
        elif not _swap_lock(group.tx, grant, locked):
            continue  # a till was faster
        owned[position] = locked
        note = {"type": "lock", "grant": grant.grant, "store": one.store, "value_bp": locked.lock_bp}
        group.effects.notes.append(note)


def _swap_lock(tx: Tx, grant: Grant, locked: Grant) -> bool:
    return tx.swap(
        Grant,
        (grant.tenant, grant.grant),
        {"state": grant.state, "lock_at_ms": None},
        {
            "state": locked.state,
            "lock_at_ms": locked.lock_at_ms,
            "lock_bp": locked.lock_bp,
            "hold_until_ms": locked.hold_until_ms,
            "due_at_ms": locked.due_at_ms,
        },
    )


def _decide(group: _Group, happening: _Happening, fresh: list[tuple[Offer, OfferBody]], owned: _Owned) -> None:
    one, draft, at_ms = happening.one, happening.draft, group.at_ms
    draft.fired.extend(offer.offer for offer, _ in fresh)
    person = decision.Person(
        one.profile,
        owned.purposes[one.profile],
        owned.devices[one.profile],
        owned.grants[one.profile],
        draft.pushes,
    )
    judged = decision.decide(fresh, person, group.place.shops[one.store], group.place.shops.keys(), at_ms)
    decision_id = group.new_id()
    grant: Grant | None = None
    if judged[0].reason is None:
        grant_id = group.new_id()
        code = grants.grant_code(group.rules.hmac_key, grant_id)
        place = grants.Place(
            tenant=group.rules.tenant,
            grant=grant_id,
            profile=one.profile,
            store=judged[0].body.redeem_store or one.store,
            visit=draft.visit,
            decision=decision_id,
        )
        grant = grants.issue(judged[0].offer, judged[0].body, place, grants.code_hash(code), at_ms)
        group.grants.append(grant)
        owned.grants[one.profile].append(grant)
        draft.pushes += 1
        locale = owned.locales.get(one.profile, "")
        group.pushes.append(_push(group, grant, judged[0].body, code, decision.address(person.devices), locale))
        group.effects.notes.append(_grant_note(grant))
    group.decisions.append(
        Decision(
            tenant=group.rules.tenant,
            decision=decision_id,
            trigger=f"{one.trigger}/{draft.visit}",
            profile=one.profile,
            store=one.store,
            visit=draft.visit,
            policy=decision.POLICY,
            chosen=grant.offer if grant else None,
            grant=grant.grant if grant else None,
            propensity=decision.PROPENSITY,
            candidates=[[c.offer.offer, c.offer.version, c.reason, c.score] for c in judged],
            at_ms=at_ms,
        )
    )


def _grant_note(grant: Grant) -> dict[str, Any]:
    return {
        "type": "grant",
        "grant": grant.grant,
        "offer": grant.offer,
        "store": grant.store,
        "curve": grant.curve,
        "issued_at_ms": grant.issued_at_ms,
        "expires_at_ms": grant.expires_at_ms,
    }


def _push(group: _Group, grant: Grant, body: OfferBody, code: str, device: Device, locale: str) -> Push:
    text = content_for(body, locale)
    message = messages.Push(
        v=1,
        grant=grant.grant,
        title=text.title,
        body=text.body,
        code=code,
        store=grant.store,
        issued_at_ms=grant.issued_at_ms,
        expires_at_ms=grant.expires_at_ms,
        curve=grant.curve,
    )
    return Push(
        tenant=grant.tenant,
        push=group.new_id(),
        grant=grant.grant,
        profile=grant.profile,
        device=device.device,
        channel=device.channel,
        address=device.address,
        state=PushState.QUEUED,
        reason="",
        attempts=0,
        due_at_ms=group.at_ms,
        expires_at_ms=grant.expires_at_ms,
        created_at_ms=group.at_ms,
        settled_at_ms=None,
        body=message.model_dump(mode="json"),
    )

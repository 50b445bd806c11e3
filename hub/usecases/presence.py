"""Presence arrives: from edges in batches, from phones one at a time.

watermark → clock → identity → consent (fail closed) → visits, grants, decisions. All of a group in one savepoint;
a message that raises is set aside by the caller with `set_aside`, so that the rest commits and nothing stalls.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

from hub.core import clock, watermark
from hub.core.boots import alive
from hub.core.identity import BEACON, BeaconId, beacon_id, beacon_value, identity_hash
from hub.core.model import Edge, EdgeBoot, Identity, Loss, Quarantine
from hub.core.visits import Observation
from hub.ports import NewId, Tx
from hub.usecases.arrivals import Effects, Rules, arrive, detectable_since
from hub.usecases.edges import cloned_note
from wire.messages import BeaconKey, Presence, PresenceEvent, Read

BODY_MAX_CHARS = 4_000
"""Longest body kept of what others sent wrong, characters: enough to see why, bounded because it is personal data."""


class Batch(NamedTuple):
    """One readable presence message, and where its topic says that it comes from."""

    store: str
    edge: str
    read: Read
    received_at_ms: int


class AckOf(NamedTuple):
    """What to tell an edge after the commit."""

    store: str
    edge: str
    boot: str
    upto: int


@dataclass(slots=True)
class Committed:
    """What a group of messages did. `acks` holds one entry per (edge, boot), the highest."""

    effects: Effects = field(default_factory=Effects)
    acks: dict[tuple[str, str], AckOf] = field(default_factory=dict)
    events: int = 0


@dataclass(slots=True)
class _Fresh:
    """New events of one boot, with the row that accounts for them."""

    row: EdgeBoot
    store: str
    zone: str | None
    events: list[tuple[PresenceEvent, int, bool]] = field(default_factory=list)  # event, received, earlier boot


def commit_presence(tx: Tx, batches: Sequence[Batch], rules: Rules, at_ms: int, new_id: NewId) -> Committed:
    """Take a group of messages, in order of arrival.

    Messages of edges that are not enrolled, or not in the store their topic says, are quarantined and not answered:
    the edge keeps its events until somebody enrols it.
    """
    done = Committed()
    fresh = _take(tx, batches, rules, at_ms, done)
    seen = _identify(tx, fresh, rules)
    alarms, done.effects = done.effects.notes, arrive(tx, seen, rules, at_ms, new_id)
    done.effects.notes += alarms
    tx.put([one.row for one in fresh.values()])
    for one in fresh.values():
        done.acks[one.row.edge, one.row.boot] = AckOf(one.store, one.row.edge, one.row.boot, one.row.upto)
    return done


def _take(tx: Tx, batches: Sequence[Batch], rules: Rules, at_ms: int, done: Committed) -> dict[tuple[str, str], _Fresh]:
    tenant = rules.tenant
    edges = {row.edge: row for row in tx.get(Edge, _unique((tenant, batch.edge) for batch in batches))}
    changed: dict[str, Edge] = {}
    names = _unique((tenant, batch.edge, batch.read.message.boot) for batch in batches)
    boots = {(row.edge, row.boot): row for row in tx.get(EdgeBoot, names)}
    fresh: dict[tuple[str, str], _Fresh] = {}
    losses: list[Loss] = []
    aside: list[Quarantine] = []
    for batch in batches:
        message = batch.read.message
        edge = edges.get(batch.edge)
        if edge is None or edge.store != batch.store or message.edge != batch.edge or edge.source_kind is not None:
            aside.append(_not_ours(batch, rules.tenant, at_ms))
            continue
        key = (batch.edge, message.boot)
        row = boots.get(key)
        one = fresh.setdefault(key, _Fresh(row or new_boot(tenant, *key, at_ms), edge.store, edge.zone))
        taken = watermark.take(one.row.upto, _own(row, rules), batch.read)
        latest_mono_ms = max((event.observed_mono_ms for event in taken.events), default=0)
        learnt = clock.learn_offset(one.row, message.clock, message.sent_mono_ms, latest_mono_ms, batch.received_at_ms)
        one.row = replace(
            learnt,
            upto=taken.upto,
            committed=one.row.committed + taken.unread,
            quarantined=one.row.quarantined + len(taken.bad),
            lost=one.row.lost + taken.lost,
            duplicates=one.row.duplicates + taken.duplicates,
            unknown_fields=one.row.unknown_fields + batch.read.unknown_fields,
            last_at_ms=at_ms,
        )
        boots[key] = one.row
        running = _running(edge, one.row, message.sent_mono_ms, at_ms, done)
        if running is not edge:
            edges[batch.edge] = changed[batch.edge] = running
        earlier = message.sent_mono_ms is None
        one.events.extend((event, batch.received_at_ms, earlier) for event in taken.events)
        losses.extend(Loss(tenant, *key, **loss._asdict(), at_ms=at_ms) for loss in taken.losses)
        aside.extend(_bad_event(one.row, bad, at_ms) for bad in taken.bad)
        done.events += taken.upto - (row.upto if row else 0)
    tx.put(losses)
    tx.put(_unique_rows(aside))
    tx.put(list(changed.values()))
    return fresh


def _running(edge: Edge, row: EdgeBoot, sent_mono_ms: int | None, at_ms: int, done: Committed) -> Edge:
    """The edge after a message of a running start. Dated by receipt alone: a claimed clock may be set wrong."""
    if sent_mono_ms is None or row.offset_bound_ms is None:
        return edge  # of a start that ended
    seen = alive(edge, row.boot, sent_mono_ms + row.offset_bound_ms, at_ms)
    if seen.alarm:
        done.effects.notes.append(cloned_note(seen.edge))
    return seen.edge


def _identify(tx: Tx, fresh: dict[tuple[str, str], _Fresh], rules: Rules) -> list[Observation]:
    """Whom the events are about, as far as they agreed to be known; the others are only counted. In order of time."""
    owner = owners_of(tx, rules, (event.beacon for one in fresh.values() for event, _, _ in one.events))
    since_ms = detectable_since(tx, rules.tenant, sorted(set(owner.values())))
    seen: list[Observation] = []
    for (edge, boot), one in fresh.items():
        before = len(seen)
        consent_refused = identity_refused = 0
        for event, received_at_ms, earlier in one.events:
            profile = owner.get(beacon_id(event.beacon))
            if profile is None:
                identity_refused += 1
                continue
            at_ms, error_ms, source = clock.instant(one.row, event.observed_mono_ms, received_at_ms)
            if not may_know(since_ms.get(profile), at_ms):
                consent_refused += 1
                continue
            seen.append(
                Observation(
                    profile=profile,
                    store=one.store,
                    source=edge,
                    zone=one.zone,
                    kind=event.kind,
                    at_ms=at_ms,
                    error_ms=error_ms,
                    received_at_ms=received_at_ms,
                    late=earlier or source == "unknown" or received_at_ms - at_ms > rules.late_ms,
                    level_dbm=event.rssi_dbm if event.n else None,
                    trigger=f"{edge}/{boot}/{event.seq}",
                )
            )
        one.row = replace(
            one.row,
            committed=one.row.committed + len(seen) - before,
            consent_refused=one.row.consent_refused + consent_refused,
            identity_refused=one.row.identity_refused + identity_refused,
        )
    seen.sort(key=attrgetter("at_ms"))
    return seen


def owners_of(tx: Tx, rules: Rules, beacons: Iterable[BeaconKey]) -> dict[BeaconId, str]:
    """Whose beacons these are, by profile; those of nobody are left out."""
    named = {beacon_id(beacon) for beacon in beacons}
    hashes = {one: identity_hash(rules.hmac_key, BEACON, beacon_value(one)) for one in named}
    keys = [(rules.tenant, BEACON, value) for value in sorted(hashes.values())]
    owner = {row.value_hash: row.profile for row in tx.get(Identity, keys) if row.valid_to_ms is None}
    return {one: owner[value] for one, value in hashes.items() if value in owner}


def may_know(since_ms: int | None, at_ms: int) -> bool:
    """Consent covers what happens after it was given, never what happened before."""
    return since_ms is not None and at_ms >= since_ms


def set_aside(tx: Tx, batch: Batch, reason: str, rules: Rules, at_ms: int) -> Committed:
    """Quarantine a whole message that our own code failed on; the watermark passes, so nothing stalls."""
    message = batch.read.message
    done = Committed()
    rows = tx.get(EdgeBoot, [(rules.tenant, batch.edge, message.boot)])
    row = rows[0] if rows else new_boot(rules.tenant, batch.edge, message.boot, at_ms)
    taken = watermark.take(row.upto, _own(rows[0] if rows else None, rules), batch.read)
    if taken.upto == row.upto:
        done.acks[batch.edge, message.boot] = AckOf(batch.store, batch.edge, message.boot, row.upto)
        return done
    aside = len(taken.events) + len(taken.bad) + taken.unread
    tx.put([Loss(rules.tenant, batch.edge, message.boot, **loss._asdict(), at_ms=at_ms) for loss in taken.losses])
    tx.put(
        [
            replace(
                row,
                upto=taken.upto,
                quarantined=row.quarantined + aside,
                lost=row.lost + taken.lost,
                duplicates=row.duplicates + taken.duplicates,
                last_at_ms=at_ms,
            )
        ]
    )
    name = f"{batch.edge}-{message.boot}-{row.upto + 1}"
    # a message again, so that it can be replayed; what lies beyond a gap comes again, and would count twice
    body = message.model_copy(update={"events": taken.events}).model_dump_json()
    tx.put([_quarantine(rules.tenant, name, batch, row.upto + 1, "ours", reason, body, at_ms)])
    done.acks[batch.edge, message.boot] = AckOf(batch.store, batch.edge, message.boot, taken.upto)
    return done


def set_unreadable_aside(tx: Tx, store: str, edge: str, payload: bytes, reason: str, rules: Rules, at_ms: int) -> None:
    """Keep an unreadable message: its edge gets no answer, sends singly, and at last replaces it by `lost`."""
    digest = hashlib.sha256(payload).hexdigest()[:32]
    body = payload[:BODY_MAX_CHARS].decode("utf-8", "replace").replace("\0", "\ufffd")
    row = Quarantine(rules.tenant, f"{edge}-{digest}", edge, "", 0, "theirs", reason, body, at_ms)
    tx.put([row])


class SightingReport(NamedTuple):
    """A phone says that it heard the store itself (`entered`), or hears it no longer."""

    tenant: str
    profile: str
    device: str
    store: str
    entered: bool
    at_ms: int
    nonce: str


def record_sighting(tx: Tx, report: SightingReport, rules: Rules, at_ms: int, new_id: NewId) -> Effects | None:
    """Path B into the same visit. None when presence_detection is not in force: nothing is kept then.

    The phone's clock only orders its own reports: the instant is never after `at_ms`, and what is older than the
    late limit triggers nothing.
    """
    since_ms = detectable_since(tx, report.tenant, [report.profile]).get(report.profile)
    seen_at_ms = min(report.at_ms, at_ms)
    if not may_know(since_ms, seen_at_ms):
        return None
    one = Observation(
        profile=report.profile,
        store=report.store,
        source=f"app-{report.device}",
        zone=None,
        kind="enter" if report.entered else "exit",
        at_ms=seen_at_ms,
        error_ms=clock.RECEIPT_ERROR_MS,
        received_at_ms=at_ms,
        late=at_ms - seen_at_ms > rules.late_ms,
        level_dbm=None,
        trigger=f"app-{report.device}/{report.nonce}",
    )
    return arrive(tx, [one], rules, at_ms, new_id)


def _own(row: EdgeBoot | None, rules: Rules) -> bool:
    """Whether nobody but this process can have acknowledged any of the boot; in doubt no."""
    return row is not None and row.first_at_ms >= rules.started_at_ms and row.lost == 0


def upto_of(tx: Tx, tenant: str, edge: str, boot: str) -> int:
    """The watermark of a boot, 0 when the hub has never heard of it."""
    rows = tx.get(EdgeBoot, [(tenant, edge, boot)])
    return rows[0].upto if rows else 0


def new_boot(tenant: str, edge: str, boot: str, at_ms: int) -> EdgeBoot:
    """The empty account of a boot that the hub hears of for the first time."""
    return EdgeBoot(
        tenant=tenant, edge=edge, boot=boot, upto=0, offset_ms=None, offset_error_ms=0, offset_source="unknown",
        offset_bound_ms=None, committed=0, consent_refused=0, identity_refused=0, quarantined=0, lost=0,
        duplicates=0, unknown_fields=0, first_at_ms=at_ms, last_at_ms=at_ms,
    )  # fmt: skip


def _not_ours(batch: Batch, tenant: str, at_ms: int) -> Quarantine:
    message = batch.read.message
    name = f"{batch.edge}-{message.boot}-stranger"  # one row, however often it comes
    reason = "edge is not enrolled in this store: PUT /v1/edges/{edge}"
    return _quarantine(tenant, name, batch, 0, "theirs", reason, "", at_ms)


def _bad_event(row: EdgeBoot, bad: watermark.BadEvent, at_ms: int) -> Quarantine:
    body = str(bad.raw)[:BODY_MAX_CHARS].replace("\0", "\ufffd")
    name = f"{row.edge}-{row.boot}-{bad.seq}"
    return Quarantine(row.tenant, name, row.edge, row.boot, bad.seq, "theirs", bad.reason, body, at_ms)


def _quarantine(
    tenant: str, name: str, batch: Batch, seq: int, fault: str, reason: str, body: str, at_ms: int
) -> Quarantine:
    boot = batch.read.message.boot
    return Quarantine(tenant, name, batch.edge, boot, seq, fault, reason[:300], body, at_ms)


def _unique(keys: Any) -> list[Any]:
    return list(dict.fromkeys(keys))


def _unique_rows(rows: list[Quarantine]) -> list[Quarantine]:
    return list({row.quarantine: row for row in rows}.values())


def replay(tx: Tx, row: Quarantine, rules: Rules, at_ms: int, new_id: NewId) -> int | None:
    """Apply a message that was set aside as ours, once the fault is mended; it repairs visits and never pushes.

    Returns how many events were applied; None when the row holds no whole message of ours. The row goes.
    """
    boots = tx.get(EdgeBoot, [(rules.tenant, row.edge, row.boot)])
    edges = tx.get(Edge, [(rules.tenant, row.edge)])
    if row.fault != "ours" or not boots or not edges:
        return None
    message = Presence.model_validate_json(row.body)
    # `seq` is the first of the message that was new when it was set aside
    events = [event for event in message.events if isinstance(event, PresenceEvent) and event.seq >= row.seq]
    fresh = _Fresh(boots[0], edges[0].store, edges[0].zone, [(event, row.at_ms, True) for event in events])
    arrive(tx, _identify(tx, {(row.edge, row.boot): fresh}, rules), rules, at_ms, new_id)
    tx.put([replace(fresh.row, quarantined=fresh.row.quarantined - len(events))])
    tx.delete(Quarantine, [(row.tenant, row.quarantine)])
    return len(events)

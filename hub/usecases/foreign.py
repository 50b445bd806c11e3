"""Reports of foreign edges become presence, on the same path as events of our own edges; see `hub.core.foreign`.

node → edge → identity → consent (fail closed) → track → visits, grants, decisions. No number, no acknowledgement: an
account of its own per edge says what became of every report that was received.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

from hub.core import foreign
from hub.core.foreign import Fact, Life, NodeStatus, Report, Source
from hub.core.foreign_records import ForeignAccount, ForeignTrack
from hub.core.identity import BeaconId, beacon_id
from hub.core.model import Edge, Quarantine
from hub.core.visits import Observation
from hub.ports import NewId, Tx
from hub.usecases.arrivals import MANY, Effects, Rules, arrive, detectable_since
from hub.usecases.deadlines import SWEEP_ROWS
from hub.usecases.edges import lose_edge
from hub.usecases.presence import may_know, owners_of


class Received(NamedTuple):
    """What a node said, and when it came in."""

    said: Report | NodeStatus
    at_ms: int


@dataclass(slots=True)
class Taken:
    """What a group did. `events`: reports taken into account; `strangers`: messages of nodes that are not enrolled."""

    effects: Effects = field(default_factory=Effects)
    events: int = 0
    strangers: int = 0


class _Heard(NamedTuple):
    """One report of an enrolled node."""

    edge: Edge
    report: Report
    at_ms: int


@dataclass(slots=True)
class _Group:
    """Reports taken together: what is known of them and what will be saved."""

    accounts: dict[str, ForeignAccount]
    owner: dict[BeaconId, str]
    since_ms: dict[str, int]  # profile → when consent to presence detection began
    tracks: dict[tuple[str, str, str], ForeignTrack]
    room: int
    seen: list[Observation] = field(default_factory=list)


def take(tx: Tx, received: Sequence[Received], rules: Rules, at_ms: int, new_id: NewId) -> Taken:
    """Take a group of messages, in order of arrival.

    A node that no edge is enrolled for is counted and named in the quarantine, once, without what it said.
    """
    edges = edges_of(tx, rules.tenant, {one.said.source for one in received})
    ours = [one for one in received if one.said.source in edges]
    taken = Taken(strangers=len(received) - len(ours))
    _name_strangers(tx, {one.said.source for one in received} - edges.keys(), rules, at_ms)
    # what a node says of itself is rare, and counts from then on: reports are taken together up to it
    for is_status, run in groupby(ours, lambda one: isinstance(one.said, NodeStatus)):
        if is_status:
            for one in run:
                _record_status(tx, edges, one, rules, taken.effects)
        else:
            _commit(tx, edges, list(run), rules, at_ms, new_id, taken)
    return taken


def give_up(tx: Tx, received: Received, rules: Rules, at_ms: int) -> Taken:
    """Account for a message that our own code failed on. It is old in seconds, so nothing is kept of it."""
    edge = edges_of(tx, rules.tenant, {received.said.source}).get(received.said.source)
    if edge is None or not isinstance(received.said, Report):
        return Taken()
    accounts = _accounts(tx, [edge], at_ms)
    _count(accounts, edge, "lost")
    tx.put(list(accounts.values()))
    return Taken(Effects([{"type": "alarm", "edge": edge.edge, "reason": "poison"}]), events=1)


def edges_of(tx: Tx, tenant: str, sources: set[Source]) -> dict[Source, Edge]:
    """The edges enrolled for these nodes."""
    kinds, nodes = sorted({one.kind for one in sources}), sorted({one.node for one in sources})
    if not kinds:
        return {}
    rows = tx.find(Edge, {"tenant": tenant, "source_kind": kinds, "source_node": nodes}, limit=MANY)
    found = {source: row for row in rows if (source := foreign.source_of(row)) is not None}
    return {source: row for source, row in found.items() if source in sources}


def sweep(
    tx: Tx, rules: Rules, at_ms: int, new_id: NewId, lives: Mapping[Source, Life], heard_up_to_ms: int
) -> Effects:
    """Every track whose deadline has passed at `at_ms`.

    `lives`: what nodes have shown while the hub listened without a break. `heard_up_to_ms`: everything received
    before it has been applied; what came later cannot witness a silence yet.
    """
    due = [row for row in tx.due(ForeignTrack, "due_ms", at_ms, SWEEP_ROWS) if row.tenant == rules.tenant]
    if not due:
        return Effects()
    edges = {row.edge: row for row in tx.get(Edge, sorted({(rules.tenant, track.edge) for track in due}))}
    since_ms = detectable_since(tx, rules.tenant, sorted({track.profile for track in due}))
    kept, ended, seen = [], [], []
    for track in due:
        edge = edges.get(track.edge)
        source = foreign.source_of(edge) if edge is not None else None
        left, fact = None, None
        if source is not None:
            life = _applied(lives.get(source), heard_up_to_ms)
            left, fact = foreign.look(track, foreign.Kind(source.kind), life, at_ms)
        if left is not None:
            kept.append(left)
        else:
            ended.append((track.tenant, track.edge, track.profile))
        if edge is not None and fact is not None and may_know(since_ms.get(track.profile), fact.at_ms):
            seen.append(_observe(edge, track.profile, fact, None, at_ms, "silence"))
    effects = arrive(tx, seen, rules, at_ms, new_id)
    tx.put(kept)
    tx.delete(ForeignTrack, ended)
    return effects


def _applied(life: Life | None, heard_up_to_ms: int) -> Life | None:
    return None if life is None else life._replace(last_ms=min(life.last_ms, heard_up_to_ms))


def _record_status(tx: Tx, edges: dict[Source, Edge], one: Received, rules: Rules, effects: Effects) -> None:
    """Keep the state of a node; whom it alone vouched for becomes `unknown` when it dies, never gone."""
    assert isinstance(one.said, NodeStatus)
    row, state = edges[one.said.source], "online" if one.said.online else "offline"
    if row.status == state:
        return
    edges[one.said.source] = _mark(tx, row, state, effects, one.at_ms)
    if not one.said.online:
        lose_edge(tx, row.store, row.edge, rules, one.at_ms)


def _commit(
    tx: Tx, edges: dict[Source, Edge], run: Sequence[Received], rules: Rules, at_ms: int, new_id: NewId, taken: Taken
) -> None:
    reports = []
    for one in run:
        assert isinstance(one.said, Report)
        edge = edges[one.said.source]
        if edge.status != "online":  # whoever reports is there, whatever its last will once said
            edge = edges[one.said.source] = _mark(tx, edge, "online", taken.effects, one.at_ms)
        reports.append(_Heard(edge, one.said, one.at_ms))
    group = _load(tx, reports, rules, at_ms)
    for heard in reports:
        _follow(group, heard, rules, at_ms)
    effects = arrive(tx, group.seen, rules, at_ms, new_id)
    tx.put(list(group.tracks.values()))
    tx.put(list(group.accounts.values()))
    taken.events += len(reports)
    taken.effects.notes += effects.notes
    taken.effects.pushes += effects.pushes


def _load(tx: Tx, reports: Sequence[_Heard], rules: Rules, at_ms: int) -> _Group:
    tenant = rules.tenant
    owner = owners_of(tx, rules, (one.report.beacon for one in reports))
    heard = {(one.edge.edge, beacon_id(one.report.beacon)) for one in reports}
    named = {(tenant, edge, owner[beacon]) for edge, beacon in heard if beacon in owner}
    tracks = {(row.tenant, row.edge, row.profile): row for row in tx.get(ForeignTrack, sorted(named))}
    room = 0
    if named - tracks.keys():
        room = rules.foreign_tracks_max - tx.count(ForeignTrack, {"tenant": tenant})
    return _Group(
        accounts=_accounts(tx, [one.edge for one in reports], at_ms),
        owner=owner,
        since_ms=detectable_since(tx, tenant, sorted(set(owner.values()))),
        tracks=tracks,
        room=room,
    )


def _follow(group: _Group, one: _Heard, rules: Rules, at_ms: int) -> None:
    """Apply one report and account for it."""
    edge, profile = one.edge, group.owner.get(beacon_id(one.report.beacon))
    if profile is None:
        _count(group.accounts, edge, "identity_refused")
        return
    if not may_know(group.since_ms.get(profile), one.at_ms):
        _count(group.accounts, edge, "consent_refused")
        return
    key = (edge.tenant, edge.edge, profile)
    if key not in group.tracks:
        if group.room <= 0:
            _count(group.accounts, edge, "lost")
            return
        group.room -= 1
    track, fact = foreign.hear(group.tracks.get(key), key, one.report, one.at_ms, rules.foreign_enter_dbm)
    group.tracks[key] = track
    _count(group.accounts, edge, "committed")
    number = str(group.accounts[edge.edge].received)
    seen = _observe(edge, profile, fact, one.report.rssi_dbm, one.at_ms, number)
    group.seen.append(seen._replace(late=at_ms - one.at_ms > rules.late_ms, holds=track.present))


def _observe(
    edge: Edge, profile: str, fact: Fact, level_dbm: float | None, received_at_ms: int, number: str
) -> Observation:
    return Observation(
        profile=profile,
        store=edge.store,
        source=edge.edge,
        zone=edge.zone,
        kind=fact.kind,
        at_ms=fact.at_ms,
        error_ms=foreign.ERROR_MS,
        received_at_ms=received_at_ms,
        late=False,
        level_dbm=level_dbm,
        trigger=f"{edge.edge}/{edge.source_kind}/{number}",
        pace=foreign.pace_of(edge),
    )


def _accounts(tx: Tx, edges: Iterable[Edge], at_ms: int) -> dict[str, ForeignAccount]:
    keys = sorted({(row.tenant, row.edge) for row in edges})
    found = {row.edge: replace(row, last_at_ms=at_ms) for row in tx.get(ForeignAccount, keys)}
    return {edge: found.get(edge) or foreign.new_account(tenant, edge, at_ms) for tenant, edge in keys}


def _count(accounts: dict[str, ForeignAccount], edge: Edge, name: str) -> None:
    row = accounts[edge.edge]
    accounts[edge.edge] = replace(row, received=row.received + 1, **{name: getattr(row, name) + 1})


def _mark(tx: Tx, row: Edge, state: str, effects: Effects, at_ms: int) -> Edge:
    changed = replace(row, status=state, status_at_ms=at_ms)
    tx.put([changed])
    effects.notes.append({"type": "edge", "edge": row.edge, "store": row.store, "state": state})
    return changed


def _name_strangers(tx: Tx, sources: set[Source], rules: Rules, at_ms: int) -> None:
    reason = 'this node is not enrolled: PUT /v1/edges/{edge} with it as "source"'
    rows = []
    for source in sorted(sources):
        name = f"{source.kind}-{hashlib.sha256(source.node.encode()).hexdigest()[:32]}"  # one row, however often
        rows.append(Quarantine(rules.tenant, name, f"{source.kind}:{source.node}", "", 0, "theirs", reason, "", at_ms))
    tx.put(rows)

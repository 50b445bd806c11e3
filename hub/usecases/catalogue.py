"""What staff set up: stores, zones, edges, offers. Each write is whole, versioned, and repeatable."""

from dataclasses import replace
from typing import Any, NamedTuple

from hub.core.authority import HUB_NAME
from hub.core.foreign import Source, source_of
from hub.core.foreign_records import ForeignTrack
from hub.core.grants import Denied
from hub.core.model import Edge, Offer, Shop, Zone
from hub.core.offers import read_body
from hub.ports import Tx
from hub.usecases.arrivals import MANY

OFFER_STATES = ("draft", "live", "paused", "ended")


class ShopSaid(NamedTuple):
    """A store: IANA time zone, BCP 47 locale, ISO 4217 currency. All validated by the caller."""

    name: str
    tz: str
    locale: str
    currency: str


def put_shop(tx: Tx, tenant: str, store: str, said: ShopSaid, at_ms: int) -> Shop:
    """Make or change a store."""
    old = tx.get(Shop, [(tenant, store)])
    row = Shop(tenant, store, said.name, said.tz, said.locale, said.currency, 1, at_ms)
    if old:
        row = _next(old[0], row)
    tx.put([row])
    return row


def put_zone(tx: Tx, tenant: str, store: str, zone: str, name: str, kind: str, at_ms: int) -> Zone | Denied:
    """Make or change a zone of a store."""
    if not tx.get(Shop, [(tenant, store)]):
        return _no_store(store)
    old = tx.get(Zone, [(tenant, store, zone)])
    row = Zone(tenant, store, zone, name, kind, 1, at_ms)
    if old:
        row = _next(old[0], row)
    tx.put([row])
    return row


class EdgeSaid(NamedTuple):
    """Where an edge stands; `zone` None: in no zone. `till`: redeems when the hub cannot be reached.

    `source` names the node of another make that listens there; None: an edge of ours.
    """

    store: str
    zone: str | None
    till: bool
    source: Source | None = None


def put_edge(tx: Tx, tenant: str, edge: str, said: EdgeSaid, at_ms: int) -> Edge | Denied:
    """Enrol or move an edge; only enrolled edges are listened to."""
    if edge == HUB_NAME:
        return Denied("reserved_name", f"{HUB_NAME} is the hub's own name on the broker: choose another.")
    if not tx.get(Shop, [(tenant, said.store)]):
        return _no_store(said.store)
    if said.zone is not None and not tx.get(Zone, [(tenant, said.store, said.zone)]):
        path = f"/v1/stores/{said.store}/zones/{said.zone}"
        return Denied("unknown_zone", f"Store {said.store} has no zone {said.zone}: PUT {path} first.")
    if said.source is not None and (taken := _holder(tx, tenant, said.source)) not in (None, edge):
        return Denied("source_taken", f"Edge {taken} is enrolled for this node; a node speaks for one edge only.")
    old = tx.get(Edge, [(tenant, edge)])
    row = Edge(tenant, edge, said.store, said.zone, said.till, "never", "", 0, 1, at_ms, *(said.source or (None, None)))
    if old:
        was = old[0]
        if source_of(was) == said.source:
            heard = ("status", "status_boot", "status_at_ms", "boots", "cloned_at_ms")
            row = replace(row, **{name: getattr(was, name) for name in heard})
        if (was.store, source_of(was)) != (said.store, said.source):
            _forget_tracks(tx, tenant, edge)
        row = _next(was, row)
    tx.put([row])
    return row


def _holder(tx: Tx, tenant: str, source: Source) -> str | None:
    rows = tx.find(Edge, {"tenant": tenant, "source_kind": source.kind, "source_node": source.node}, limit=1)
    return rows[0].edge if rows else None


def _forget_tracks(tx: Tx, tenant: str, edge: str) -> None:
    """Whom the edge heard where it was before, it does not hear where it is now."""
    tracks = tx.find(ForeignTrack, {"tenant": tenant, "edge": edge}, limit=MANY)
    tx.delete(ForeignTrack, [(tenant, edge, track.profile) for track in tracks])


def put_offer(tx: Tx, tenant: str, offer: str, state: str, body: dict[str, Any], at_ms: int) -> Offer | Denied:
    """A new version of an offer, unless nothing changed. Grants of older versions keep their terms.

    Raises:
        BadRequest: the body is wrong; the text names the field.
    """
    read = read_body(body)
    stores = {*read.trigger.stores, *([read.redeem_store] if read.redeem_store else [])}
    known = {row.store for row in tx.get(Shop, [(tenant, store) for store in stores])}
    if stores - known:
        return _no_store(min(stores - known))
    plain = read.model_dump(mode="json")
    current = tx.find(Offer, {"tenant": tenant, "offer": offer, "superseded_at_ms": None}, limit=1)
    if current and (current[0].state, current[0].body) == (state, plain):
        return current[0]
    version = current[0].version + 1 if current else 1
    row = Offer(tenant, offer, version, state, plain, at_ms, None)
    tx.put([*(replace(old, superseded_at_ms=at_ms) for old in current), row])
    return row


def _next(old: Any, new: Any) -> Any:
    """The next version; the old row itself when nothing changed."""
    same = replace(new, version=old.version, updated_at_ms=old.updated_at_ms)
    return old if same == old else replace(new, version=old.version + 1)


def _no_store(store: str) -> Denied:
    return Denied("unknown_store", f"There is no store {store}: PUT /v1/stores/{store} first.")

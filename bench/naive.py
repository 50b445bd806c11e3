"""The rival: what a good developer writes in an afternoon with FastAPI, paho, pydantic and the sqlite3 of the standard
library. One message per event, one commit per event; the same decision function, wire models and offers as the hub.

    python -m bench.naive NAME BROKER_PORT HTTP_PORT DATABASE [--wal]

`--wal` is its better-informed brother: `journal_mode = WAL`, `synchronous = NORMAL`. Neither survives what the hub
survives: no watermark, so a repeated message counts twice; no arrival lock, no zones by level, no push outbox; it
acknowledges before it commits.
"""

import argparse
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.clock import now_ms
from bench.crowd import STORES, TENANT, ZONES, Person, edge_name, offers
from bench.plan import Found
from hub.core.decision import Candidate, Moment, address, decide, triggered
from hub.core.decision import Person as Judged
from hub.core.grants import Place, issue
from hub.core.model import Device, Grant, Offer, Shop
from hub.core.offers import read_body
from wire.messages import BeaconKey, Presence, PresenceEvent

GRACE_MS = 20_000
KEEPALIVE_S = 3_600
"""A rival stands still while others are measured; the broker must not take that for its end."""

SCHEMA = """
CREATE TABLE person (beacon TEXT PRIMARY KEY, profile TEXT NOT NULL);
CREATE TABLE consent (profile TEXT, purpose TEXT, given INTEGER, PRIMARY KEY (profile, purpose));
CREATE TABLE device (device TEXT PRIMARY KEY, profile TEXT NOT NULL);
CREATE INDEX device_profile ON device (profile);
CREATE TABLE event (edge TEXT, boot TEXT, seq INTEGER, profile TEXT, kind TEXT, at_ms INTEGER, rssi_dbm REAL);
CREATE TABLE refused (edge TEXT, boot TEXT, events INTEGER, PRIMARY KEY (edge, boot));
CREATE TABLE visit (visit TEXT PRIMARY KEY, profile TEXT, store TEXT, entered_at_ms INTEGER, seen_at_ms INTEGER,
                    inside INTEGER, zone TEXT, zone_since_ms INTEGER, fired TEXT, pushes INTEGER);
CREATE INDEX visit_profile ON visit (profile, store, entered_at_ms);
CREATE TABLE decision (decision TEXT PRIMARY KEY, profile TEXT, store TEXT, visit TEXT, candidates TEXT, at_ms INTEGER);
CREATE TABLE offer_grant (grant_id TEXT PRIMARY KEY, profile TEXT, offer TEXT, body TEXT);
CREATE INDEX offer_grant_profile ON offer_grant (profile);
"""


def furnish(database: Path, people: Sequence[Person], wal: bool) -> None:
    """Make its database, with the same people in it."""
    with closing(_open(database, wal)) as db, db:
        db.executescript(SCHEMA)
        db.executemany("INSERT INTO person VALUES (?, ?)", [(beacon_text(one.beacon), one.profile) for one in people])
        db.executemany("INSERT INTO device VALUES (?, ?)", [(one.device, one.profile) for one in people])
        purposes = ("presence_detection", "personalised_offers", "marketing_push")
        db.executemany(
            "INSERT INTO consent VALUES (?, ?, 1)", [(o.profile, p) for o in people if o.consenting for p in purposes]
        )


def found(database: Path, boot: str, profiles: set[str]) -> Found:
    """What it did with the messages of one boot, about these people."""
    outcome = Found()
    with closing(sqlite3.connect(database)) as db:
        for profile, store, candidates in db.execute("SELECT profile, store, candidates FROM decision"):
            if profile in profiles:
                outcome.decide(profile, store, json.loads(candidates))
        for profile, offer in db.execute("SELECT profile, offer FROM offer_grant"):
            if profile in profiles:
                outcome.grants[profile, offer] += 1
        (total,) = db.execute("SELECT coalesce(sum(events), 0) FROM refused WHERE boot = ?", [boot]).fetchone()
        outcome.refused = int(total)
    return outcome


def beacon_text(beacon: BeaconKey) -> str:
    """A beacon as one column."""
    return f"{beacon.uuid}/{beacon.major}/{beacon.minor}"


def _open(database: Path, wal: bool) -> sqlite3.Connection:
    db = sqlite3.connect(database, check_same_thread=False)
    db.row_factory = sqlite3.Row
    if wal:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    return db


class Naive:
    """Handles one message at a time, on paho's thread."""

    def __init__(self, db: sqlite3.Connection, client: paho.Client, name: str) -> None:
        self.db, self.client, self.name = db, client, name
        self.zones = {edge_name(store, zone): (store, zone) for store in STORES for zone in ZONES}
        self.shops = {one: Shop(TENANT, one, one, "UTC", "en", "EUR", 1, 0) for one in STORES}
        rows = [(Offer(TENANT, key, 1, "live", body, 0, None), read_body(body)) for key, body in offers().items()]
        self.offers = sorted(rows, key=lambda row: row[0].offer)

    def on_connect(self, client: paho.Client, *_: object) -> None:
        """Subscribe, at every connection."""
        client.subscribe([(f"{self.name}/presence", 1), (f"{self.name}/end", 1)])

    def on_subscribe(self, client: paho.Client, *_: object) -> None:
        """Tell whoever measures that it hears."""
        client.publish(f"{self.name}/ready", b"", 1)

    def on_message(self, _client: paho.Client, _userdata: object, raw: paho.MQTTMessage) -> None:
        """One event: validate, look up, insert, decide, commit, publish."""
        if raw.topic.endswith("/end"):  # of a backlog: whoever measures wants to know that it has been handled
            self.client.publish(f"{self.name}/ended", b"", 1)
            return
        message = Presence.model_validate_json(raw.payload)
        event = message.events[0]
        assert isinstance(event, PresenceEvent)
        decision = self.handle(message, event)
        self.db.commit()
        if decision is not None:
            self.client.publish(f"{self.name}/decision/{decision}", b"")

    def handle(self, message: Presence, event: PresenceEvent) -> str | None:
        """Record an event; the decision it led to, if any."""
        row = self.db.execute("SELECT profile FROM person WHERE beacon = ?", [beacon_text(event.beacon)]).fetchone()
        profile = str(row["profile"]) if row else ""
        purposes = {
            str(one["purpose"])
            for one in self.db.execute("SELECT purpose FROM consent WHERE profile = ? AND given", [profile])
        }
        if "presence_detection" not in purposes:
            self.db.execute(
                "INSERT INTO refused VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET events = events + 1",
                [message.edge, message.boot],
            )
            return None
        store, zone = self.zones[message.edge]
        at_ms = message.clock.offset_ms + event.observed_mono_ms
        self.db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
            [message.edge, message.boot, event.seq, profile, event.kind, at_ms, event.rssi_dbm],
        )
        return self.advance(profile, purposes, (store, zone), event.kind, at_ms)

    def advance(
        self, profile: str, purposes: Iterable[str], where: tuple[str, str], kind: str, at_ms: int
    ) -> str | None:
        """The visit goes on, or a new one begins; what that triggers."""
        store, zone = where
        row = self.db.execute(
            "SELECT * FROM visit WHERE profile = ? AND store = ? ORDER BY entered_at_ms DESC LIMIT 1", [profile, store]
        ).fetchone()
        opened = row is None or (not row["inside"] and at_ms - row["seen_at_ms"] > GRACE_MS)
        if opened:
            visit: dict[str, Any] = {"visit": uuid4().hex, "profile": profile, "store": store, "entered_at_ms": at_ms,
                     "seen_at_ms": at_ms, "inside": 0, "zone": None, "zone_since_ms": 0, "fired": "[]",
                     "pushes": 0}  # fmt: skip
        else:
            visit = dict(row)
        moved = kind != "exit" and visit["zone"] != zone
        if moved:
            visit.update(zone=zone, zone_since_ms=at_ms)
        visit["inside"] += {"enter": 1, "exit": -1}.get(kind, 0)
        visit["seen_at_ms"] = max(visit["seen_at_ms"], at_ms)
        decision = None
        if kind != "exit":
            entered = (*((None,) if opened else ()), *((ZONES[zone],) if moved else ()))
            stays = ((None, at_ms - visit["entered_at_ms"]), (ZONES[zone], at_ms - visit["zone_since_ms"]))
            decision = self.decide(visit, purposes, Moment(store, at_ms, entered, stays))
        self.db.execute("INSERT OR REPLACE INTO visit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(visit.values()))
        return decision

    def decide(self, visit: dict[str, Any], purposes: Iterable[str], moment: Moment) -> str | None:
        """Ask the hub's own decision function, and keep what it says."""
        fired = json.loads(visit["fired"])
        hits = triggered(self.offers, moment, fired)
        if not hits:
            return None
        fresh = [self.offers[place] for place in hits]
        profile, at_ms = visit["profile"], now_ms()
        grants = [
            Grant(**json.loads(row["body"]))
            for row in self.db.execute("SELECT body FROM offer_grant WHERE profile = ?", [profile])
        ]
        devices = [
            Device(TENANT, row["device"], profile, "mqtt", "", True, 0, None)
            for row in self.db.execute("SELECT device FROM device WHERE profile = ?", [profile])
        ]
        person = Judged(profile, set(purposes), devices, grants, visit["pushes"])
        judged = decide(fresh, person, self.shops[moment.store], self.shops.keys(), at_ms)
        visit["fired"] = json.dumps(fired + [offer.offer for offer, _ in fresh])
        decision = uuid4().hex
        if judged[0].reason is None:
            address(devices)
            self.grant(judged[0], visit, decision, at_ms)
        candidates = json.dumps([(one.offer.offer, one.reason) for one in judged])
        self.db.execute(
            "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?)",
            [decision, profile, moment.store, visit["visit"], candidates, at_ms],
        )
        return decision

    def grant(self, chosen: Candidate, visit: dict[str, Any], decision: str, at_ms: int) -> None:
        """Promise the chosen offer."""
        place = Place(TENANT, uuid4().hex, visit["profile"], visit["store"], visit["visit"], decision)
        grant = issue(chosen.offer, chosen.body, place, uuid4().hex, at_ms)
        body = json.dumps({name: getattr(grant, name) for name in grant.__dataclass_fields__})
        self.db.execute("INSERT INTO offer_grant VALUES (?, ?, ?, ?)", [grant.grant, grant.profile, grant.offer, body])
        visit["pushes"] += 1


def create_app(name: str, broker_port: int, database: Path, wal: bool) -> FastAPI:
    """The web application; the MQTT client runs beside it for as long as it does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        with closing(_open(database, wal)) as db:
            naive = Naive(db, client, name)
            client.on_connect = naive.on_connect
            client.on_subscribe = naive.on_subscribe
            client.on_message = naive.on_message
            client.connect("127.0.0.1", broker_port, KEEPALIVE_S)
            client.loop_start()
            yield
            client.loop_stop()

    app = FastAPI(lifespan=lifespan)

    @app.get("/decisions/{profile}")
    def decisions(profile: str) -> list[dict[str, Any]]:
        """Why somebody got, or did not get, an offer."""
        with closing(_open(database, wal)) as db:
            return [dict(row) for row in db.execute("SELECT * FROM decision WHERE profile = ?", [profile])]

    return app


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="bench.naive")
    parser.add_argument("name")
    parser.add_argument("broker_port", type=int)
    parser.add_argument("http_port", type=int)
    parser.add_argument("database", type=Path)
    parser.add_argument("--wal", action="store_true")
    asked = parser.parse_args()
    app = create_app(asked.name, asked.broker_port, asked.database, asked.wal)
    uvicorn.run(app, host="127.0.0.1", port=asked.http_port, log_level="warning")


if __name__ == "__main__":
    main()

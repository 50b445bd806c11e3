"""The API over a real writer and store, called in process."""

import itertools
import os

import httpx
import pytest

from hub.api.app import AppContext, create_app
from hub.api.deps import Health
from hub.intake.stream import Stream
from hub.intake.writer import GroupWriter
from hub.stores import open_store
from hub.usecases.arrivals import Rules
from hub.usecases.keys import KeyFor, create_key
from tests.fakes import ManualClock
from tests.hub.build import KEY, TENANT, Ids

PREFIX = "d0c41e02"


class NothingAfter:
    """An `After` that does nothing."""

    def committed(self, tokens, acks, effects):
        pass

    def troubled(self, reason):
        pass


class Api:
    """A hub's API: `call(method, path, body, key)`; keys `staff`, `app`, `pos` exist."""

    def __init__(self, store, enrolling=None):
        self.clock, self.store, self.stream = ManualClock(), store, Stream()
        self.rules = Rules(tenant=TENANT, hmac_key=KEY)
        self.new_id = Ids()
        self.writer = GroupWriter(store, self.clock, self.new_id, self.rules, NothingAfter())
        self.health = Health(0, True, 0, {"writer_events": 3.0}, {"writer_waiting": 0.0})
        self.app = create_app(
            AppContext(
                store=store, writer=self.writer, clock=self.clock, new_id=self.new_id, rules=self.rules,
                prefix=PREFIX, random_bytes=os.urandom, watch=self.stream.watch, notify=self.stream.notify,
                health=lambda: self.health, enrolling=enrolling,
            )
        )  # fmt: skip
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://hub"
        )
        self.keys = {}
        with store.write() as tx:
            for scope in ("staff", "app", "pos", "intake"):
                made = create_key(tx, TENANT, KeyFor(scope, "test"), os.urandom(32), self.clock.now_ms(), self.new_id)
                self.keys[scope] = made.text
        self.numbers = itertools.count()

    async def call(self, method, path, body=None, key="staff", **headers):
        text = self.keys.get(key, key)
        return await self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {text}", **headers})

    async def ok(self, method, path, body=None, key="staff", **headers):
        reply = await self.call(method, path, body, key, **headers)
        assert reply.is_success, reply.text
        return reply.json()

    async def furnish(self):
        shop = {"name": "Shop", "tz": "Europe/Vienna", "locale": "de-AT", "currency": "EUR"}
        await self.ok("PUT", "/v1/stores/s1", shop)
        await self.ok("PUT", "/v1/stores/s1/zones/door", {"name": "Door", "kind": "door"})
        await self.ok("PUT", "/v1/edges/e1", {"store": "s1", "zone": "door"})

    async def enrol(self, **more):
        return await self.ok("POST", "/v1/devices", {"locale": "en", "tz": "UTC", **more}, "app")

    async def consent(self, phone, **purposes):
        notice = {"notice": "n@1", "notice_sha256": "0" * 64, "method": "app_screen"}
        return await self.ok("PUT", "/v1/consents", {"purposes": purposes, **notice}, phone["key"])


@pytest.fixture
async def api():
    store = open_store("memory:")
    found = Api(store)
    found.writer.start()
    yield found
    await found.http.aclose()
    assert found.writer.stop(30)
    assert found.writer.fault is None

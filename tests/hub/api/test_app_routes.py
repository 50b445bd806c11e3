"""What a phone can do."""

import asyncio

from hub.core.model import Consent, Grant, Identity, Push, Visit
from hub.core.states import GrantState, PushState, VisitState
from tests.hub.api.conftest import PREFIX
from tests.hub.build import TENANT
from tests.store_contract import grant, push, visit

EVERYTHING = {"presence_detection": True, "personalised_offers": True, "marketing_push": True}
OFFER = {
    "name": "welcome",
    "trigger": {"on": "enter"},
    "curve": {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 600_000},
    "currency": "EUR",
    "content": {"en": {"title": "Hello"}, "de": {"title": "Hallo"}},
}


async def test_a_phone_enrols_and_gets_a_beacon_under_our_prefix_a_key_and_a_topic(api):
    phone = await api.enrol()
    assert phone["beacon"]["uuid"].startswith(PREFIX)
    assert phone["push_topic"] == f"doorchime/v1/app/{phone['device']}/push"
    me = await api.ok("GET", "/v1/me", key=phone["key"])
    assert me["profile"]["profile"] == phone["profile"]
    assert not any(me["consents"].values()), "nobody has consented to anything by enrolling"


async def test_the_store_holds_no_beacon_in_the_clear(api):
    phone = await api.enrol(loyalty_id="card-4711")
    with api.store.read() as tx:
        text = str(list(tx.scan(TENANT)))
        assert tx.count(Identity, {"tenant": TENANT, "profile": phone["profile"]}) == 2
    assert phone["beacon"]["uuid"] not in text
    assert "card-4711" not in text


async def test_a_beacon_that_belongs_to_somebody_is_refused_to_the_next(api):
    phone = await api.enrol()
    for body in ({"beacon": phone["beacon"]},):
        reply = await api.call("POST", "/v1/devices", body, "app")
        assert (reply.status_code, reply.json()["type"]) == (409, "urn:doorchime:problem:already_enrolled")


async def test_a_loyalty_number_does_not_open_somebody_elses_account(api):
    await api.enrol(loyalty_id="card")
    assert (await api.call("POST", "/v1/devices", {"loyalty_id": "card"}, "app")).status_code == 409


async def test_a_phones_own_key_adds_a_device_to_the_same_person(api):
    phone = await api.enrol()
    tablet = await api.ok("POST", "/v1/devices", {}, phone["key"])
    assert tablet["profile"] == phone["profile"]
    assert tablet["device"] != phone["device"]


async def test_enrolling_again_with_the_same_idempotency_key_gives_the_same_phone_and_a_key_that_works(api):
    first = await api.ok("POST", "/v1/devices", {}, "app", **{"Idempotency-Key": "abc"})
    again = await api.ok("POST", "/v1/devices", {}, "app", **{"Idempotency-Key": "abc"})
    assert {**first, "key": ""} == {**again, "key": ""}
    assert (await api.call("GET", "/v1/me", key=again["key"])).status_code == 200
    assert (await api.call("GET", "/v1/me", key=first["key"])).status_code == 401


async def test_consent_is_given_kept_and_withdrawn(api):
    phone = await api.enrol()
    assert (await api.consent(phone, **EVERYTHING))["purposes"]["marketing_push"] is True
    after = await api.consent(phone, marketing_push=False)
    assert after["purposes"]["presence_detection"] is True
    assert after["purposes"]["marketing_push"] is False
    assert (await api.ok("GET", "/v1/consents", key=phone["key"])) == after


async def test_consent_said_again_is_in_force_since_it_was_first_said(api):
    phone = await api.enrol()
    await api.consent(phone, presence_detection=True)
    since = api.clock.now_ms()
    api.clock.advance(1000)
    await api.consent(phone, presence_detection=True)
    with api.store.read() as tx:
        (row,) = tx.get(Consent, [(TENANT, phone["profile"], "presence_detection")])
    assert row.at_ms == since


async def test_withdrawing_holds_back_what_was_not_sent_and_ends_the_visit(api):
    phone = await api.enrol()
    await api.consent(phone, **EVERYTHING)
    mine = {"profile": phone["profile"]}
    with api.store.write() as tx:
        tx.put([push("p1", grant="g1", **mine), push("p2", grant="g2", state="sent", **mine)])
        tx.put([grant("g1", **mine), grant("g2", state="delivered", **mine)])
        tx.put([visit("v1", state="present", seen=77, zone="door", zone_since_ms=5, edges={}, fired=[], **mine)])
    await api.consent(phone, presence_detection=False)
    with api.store.read() as tx:
        states = {one.push: (one.state, one.body) for one in tx.find(Push, {"tenant": TENANT})}
        grants = {one.grant: one.state for one in tx.find(Grant, {"tenant": TENANT})}
        (stay,) = tx.get(Visit, [(TENANT, "v1")])
    assert states["p1"] == (PushState.SUPPRESSED, {})
    assert states["p2"][0] == "sent"
    assert grants == {"g1": GrantState.REVOKED, "g2": "delivered"}, "what was shown stays a promise"
    assert (stay.state, stay.left_at_ms, stay.deadline_ms) == (VisitState.CLOSED, 77, None)


async def test_a_sighting_opens_a_visit_and_brings_an_offer_into_the_wallet(api):
    await api.furnish()
    await api.ok("PUT", "/v1/offers/welcome", {"state": "live", "body": OFFER})
    phone = await api.enrol()
    await api.consent(phone, **EVERYTHING)
    seen = {"store": "s1", "state": "entered", "at_ms": api.clock.now_ms(), "nonce": "n1"}
    for _ in range(2):
        assert (await api.call("POST", "/v1/sightings", seen, phone["key"])).status_code == 202
    api.clock.advance(300_000)
    (mine,) = (await api.ok("GET", "/v1/offers", key=phone["key"]))["items"]
    assert (mine["title"], mine["value_bp"], mine["state"], mine["locked"]) == ("Hello", 1750, "issued", None)
    report = await api.ok("GET", "/v1/reports")
    assert (report["visits"], report["decisions"], report["pushes"]["queued"]) == (1, 1, 1)


async def test_the_code_in_the_wallet_is_the_one_in_the_push_and_works_at_the_till(api):
    await api.furnish()
    await api.ok("PUT", "/v1/offers/welcome", {"state": "live", "body": OFFER})
    phone = await api.enrol()
    await api.consent(phone, **EVERYTHING)
    seen = {"store": "s1", "state": "entered", "at_ms": api.clock.now_ms(), "nonce": "n1"}
    await api.call("POST", "/v1/sightings", seen, phone["key"])
    with api.store.read() as tx:
        (push,) = tx.find(Push, {"tenant": TENANT})
    (mine,) = (await api.ok("GET", "/v1/offers", key=phone["key"]))["items"]
    assert mine["code"] == push.body["code"], "the push may be lost with the broker"
    basket = {"code": mine["code"], "pos": "till-1", "store": mine["store"], "basket_minor": 5000, "currency": "EUR"}
    done = await api.ok("POST", "/v1/redemptions", basket, "pos", **{"Idempotency-Key": "k1"})
    assert done["grant"] == mine["grant"]
    assert (await api.ok("GET", "/v1/offers", key=phone["key"]))["items"] == []


async def test_a_sighting_without_consent_leaves_nothing(api):
    await api.furnish()
    phone = await api.enrol()
    seen = {"store": "s1", "state": "entered", "at_ms": api.clock.now_ms(), "nonce": "n1"}
    assert (await api.call("POST", "/v1/sightings", seen, phone["key"])).status_code == 202
    assert (await api.ok("GET", "/v1/reports"))["visits"] == 0


async def test_the_export_holds_everything_and_no_secret(api):
    await api.furnish()
    phone = await api.enrol()
    await api.consent(phone, **EVERYTHING)
    seen = {"store": "s1", "state": "entered", "at_ms": api.clock.now_ms(), "nonce": "n1"}
    await api.call("POST", "/v1/sightings", seen, phone["key"])
    held = await api.ok("GET", "/v1/me/export", key=phone["key"])
    assert {"profile", "identity", "device", "consent", "consent_event", "visit", "api_key"} <= set(held)
    assert "secret_sha256" not in str(held)


async def test_erasure_leaves_nobody_and_ends_the_key(api):
    phone = await api.enrol()
    await api.consent(phone, **EVERYTHING)
    done = await api.ok("DELETE", "/v1/me", key=phone["key"])
    assert done["erased"]["profile"] == 1
    assert (await api.call("GET", "/v1/me", key=phone["key"])).status_code == 401
    with api.store.read() as tx:
        left = [(table, values) for table, values in tx.scan(TENANT) if phone["profile"] in str(values)]
    assert [table for table, _ in left] == [], left


async def test_the_live_stream_tells_of_what_was_committed(api):
    with api.stream.watch() as events:
        api.stream.notify({"type": "visit", "visit": "v"})
        async with asyncio.timeout(30):
            assert (await anext(aiter(events)))["visit"] == "v"

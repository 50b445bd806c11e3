"""What staff and tills can do, and what nobody can."""

import asyncio
import os
from dataclasses import replace

import pytest

from hub.core.boots import ALARM_MS
from hub.core.grants import code_hash
from hub.core.model import Edge
from hub.usecases.keys import KeyFor, create_key
from tests.hub.api.test_app_routes import OFFER
from tests.hub.build import TENANT
from tests.store_contract import grant
from wire.errors import StoreFault

CURVE = {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 600_000}


def granted(api, code="secret", **changes):
    base = {
        "code_hash": code_hash(code), "curve": CURVE, "store": "s1", "currency": "EUR", "min_basket_minor": 500,
        "max_discount_minor": 100_000, "issued_at_ms": api.clock.now_ms(), "hold_until_ms": None, "lock_bp": None,
        "expires_at_ms": api.clock.now_ms() + 600_000, "due_at_ms": api.clock.now_ms() + 600_001,
    }  # fmt: skip
    with api.store.write() as tx:
        tx.put([grant(f"g-{code}", **base | changes)])


async def till(api, idempotency="k1", key="pos", **changes):
    body = {"code": "secret", "pos": "till-1", "store": "s1", "basket_minor": 10_000, "currency": "EUR", **changes}
    return await api.call("POST", "/v1/redemptions", body, key, **{"Idempotency-Key": idempotency})


async def test_a_till_redeems_and_a_repeat_gets_the_same_answer(api):
    granted(api)
    api.clock.advance(300_000)
    first = await till(api)
    assert first.status_code == 201
    assert (first.json()["value_bp"], first.json()["discount_minor"]) == (1750, 1750)
    assert (await till(api)).json() == first.json()
    again = await till(api, "k2")
    assert (again.status_code, again.json()["type"]) == (409, "urn:doorchime:problem:already_redeemed")


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"code": "guess"}, 404, "unknown_code"),
        ({"store": "s2"}, 422, "wrong_store"),
        ({"currency": "USD"}, 422, "wrong_currency"),
        ({"basket_minor": 499}, 422, "basket_too_small"),
        ({"basket_minor": -1}, 422, "invalid"),
        ({"surprise": 1}, 422, "invalid"),
    ],
)
async def test_refusals_are_problems_that_say_what_to_do(api, changes, status, reason):
    granted(api)
    reply = await till(api, **changes)
    problem = reply.json()
    assert (reply.status_code, problem["status"], problem["type"]) == (
        status,
        status,
        f"urn:doorchime:problem:{reason}",
    )
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["title"]
    assert problem["detail"]
    assert (await till(api)).status_code == 201, "a refusal uses nothing up, not even the Idempotency-Key"


async def test_an_expired_and_a_revoked_code_are_gone(api):
    granted(api, "old", expires_at_ms=api.clock.now_ms() - 1)
    granted(api, "gone", state="revoked")
    assert (await till(api, code="old")).json()["type"].endswith(":expired")
    assert (await till(api, code="gone")).json()["type"].endswith(":revoked")


async def test_the_same_idempotency_key_for_another_request_is_refused(api):
    granted(api)
    await till(api)
    reply = await till(api, basket_minor=20_000)
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:doorchime:problem:idempotency_mismatch")


async def test_redeeming_needs_an_idempotency_key(api):
    body = {"code": "x", "pos": "t", "store": "s1", "basket_minor": 1, "currency": "EUR"}
    assert (await api.call("POST", "/v1/redemptions", body, "pos")).status_code == 422


async def test_of_64_tills_one_wins(api):
    granted(api)
    replies = await asyncio.gather(*(till(api, f"k{n}", pos=f"till-{n}") for n in range(64)))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 63


async def test_a_redemption_can_be_taken_back_once(api):
    granted(api)
    done = (await till(api)).json()
    back = await api.call("POST", f"/v1/redemptions/{done['redemption']}/reversal", key="pos")
    assert (back.status_code, back.json()["state"]) == (200, "reversed")
    again = await api.call("POST", f"/v1/redemptions/{done['redemption']}/reversal", key="pos")
    assert again.status_code == 409
    assert (await till(api, "k9")).status_code == 409, "the code stays used"
    assert (await api.call("POST", "/v1/redemptions/none/reversal", key="pos")).status_code == 404


async def test_staff_set_up_a_store_and_writes_are_versioned(api):
    await api.furnish()
    shop = {"name": "New", "tz": "UTC", "locale": "en", "currency": "EUR"}
    assert (await api.ok("PUT", "/v1/stores/s1", shop))["version"] == 2
    assert (await api.ok("PUT", "/v1/stores/s1", shop))["version"] == 2, "nothing changed"
    assert [one["store"] for one in (await api.ok("GET", "/v1/stores"))["items"]] == ["s1"]
    assert [one["zone"] for one in (await api.ok("GET", "/v1/zones?store=s1"))["items"]] == ["door"]
    assert [one["status"] for one in (await api.ok("GET", "/v1/edges"))["items"]] == ["never"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/stores/nope/zones/door", {"name": "Door", "kind": "door"}),
        ("/v1/edges/e9", {"store": "nope"}),
        ("/v1/edges/e9", {"store": "s1", "zone": "nope"}),
        ("/v1/offers/o9", {"state": "live", "body": OFFER | {"redeem_store": "nope"}}),
    ],
)
async def test_what_points_nowhere_is_refused_with_what_to_do_first(api, path, body):
    await api.furnish()
    reply = await api.call("PUT", path, body)
    assert reply.status_code == 404
    assert "PUT /v1/stores/" in reply.json()["detail"]


async def test_offers_are_versioned_and_the_catalogue_shows_the_current(api):
    await api.furnish()
    assert (await api.ok("PUT", "/v1/offers/o1", {"state": "draft", "body": OFFER}))["version"] == 1
    assert (await api.ok("PUT", "/v1/offers/o1", {"state": "live", "body": OFFER}))["version"] == 2
    assert (await api.ok("PUT", "/v1/offers/o1", {"state": "live", "body": OFFER}))["version"] == 2
    (shown,) = (await api.ok("GET", "/v1/offers"))["items"]
    assert (shown["version"], shown["state"]) == (2, "live")


async def test_a_bad_offer_names_the_field(api):
    body = OFFER | {"curve": CURVE | {"floor_bp": 9000}}
    reply = await api.call("PUT", "/v1/offers/o1", {"state": "live", "body": body})
    assert reply.status_code == 422
    assert "never rises" in reply.json()["detail"]


async def test_lists_are_paged(api):
    shop = {"name": "Shop", "tz": "UTC", "locale": "en", "currency": "EUR"}
    for n in range(5):
        await api.ok("PUT", f"/v1/stores/s{n}", shop)
    found, cursor = [], ""
    while True:
        page = await api.ok("GET", f"/v1/stores?limit=2{cursor}")
        found += [one["store"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == [f"s{n}" for n in range(5)]
    for bad in ("&cursor=%21%21", "&cursor=WyJvdGhlciIsImEiXQ", "&cursor=WzFd", "&limit=501"):
        reply = await api.call("GET", f"/v1/stores?limit=2{bad}" if "limit" not in bad else "/v1/stores?limit=501")
        assert reply.status_code in (400, 422), bad


ROUTES = [
    ("GET", "/v1/me", {"app"}),
    ("GET", "/v1/consents", {"app"}),
    ("GET", "/v1/stores", {"staff"}),
    ("GET", "/v1/reports", {"staff"}),
    ("GET", "/v1/visits", {"staff"}),
    ("GET", "/v1/decisions", {"staff"}),
    ("GET", "/v1/profiles/x", {"staff"}),
    ("GET", "/v1/stream", {"staff"}),
    ("PUT", "/v1/stores/s1", {"staff"}),
    ("PUT", "/v1/offers/o1", {"staff"}),
    ("POST", "/v1/edges", {"staff"}),
    ("GET", "/v1/edges/e1/credentials", {"staff"}),
    ("DELETE", "/v1/edges/e1/credentials", {"staff"}),
    ("POST", "/v1/redemptions", {"pos"}),
    ("POST", "/v1/devices", {"app", "staff"}),
]


@pytest.mark.parametrize(("method", "path", "scopes"), ROUTES)
async def test_each_route_takes_its_own_scopes_only(api, method, path, scopes):
    for scope in ("app", "staff", "pos", "intake"):
        if scope not in scopes:
            reply = await api.call(method, path, {}, scope)
            assert (reply.status_code, reply.json()["type"]) == (403, "urn:doorchime:problem:forbidden")
    for wrong in ("", "dc_x_y", "dc_" + "a" * 26 + "_" + "b" * 43, api.keys["staff"][:-1] + "!", "\x00"[:0]):
        reply = await api.call(method, path, {}, wrong)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == "Bearer"


def test_every_route_of_v1_is_in_the_list_of_scopes_or_guarded_alike(api):
    # the claim, or the signature with the present key, is the permission; the CA's certificate is for everybody
    proven = {("get", "/v1/ca"), ("post", "/v1/edges/claim"), ("post", "/v1/edges/{edge}/credentials")}
    public = {"/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"}
    for path, methods in api.app.openapi()["paths"].items():
        for method, route in methods.items():
            guarded = any(one["name"].lower() == "authorization" for one in route.get("parameters", []))
            assert guarded or path in public or (method, path) in proven, f"{method} {path} needs no key"


async def test_a_store_key_speaks_for_its_store_only(api):
    granted(api)
    from_other = await _key_for(api, "s2")
    assert (await till(api, key=from_other)).status_code == 403


async def _key_for(api, store):
    with api.store.write() as tx:
        return create_key(tx, "default", KeyFor("pos", "till", store=store), os.urandom(32), 0, api.new_id).text


async def test_a_body_beyond_the_limit_is_refused(api):
    reply = await api.http.put(
        "/v1/stores/s1", content=b"x" * 300_000, headers={"Authorization": f"Bearer {api.keys['staff']}"}
    )
    assert reply.status_code == 413


async def test_what_does_not_exist_is_a_problem_too(api):
    for method, path, status in (("GET", "/nope", 404), ("POST", "/healthz", 405), ("GET", "/v1/decisions/x", 404)):
        reply = await api.call(method, path)
        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/problem+json"


async def test_health_readiness_and_metrics(api):
    assert (await api.http.get("/healthz")).status_code == 200
    assert (await api.http.get("/readyz")).json()["status"] == "ready"
    api.health = api.health._replace(commit_age_ms=15_000)
    assert (await api.http.get("/readyz")).status_code == 503
    text = (await api.http.get("/metrics")).text
    assert "doorchime_writer_events_total 3.0" in text
    assert "doorchime_writer_waiting 0.0" in text


async def test_an_edge_whose_id_two_devices_use_is_shown_with_an_alarm(api):
    await api.furnish()
    with api.store.write() as tx:
        (row,) = tx.find(Edge, {"tenant": TENANT})
        tx.put([replace(row, boots=[["b1", 0, 0]], cloned_at_ms=api.clock.now_ms())])
    (shown,) = (await api.ok("GET", "/v1/edges"))["items"]
    assert shown["alarms"] == ["cloned"]
    assert "boots" not in shown
    await api.ok("PUT", "/v1/edges/e1", {"store": "s1", "zone": None})
    (shown,) = (await api.ok("GET", "/v1/edges"))["items"]
    assert shown["alarms"] == ["cloned"], "moving an edge does not take the second device away"
    api.clock.advance(ALARM_MS)
    (shown,) = (await api.ok("GET", "/v1/edges"))["items"]
    assert shown["alarms"] == []


async def test_a_hub_whose_store_refuses_says_so_and_asks_callers_to_come_back(api):
    await api.furnish()
    api.health = api.health._replace(trouble="SQLite: database or disk is full")
    reply = await api.call("GET", "/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, "not_ready")
    assert "disk is full" in reply.json()["reason"]
    api.writer.trouble = "SQLite: database or disk is full"
    body = {"name": "Shop", "tz": "Europe/Vienna", "locale": "de-AT", "currency": "EUR"}
    reply = await api.call("PUT", "/v1/stores/s2", body)
    api.writer.trouble = ""
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert "nothing was changed" in reply.json()["detail"]


async def test_a_store_that_cannot_be_read_is_busy_and_no_fault_of_the_program(api):
    class Away:
        def read(self):
            raise StoreFault("PostgreSQL cannot be reached")

    api.app.state.context = replace(api.app.state.context, store=Away())
    reply = await api.call("GET", "/v1/edges")
    assert reply.status_code == 503
    assert "cannot be reached" in reply.json()["detail"]

"""Claims, certificates, renewal, withdrawal: over the API, with the records in memory and on disk."""

import asyncio
import base64
from collections import Counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from hub.api.deps import Enrolling
from hub.core.authority import DAY_MS, EDGE_DAYS, fingerprint_of
from hub.core.enrolment_records import EdgeCertificate, EdgeClaim
from hub.stores import open_store
from hub.usecases.claims import CLAIM_MS, broker_rights
from tests.hub.api.conftest import Api
from tests.hub.build import NOON_MS, TENANT
from tests.mosquitto import Ca, csr
from wire.enrolment import renewal_text

BROKER = "mqtts://broker.shop:8883"


@pytest.fixture(params=["memory", "sqlite"])
async def hub(request, tmp_path):
    store = open_store("memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'hub.db'}")
    store.migrate()
    ca, changes = Ca(tmp_path / "ca", at_ms=NOON_MS), []
    found = Api(store, Enrolling(ca.authority, BROKER, ("d0c41e02",), lambda: changes.append(1)))
    found.ca, found.changes = ca, changes
    found.writer.start()
    await found.furnish()
    yield found
    await found.http.aclose()
    assert found.writer.stop(30)
    assert found.writer.fault is None
    store.close()


async def claim(hub, edge="edge-door", **more):
    return await hub.ok("POST", "/v1/edges", {"edge": edge, "store": "s1", "zone": "door", **more})


async def trade(hub, text, name="edge-door", key=None):
    request, key = csr(name, key)
    return await hub.call("POST", "/v1/edges/claim", {"claim": text, "csr": request}, key=""), key


async def enrolled(hub, edge="edge-door"):
    """An edge with a certificate; it and its key."""
    reply, key = await trade(hub, (await claim(hub, edge))["claim"], edge)
    assert reply.status_code == 201, reply.text
    return x509.load_pem_x509_certificate(reply.json()["certificate"].encode()), key


async def renewed(hub, present, key, fresh=None, edge="edge-door", **lies):
    request, fresh = csr(lies.get("name", edge), fresh)
    signature = key.sign(renewal_text(edge, lies.get("signed", request)), ec.ECDSA(hashes.SHA256()))
    body = {
        "serial": f"{present.serial_number:x}", "csr": request, "signature": base64.b64encode(signature).decode(),
    }  # fmt: skip
    return await hub.call("POST", f"/v1/edges/{edge}/credentials", body, key=""), fresh


def rights(hub):
    with hub.store.read() as tx:
        return broker_rights(tx, TENANT, hub.clock.now_ms())


def word(reply):
    return reply.status_code, reply.json()["type"].rpartition(":")[2]


async def test_a_claim_is_traded_for_a_certificate_of_the_edges_own_key(hub):
    made = await claim(hub)
    assert made["ca_fingerprint"] == hub.ca.authority.fingerprint
    assert made["expires_at_ms"] == hub.clock.now_ms() + CLAIM_MS
    reply, key = await trade(hub, made["claim"])
    answer = reply.json()
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    authority = x509.load_pem_x509_certificate(answer["ca"].encode())
    certificate.verify_directly_issued_by(authority)
    assert certificate.public_key() == key.public_key()
    assert [one.value for one in certificate.subject] == ["edge-door"]
    assert fingerprint_of(authority.public_bytes(serialization.Encoding.DER)) == made["ca_fingerprint"]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life.days == EDGE_DAYS
    assert (answer["edge"], answer["store"], answer["broker_url"]) == ("edge-door", "s1", BROKER)
    assert (await hub.ok("GET", "/v1/ca", key=""))["fingerprint"] == made["ca_fingerprint"]
    (listed,) = (await hub.ok("GET", "/v1/edges/edge-door/credentials"))["items"]
    assert (listed["renews"], listed["revoked_at_ms"]) == ("", None)
    assert "certificate" not in listed


async def test_of_a_hundred_who_trade_one_claim_at_once_exactly_one_wins(hub):
    text = (await claim(hub))["claim"]
    replies = await asyncio.gather(*(trade(hub, text) for _ in range(100)))
    assert Counter(reply.status_code for reply, _ in replies) == {201: 1, 409: 99}
    with hub.store.read() as tx:
        assert tx.count(EdgeCertificate, {"tenant": TENANT}) == 1
    assert word((await trade(hub, text))[0]) == (409, "claim_used")


async def test_the_secret_of_a_claim_is_nowhere_in_the_records(hub):
    text = (await claim(hub))["claim"]
    secret = text.rpartition("_")[2]
    with hub.store.read() as tx:
        rows = [str(row) for _, row in tx.scan(TENANT)]
    assert rows
    assert not [row for row in rows if secret in row]


async def test_a_claim_runs_out(hub):
    made = await claim(hub, valid_s=60)
    hub.clock.advance(60_000)
    assert word((await trade(hub, made["claim"]))[0]) == (410, "claim_expired")


async def test_a_new_claim_ends_the_one_before(hub):
    first, second = await claim(hub), await claim(hub)
    assert word((await trade(hub, first["claim"]))[0]) == (410, "claim_expired")
    assert (await trade(hub, second["claim"]))[0].status_code == 201


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dce",
        "dce_edge-door_x_y",
        "dc_a_b",
        "dce_edge-door_id00000001_" + "a" * 39,
        "dce_a_b_c_d",
        "_" * 3,
        "dce_edge-door_\x00_" + "a" * 39,
    ],
)
async def test_what_is_no_claim_is_refused(hub, text):
    await claim(hub)
    assert word((await trade(hub, text))[0]) == (404, "unknown_claim")


async def test_a_claim_is_for_its_edge_alone_and_survives_the_attempt(hub):
    text = (await claim(hub))["claim"]
    assert word((await trade(hub, text, "edge-till"))[0]) == (422, "wrong_name")
    assert word((await trade(hub, text, "doorchime-hub"))[0]) == (422, "wrong_name")
    renamed = text.replace("edge-door", "edge-till")
    assert word((await trade(hub, renamed, "edge-till"))[0]) == (404, "unknown_claim")
    assert (await trade(hub, text))[0].status_code == 201


def subject(*parts):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


async def test_only_plain_requests_of_p256_are_signed(hub):
    text = (await claim(hub))["claim"]
    door = (NameOID.COMMON_NAME, "edge-door")
    bad = {
        "rsa": csr("edge-door", rsa.generate_private_key(65537, 2048))[0],
        "another curve": csr("edge-door", ec.generate_private_key(ec.SECP384R1()))[0],
        "two names": csr("x", subject=subject(door, (NameOID.COMMON_NAME, "doorchime-hub")))[0],
        "more than a name": csr("x", subject=subject(door, (NameOID.ORGANIZATION_NAME, "x")))[0],
        "no name": csr("x", subject=x509.Name([]))[0],
        "nothing": "",
        "no request": hub.ca.authority.pem,
        "damaged": csr("edge-door")[0].replace("M", "N"),
    }
    for what, request in bad.items():
        reply = await hub.call("POST", "/v1/edges/claim", {"claim": text, "csr": request}, key="")
        assert word(reply) == (400, "bad_request"), what
    assert (await trade(hub, text))[0].status_code == 201


async def test_only_staff_enrols_and_withdraws(hub):
    for key in ("app", "pos", "nobody"):
        for method, path in (("POST", "/v1/edges"), ("DELETE", "/v1/edges/e1/credentials")):
            body = {"edge": "edge-x", "store": "s1"} if method == "POST" else None
            assert (await hub.call(method, path, body, key=key)).status_code in (401, 403)


async def test_no_edge_may_be_called_as_the_hub(hub):
    for method, path, body in (
        ("POST", "/v1/edges", {"edge": "doorchime-hub", "store": "s1"}),
        ("PUT", "/v1/edges/doorchime-hub", {"store": "s1"}),
    ):
        assert word(await hub.call(method, path, body)) == (422, "reserved_name")


async def test_an_unknown_store_gets_no_claim(hub):
    reply = await hub.call("POST", "/v1/edges", {"edge": "edge-x", "store": "nowhere"})
    assert word(reply) == (404, "unknown_store")
    with hub.store.read() as tx:
        assert tx.count(EdgeClaim, {"tenant": TENANT}) == 0


async def test_a_moved_edge_needs_another_claim(hub):
    text = (await claim(hub))["claim"]
    await hub.ok("PUT", "/v1/stores/s2", {"name": "2", "tz": "UTC", "locale": "en", "currency": "EUR"})
    await hub.ok("PUT", "/v1/edges/edge-door", {"store": "s2"})
    assert word((await trade(hub, text))[0]) == (410, "claim_expired")


# -- renewal -------------------------------------------------------------------------------------------------------


async def test_the_present_key_renews_and_the_answer_can_be_had_again(hub):
    present, key = await enrolled(hub)
    hub.clock.advance(60 * DAY_MS)
    reply, fresh = await renewed(hub, present, key)
    again, _ = await renewed(hub, present, key, fresh)
    assert reply.status_code == again.status_code == 201
    assert reply.json() == again.json()
    following = x509.load_pem_x509_certificate(reply.json()["certificate"].encode())
    assert following.not_valid_after_utc > present.not_valid_after_utc
    assert rights(hub).revoked == []
    third, _ = await renewed(hub, following, fresh)
    assert third.status_code == 201
    assert [serial for serial, _ in rights(hub).revoked] == [f"{present.serial_number:x}"]


async def test_who_renews_a_stolen_certificate_puts_the_edge_out_and_is_seen(hub):
    present, key = await enrolled(hub)
    first, _ = await renewed(hub, present, key)
    second, _ = await renewed(hub, present, key)
    revoked = [serial for serial, _ in rights(hub).revoked]
    assert revoked == [f"{x509.load_pem_x509_certificate(first.json()['certificate'].encode()).serial_number:x}"]
    assert second.status_code == 201


async def test_renewal_is_refused_to_everybody_else(hub):
    present, key = await enrolled(hub)
    other, other_key = await enrolled(hub, "edge-till")
    reply, _ = await renewed(hub, present, other_key)
    assert word(reply) == (401, "unauthorised")
    reply, _ = await renewed(hub, other, other_key, edge="edge-door")
    assert word(reply) == (401, "unauthorised")
    reply, _ = await renewed(hub, present, key, signed=csr("edge-door")[0])
    assert word(reply) == (401, "unauthorised")
    reply, _ = await renewed(hub, present, key, name="edge-till")
    assert word(reply) == (422, "wrong_name")
    reply, _ = await renewed(hub, present, key, key)
    assert word(reply) == (422, "invalid")
    hub.clock.advance(EDGE_DAYS * DAY_MS)
    reply, _ = await renewed(hub, present, key)
    assert word(reply) == (410, "expired")


# -- revocation ----------------------------------------------------------------------------------------------------


async def test_enrolling_again_revokes_what_was_before(hub):
    stolen, key = await enrolled(hub)
    await renewed(hub, stolen, key)
    await claim(hub)
    assert rights(hub).revoked == [], "a claim alone must not put a shop out"
    fresh, _ = await enrolled(hub)
    assert len(rights(hub).revoked) == 2
    assert f"{fresh.serial_number:x}" not in dict(rights(hub).revoked)
    assert word((await renewed(hub, stolen, key))[0]) == (410, "revoked")


async def test_a_withdrawn_edge_loses_its_rights_until_it_is_claimed_anew(hub):
    present, key = await enrolled(hub)
    pending = (await claim(hub))["claim"]
    assert ("s1", "edge-door") in rights(hub).edges
    assert await hub.ok("DELETE", "/v1/edges/edge-door/credentials") == {"edge": "edge-door", "revoked": 1}
    assert rights(hub).edges == [("s1", "e1")], "e1 was enrolled by hand and has its rights still"
    assert word((await renewed(hub, present, key))[0]) == (410, "revoked")
    assert word((await trade(hub, pending))[0]) == (410, "claim_expired")
    await claim(hub)
    assert ("s1", "edge-door") in rights(hub).edges
    assert word(await hub.call("DELETE", "/v1/edges/nobody/credentials")) == (404, "not_found")


async def test_revocation_outlives_the_certificate_and_no_longer(hub):
    await enrolled(hub)
    await hub.ok("DELETE", "/v1/edges/edge-door/credentials")
    assert len(rights(hub).revoked) == 1
    hub.clock.advance(EDGE_DAYS * DAY_MS)
    assert rights(hub).revoked == []
    assert rights(hub).edges == [("s1", "e1")]


async def test_everyone_who_must_hear_of_a_change_does(hub):
    with hub.stream.watch() as watch:
        await enrolled(hub)
        await hub.ok("DELETE", "/v1/edges/edge-door/credentials")
        heard = [await anext(aiter(watch)) for _ in range(3)]
    assert [note["state"] for note in heard] == ["claimable", "enrolled", "withdrawn"]
    assert len(hub.changes) == 3


async def test_a_hub_without_a_ca_says_so(api):
    await api.furnish()
    reply = await api.call("POST", "/v1/edges", {"edge": "edge-x", "store": "s1"})
    assert word(reply) == (409, "no_authority")
    assert "hub ca init" in reply.json()["detail"]

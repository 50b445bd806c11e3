"""`/v1/edges` claims and certificates, `/v1/ca`: how an edge comes by its own credentials."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from hub.api.deps import AppContext as Hub
from hub.api.deps import Ctx, Enrolling, Staff, read, shown, write
from hub.api.problems import Problem
from hub.core.authority import MAX_CSR_CHARS, SERIAL_BYTES, read_request
from hub.core.enrolment_records import EdgeCertificate
from hub.core.grants import Denied
from hub.usecases import claims
from hub.usecases.catalogue import EdgeSaid
from wire.errors import BadRequest
from wire.messages import Level

router = APIRouter()

EdgeId = Annotated[Level, Path(description="id of the edge")]
Csr = Annotated[str, Field(max_length=MAX_CSR_CHARS, description="certificate request, PEM: P-256, subject CN=<edge>")]
_LISTED = 1_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClaimRequest(_Body):
    """An edge to be enrolled, and where it will stand."""

    edge: Level
    store: Level
    zone: Annotated[Level | None, Field(description="null: in no zone")] = None
    till: Annotated[bool, Field(description="redeems when the hub cannot be reached")] = False
    valid_s: Annotated[int, Field(ge=60, le=claims.MAX_CLAIM_MS // 1000, description="life of the claim, s")] = (
        claims.CLAIM_MS // 1000
    )


class ClaimAnswer(BaseModel):
    """The claim, shown this once. `ca_fingerprint`: SHA-256 of the hub's CA, for `edge enrol --ca-fingerprint`."""

    edge: str
    store: str
    zone: str | None
    claim: str
    expires_at_ms: int
    ca_fingerprint: str


class TradeRequest(_Body):
    """A claim, and what is to be certified."""

    claim: Annotated[str, Field(max_length=200)]
    csr: Csr


class RenewRequest(_Body):
    """The present certificate's serial, what is to be certified, and the proof that the asker holds its key."""

    serial: Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
    csr: Csr
    signature: Annotated[
        str,
        Field(
            max_length=200,
            description="base64 of the DER signature (ECDSA, SHA-256) with the present key over "
            "`doorchime renewal v1`, the edge and the csr, joined by line feeds",
        ),
    ]


class Credentials(BaseModel):
    """All that an edge needs to speak to the broker, but for its key, which never left it."""

    edge: str
    store: str
    certificate: str
    ca: str
    not_after_ms: int
    broker_url: str
    prefixes: list[str]


def _enrolling(ctx: Hub) -> Enrolling:
    if ctx.enrolling is None:
        raise Problem(
            "no_authority", "This hub cannot enrol: it needs a CA (`doorchime hub ca init`) and `edge_broker_url`."
        )
    return ctx.enrolling


def _answer(ctx: Hub, row: EdgeCertificate) -> dict[str, Any]:
    known = _enrolling(ctx)
    return {
        "edge": row.edge, "store": row.store, "certificate": row.certificate, "ca": known.authority.pem,
        "not_after_ms": row.not_after_ms, "broker_url": known.broker_url, "prefixes": list(known.prefixes),
    }  # fmt: skip


def _tell(ctx: Hub, edge: str, store: str, state: str) -> None:
    ctx.notify({"type": "edge", "edge": edge, "store": store, "state": state})
    if ctx.enrolling is not None:
        ctx.enrolling.changed()


@router.get("/v1/ca", tags=["edge"])
async def authority(ctx: Ctx) -> dict[str, str]:
    """The certificate of the hub's CA. Public: whoever wants to trust it compares the fingerprint."""
    known = _enrolling(ctx).authority
    return {"certificate": known.pem, "fingerprint": known.fingerprint}


@router.post("/v1/edges", status_code=201, response_model=ClaimAnswer, tags=["staff"])
async def claim(asked: ClaimRequest, ctx: Ctx, key: Staff) -> dict[str, Any]:
    """Enrol or move an edge and give a one-time claim for its credentials.

    Asked again, it gives a fresh claim and ends the one before. Certificates that the edge has stay valid until the
    claim is used.
    """
    known = _enrolling(ctx)
    said = EdgeSaid(asked.store, asked.zone, asked.till)
    secret, tenant, at_ms = ctx.random_bytes(claims.SECRET_BYTES), ctx.rules.tenant, ctx.clock.now_ms()
    wanted = claims.WantedClaim(asked.edge, said, key.key, asked.valid_s * 1000)
    made = await write(ctx, lambda tx: claims.make_claim(tx, tenant, wanted, secret, at_ms, ctx.new_id))
    assert not isinstance(made, Denied)  # `write` raised it
    _tell(ctx, made.edge.edge, made.edge.store, "claimable")
    return {
        "edge": made.edge.edge, "store": made.edge.store, "zone": made.edge.zone, "claim": made.text,
        "expires_at_ms": made.expires_at_ms, "ca_fingerprint": known.authority.fingerprint,
    }  # fmt: skip


@router.post("/v1/edges/claim", status_code=201, response_model=Credentials, tags=["edge"])
async def trade(asked: TradeRequest, ctx: Ctx) -> dict[str, Any]:
    """Trade a claim for a certificate, once. The claim is the permission: no key is needed.

    Certificates that the edge had before are revoked.
    """
    known, tenant = _enrolling(ctx), ctx.rules.tenant
    if await read(ctx, lambda tx: claims.find_claim(tx, tenant, asked.claim)) is None:
        # before anything is computed or queued: this door is open to everybody
        raise Problem("unknown_claim", "No such claim: check that it was copied whole, or make another.")
    request, serial = read_request(asked.csr), ctx.random_bytes(SERIAL_BYTES)
    row = await write(
        ctx,
        lambda tx: claims.use_claim(tx, tenant, asked.claim, request, known.authority, serial, ctx.clock.now_ms()),
    )
    assert not isinstance(row, Denied)
    _tell(ctx, row.edge, row.store, "enrolled")
    return _answer(ctx, row)


@router.post("/v1/edges/{edge}/credentials", status_code=201, response_model=Credentials, tags=["edge"])
async def renew(edge: EdgeId, asked: RenewRequest, ctx: Ctx) -> dict[str, Any]:
    """The next certificate for an edge that proves it holds the present one. The same request may be repeated."""
    known, tenant = _enrolling(ctx), ctx.rules.tenant
    try:
        signature = base64.b64decode(asked.signature, validate=True)
    except ValueError:
        raise BadRequest("signature: no base64") from None
    if not await read(ctx, lambda tx: tx.get(EdgeCertificate, [(tenant, asked.serial)])):
        raise Problem("unauthorised", "No such certificate of this edge: enrol it again.")
    request, serial = read_request(asked.csr), ctx.random_bytes(SERIAL_BYTES)
    renewal = claims.Renewal(edge, asked.serial, asked.csr, signature)
    row = await write(
        ctx, lambda tx: claims.renew(tx, tenant, renewal, request, known.authority, serial, ctx.clock.now_ms())
    )
    assert not isinstance(row, Denied)
    _tell(ctx, row.edge, row.store, "renewed")
    return _answer(ctx, row)


@router.get("/v1/edges/{edge}/credentials", tags=["staff"])
async def listed(edge: EdgeId, ctx: Ctx, _: Staff) -> dict[str, Any]:
    """Certificates of an edge, past ones too, without the certificates themselves."""
    where = {"tenant": ctx.rules.tenant, "edge": edge}
    rows = await read(ctx, lambda tx: tx.find(EdgeCertificate, where, limit=_LISTED))
    rows = sorted(rows, key=lambda row: (row.not_after_ms, row.serial))
    hidden = ("certificate", "public_key")
    return {"items": [{n: v for n, v in shown(row).items() if n not in hidden} for row in rows], "next": None}


@router.delete("/v1/edges/{edge}/credentials", tags=["staff"])
async def withdraw(edge: EdgeId, ctx: Ctx, _: Staff) -> dict[str, Any]:
    """Revoke every certificate of an edge and end its claims: it was stolen, or is no longer needed.

    The broker must learn of it: see `broker_dir`.
    """
    tenant = ctx.rules.tenant
    revoked = await write(ctx, lambda tx: claims.withdraw(tx, tenant, edge, ctx.clock.now_ms()))
    _tell(ctx, edge, "", "withdrawn")
    return {"edge": edge, "revoked": revoked}

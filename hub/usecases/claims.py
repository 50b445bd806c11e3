"""An edge comes by its certificate: a claim by staff, traded once; renewed with the one before; revoked for good."""

import base64
import hashlib
import hmac
import re
from dataclasses import replace
from typing import NamedTuple, TypeVar

from hub.core.authority import Authority, Issued, Request, signed_by
from hub.core.enrolment_records import EdgeCertificate, EdgeClaim
from hub.core.grants import Denied
from hub.core.model import Edge
from hub.ports import NewId, Tx
from hub.usecases.catalogue import EdgeSaid, put_edge
from wire.enrolment import renewal_text

T = TypeVar("T")

CLAIM_MS = 900_000
"""Life of a claim, ms: the way from the office to the ladder."""

MAX_CLAIM_MS = 7 * 86_400_000
"""Longest life that may be asked for, ms: a Pi that is sent by post."""

SECRET_BYTES = 24
"""Random bytes of a claim: 192 bits, so its plain SHA-256 cannot be searched."""

_PAGE = 1_000
_CLAIM = re.compile(r"dce_([a-z0-9-]{1,64})_([a-z0-9]{1,64})_([a-z2-7]{39})\Z")


class WantedClaim(NamedTuple):
    """An edge, where it will stand, the staff key that asks, and for how long the claim shall hold, ms."""

    edge: str
    said: EdgeSaid
    made_by: str
    life_ms: int = CLAIM_MS


class MadeClaim(NamedTuple):
    """The edge, and the text of its claim, which is in the answer this once and nowhere else."""

    edge: Edge
    text: str
    expires_at_ms: int


def make_claim(
    tx: Tx, tenant: str, wanted: WantedClaim, secret: bytes, at_ms: int, new_id: NewId
) -> MadeClaim | Denied:
    """Enrol or move the edge, and give a claim for it. A claim made before and not used ends."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a claim has {SECRET_BYTES} random bytes")
    edge, store = wanted.edge, wanted.said.store
    row = put_edge(tx, tenant, edge, wanted.said, at_ms)
    if isinstance(row, Denied):
        return row
    _end_claims(tx, tenant, edge, at_ms)
    claim = new_id()
    until_ms = at_ms + wanted.life_ms
    tx.insert([EdgeClaim(tenant, claim, edge, store, _digest(secret), wanted.made_by, at_ms, until_ms, None)])
    # An edge's id has no `_`: the text says which edge it is for.
    text = f"dce_{edge}_{claim}_{base64.b32encode(secret).decode().rstrip('=').lower()}"
    return MadeClaim(row, text, until_ms)


def use_claim(
    tx: Tx, tenant: str, text: str, request: Request, authority: Authority, serial: bytes, at_ms: int
) -> EdgeCertificate | Denied:
    """Trade a claim for a certificate. However many ask at once, one gets it; every earlier certificate is revoked."""
    claim = find_claim(tx, tenant, text)
    if claim is None:
        return Denied("unknown_claim", "No such claim: check that it was copied whole, or make another.")
    if request.name != claim.edge:
        return Denied("wrong_name", f"This claim is for edge {claim.edge}: the CN of the request must be that.")
    if claim.used_at_ms is not None:
        return _used()
    if at_ms >= claim.expires_at_ms:
        return Denied("claim_expired", "This claim has run out: make another with POST /v1/edges.")
    if not _stands(tx, tenant, claim.edge, claim.store):
        return Denied("claim_expired", f"Edge {claim.edge} was moved since: make another claim with POST /v1/edges.")
    if not tx.swap(EdgeClaim, (tenant, claim.claim), {"used_at_ms": None}, {"used_at_ms": at_ms}):
        return _used()
    _revoke(tx, live_certificates(tx, tenant, claim.edge, at_ms), "replaced", at_ms)
    return _keep(tx, tenant, claim.edge, claim.store, "", authority.issue_edge(request, serial, at_ms))


class Renewal(NamedTuple):
    """What an edge asks with: the serial it has, its request (PEM), its signature of `renewal_text` (DER)."""

    edge: str
    serial: str
    csr: str
    signature: bytes


def renew(
    tx: Tx, tenant: str, asked: Renewal, request: Request, authority: Authority, serial: bytes, at_ms: int
) -> EdgeCertificate | Denied:
    """The next certificate for who holds the key of the present one. The same request again gets the same answer.

    The present one stays valid, in case the answer is lost. Every other one of the edge is revoked: who stole a
    certificate and renews it puts the edge out, which is seen.
    """
    found = tx.get(EdgeCertificate, [(tenant, asked.serial)])
    if not found or found[0].edge != asked.edge:
        return Denied("unauthorised", "No such certificate of this edge: enrol it again.")
    present = found[0]
    if not signed_by(present.public_key, renewal_text(asked.edge, asked.csr), asked.signature):
        return Denied("unauthorised", "Not signed with the key of the present certificate.")
    if present.revoked_at_ms is not None or not _stands(tx, tenant, present.edge, present.store):
        return Denied("revoked", "This certificate has been revoked, or the edge was moved: enrol it again.")
    if at_ms >= present.not_after_ms:
        return Denied("expired", "This certificate has expired: enrol the edge again.")
    if request.name != present.edge:
        return Denied("wrong_name", f"The CN of the request must be {present.edge}.")
    others = [row for row in live_certificates(tx, tenant, present.edge, at_ms) if row.serial != present.serial]
    for row in others:
        if (row.renews, row.public_key) == (present.serial, request.public_key):
            return row
    if request.public_key == present.public_key:
        return Denied("invalid", "csr: make a new key; a renewal with the old one renews nothing.")
    _revoke(tx, others, "superseded", at_ms)
    issued = authority.issue_edge(request, serial, at_ms)
    return _keep(tx, tenant, present.edge, present.store, present.serial, issued)


def withdraw(tx: Tx, tenant: str, edge: str, at_ms: int) -> int | Denied:
    """Revoke every certificate of the edge and end its claims; how many certificates there were."""
    if not tx.get(Edge, [(tenant, edge)]):
        return Denied("not_found", f"There is no edge {edge}.")
    _end_claims(tx, tenant, edge, at_ms)
    rows = live_certificates(tx, tenant, edge, at_ms)
    _revoke(tx, rows, "withdrawn", at_ms)
    return len(rows)


def find_claim(tx: Tx, tenant: str, text: str) -> EdgeClaim | None:
    """The claim of this text, whatever its state. A wrong secret takes as long as a right one."""
    parts = _CLAIM.match(text)
    if parts is None:
        return None
    edge, claim, encoded = parts.groups()
    secret = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8))
    found = tx.get(EdgeClaim, [(tenant, claim)])
    if not found or found[0].edge != edge or not hmac.compare_digest(found[0].secret_sha256, _digest(secret)):
        return None
    return found[0]


def live_certificates(tx: Tx, tenant: str, edge: str, at_ms: int) -> list[EdgeCertificate]:
    """Certificates of the edge that are neither revoked nor expired."""
    rows = tx.find(EdgeCertificate, {"tenant": tenant, "edge": edge, "revoked_at_ms": None}, limit=_PAGE)
    return [row for row in rows if row.not_after_ms > at_ms]


class Rights(NamedTuple):
    """What the broker must know: (store, edge) of who may speak; (serial, since Unix ms) of what is revoked."""

    edges: list[tuple[str, str]]
    revoked: list[tuple[str, int]]


def broker_rights(tx: Tx, tenant: str, at_ms: int) -> Rights:
    """The rights as they are now.

    An edge of ours may speak unless it had certificates or claims, and none of them is good any more: so its rights
    are on the broker before it is enrolled, and gone when it is withdrawn.
    """
    known: set[str] = set()
    good: set[str] = set()
    revoked = []
    for row in _every(tx, EdgeCertificate, tenant, "serial"):
        known.add(row.edge)
        if row.revoked_at_ms is None and row.not_after_ms > at_ms:
            good.add(row.edge)
        elif row.revoked_at_ms is not None and row.not_after_ms > at_ms:
            revoked.append((row.serial, row.revoked_at_ms))
    for claim in _every(tx, EdgeClaim, tenant, "claim"):
        known.add(claim.edge)
        if claim.used_at_ms is None and claim.expires_at_ms > at_ms:
            good.add(claim.edge)
    rows = _every(tx, Edge, tenant, "edge")
    ours = [
        (row.store, row.edge) for row in rows if row.source_kind is None and (row.edge not in known or row.edge in good)
    ]
    return Rights(sorted(ours), sorted(revoked))


def _every(tx: Tx, kind: type[T], tenant: str, key: str) -> list[T]:
    rows: list[T] = []
    while True:
        after = (tenant, getattr(rows[-1], key)) if rows else None
        page = tx.find(kind, {"tenant": tenant}, after=after, limit=_PAGE)
        rows += page
        if len(page) < _PAGE:
            return rows


def _stands(tx: Tx, tenant: str, edge: str, store: str) -> bool:
    """Whether that is still an edge of ours in that store."""
    found = tx.get(Edge, [(tenant, edge)])
    return bool(found) and found[0].store == store and found[0].source_kind is None


def _keep(tx: Tx, tenant: str, edge: str, store: str, renews: str, issued: Issued) -> EdgeCertificate:
    row = EdgeCertificate(
        tenant, issued.serial, edge, store, issued.public_key, issued.pem, renews,
        issued.not_before_ms, issued.not_after_ms, None, "",
    )  # fmt: skip
    tx.insert([row])
    return row


def _revoke(tx: Tx, rows: list[EdgeCertificate], why: str, at_ms: int) -> None:
    tx.put([replace(row, revoked_at_ms=at_ms, revoked_why=why) for row in rows])


def _end_claims(tx: Tx, tenant: str, edge: str, at_ms: int) -> None:
    rows = tx.find(EdgeClaim, {"tenant": tenant, "edge": edge, "used_at_ms": None}, limit=_PAGE)
    tx.put([replace(row, expires_at_ms=at_ms) for row in rows if row.expires_at_ms > at_ms])


def _used() -> Denied:
    return Denied("claim_used", "This claim has been used. If that was not you, withdraw the edge and make another.")


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()

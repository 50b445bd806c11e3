"""The records of enrolment: who may still become an edge, and with which certificates edges speak.

See `hub.core.model` for the rules that hold for all records.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EdgeClaim:
    """A one-time right to become this edge. Of its secret only the SHA-256 is kept."""

    tenant: str
    claim: str
    edge: str
    store: str
    secret_sha256: str
    made_by: str  # id of the staff key
    created_at_ms: int
    expires_at_ms: int
    used_at_ms: int | None


@dataclass(frozen=True, slots=True)
class EdgeCertificate:
    """A client certificate of an edge; valid until it expires or is revoked. `serial` and `public_key` are hexadecimal.

    `renews` is the serial of the certificate whose holder asked for this one; empty: it came from a claim.
    """

    tenant: str
    serial: str
    edge: str
    store: str
    public_key: str
    certificate: str  # PEM
    renews: str
    not_before_ms: int
    not_after_ms: int
    revoked_at_ms: int | None
    revoked_why: str  # "" | replaced | superseded | withdrawn

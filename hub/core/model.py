"""The records the hub keeps: one frozen class per table, fields = columns, in column order.

Every record belongs to a `tenant`. Ids are lower-case ULIDs or names that match `[a-z0-9-]+`. Instants are Unix
milliseconds (`_at_ms`), money is integer minor units with an ISO 4217 currency, shares are basis points. Fields typed
as dict or list are stored as JSON. `hub/stores/schema.py` names each table's key, indexes, retention and erasure.
"""

from dataclasses import dataclass, field
from typing import Any

from hub.core.enrolment_records import EdgeCertificate, EdgeClaim
from hub.core.foreign_records import ForeignAccount, ForeignTrack


@dataclass(frozen=True, slots=True)
class Shop:
    """One store of the retailer."""

    tenant: str
    store: str
    name: str
    tz: str  # IANA, e.g. Europe/Vienna
    locale: str  # BCP 47, e.g. de-AT
    currency: str  # ISO 4217
    version: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a store; `kind` is a `hub.core.states.ZoneKind`."""

    tenant: str
    store: str
    zone: str
    name: str
    kind: str
    version: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class Edge:
    """An enrolled edge. Ids are unique in the deployment. `status` is never | online | offline.

    A listener of another make has `source_kind` (see `hub.core.foreign`) and `source_node`, its name in its topics;
    both are null for an edge of ours. `boots` are the starts of its agent heard of, see `hub.core.boots`;
    `cloned_at_ms` is when two devices were last found to use this id, within `hub.core.boots.TOLD_MS`.
    """

    tenant: str
    edge: str
    store: str
    zone: str | None
    till: bool
    status: str
    status_boot: str
    status_at_ms: int
    version: int
    updated_at_ms: int
    source_kind: str | None = None
    source_node: str | None = None
    boots: list[Any] = field(default_factory=list)
    cloned_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeBoot:
    """Watermark, clock and exact accounts of one boot of an edge.

    Every sequence number up to `upto` is in exactly one of committed, consent_refused, identity_refused,
    quarantined, lost. `duplicates` counts deliveries beyond the first. `offset_ms` turns boot-clock ms into Unix ms.
    """

    tenant: str
    edge: str
    boot: str
    upto: int
    offset_ms: int | None
    offset_error_ms: int
    offset_source: str  # synced | receipt | unknown
    offset_bound_ms: int | None  # smallest (received − sent_mono) seen: the true offset cannot be larger
    committed: int
    consent_refused: int
    identity_refused: int
    quarantined: int
    lost: int
    duplicates: int
    unknown_fields: int
    first_at_ms: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A person, as far as they told us. `state` is active | merged | erased."""

    tenant: str
    profile: str
    state: str
    merged_into: str | None
    tz: str
    locale: str
    created_at_ms: int
    seen_at_ms: int


@dataclass(frozen=True, slots=True)
class Identity:
    """One identifier of a person, as the HMAC of its value. `trust` 0…100 ranks namespaces when they disagree."""

    tenant: str
    namespace: str  # beacon | app_install | loyalty_id | email_sha256 | pos_customer
    value_hash: str
    profile: str
    trust: int
    source: str
    valid_from_ms: int
    valid_to_ms: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """Where a push goes. `os_permission` is not consent: both are needed."""

    tenant: str
    device: str
    profile: str
    channel: str
    address: str
    os_permission: bool
    created_at_ms: int
    dead_at_ms: int | None


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One line of the append-only ledger. `action` is given | denied | withdrawn."""

    tenant: str
    event: str
    profile: str
    purpose: str
    action: str
    notice: str  # id and version of the text shown
    notice_sha256: str
    method: str  # app_screen | qr_signup | pos | paper | import; erasure: ended by it, without a notice
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Consent:
    """Current state per purpose: a projection of the ledger, never edited by hand."""

    tenant: str
    profile: str
    purpose: str
    given: bool
    event: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One immutable version of an offer; `body` is `hub.core.offers.OfferBody` as plain data.

    `state` is draft | live | paused | ended. The current version is the one with `superseded_at_ms` null.
    """

    tenant: str
    offer: str
    version: int
    state: str
    body: dict[str, Any]
    created_at_ms: int
    superseded_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one person in one store, whatever the path they were noticed by.

    `edges` maps edge → [state, level_dbm, last_at_ms], state in | out | unknown. `fired` lists `offer` ids whose
    trigger has already been decided in this visit. `zone` is where the person is thought to be; `rival` a zone that
    has been stronger since `rival_since_ms`. `deadline_ms` is when the hub must look at an open visit again.
    """

    tenant: str
    visit: str
    profile: str
    store: str
    state: str
    entered_at_ms: int
    entered_error_ms: int
    seen_at_ms: int
    left_at_ms: int | None
    deadline_ms: int | None
    zone: str | None
    zone_since_ms: int | None
    rival: str | None
    rival_since_ms: int | None
    edges: dict[str, Any]
    fired: list[str]
    pushes: int
    opened_by: str  # "edge/boot/seq" of the event that opened it


@dataclass(frozen=True, slots=True)
class ZoneStay:
    """A finished or running stay in a zone within a visit; `left_at_ms` null while running."""

    tenant: str
    visit: str
    entered_at_ms: int
    zone: str
    left_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Why somebody got, or did not get, an offer.

    `candidates` holds `[offer, version, reason, score]` each; reason null = passed every gate, else the first that
    failed. `propensity` is the probability with which the policy chose what it chose, in (0, 1].
    """

    tenant: str
    decision: str
    trigger: str  # what caused it, unique: "visit/kind/…"
    profile: str
    store: str
    visit: str
    policy: str
    chosen: str | None
    grant: str | None
    propensity: float
    candidates: list[Any]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """An offer promised to one person: a copy of the curve, so that editing the offer changes no promise.

    The value at `t` is `value_bp(curve, t − issued_at_ms)`. `lock_at_ms` (t_lock) and `lock_bp` are set together, at
    arrival or at redemption; a lock holds until `hold_until_ms`.
    """

    tenant: str
    grant: str
    offer: str
    offer_version: int
    profile: str
    store: str  # where it can be redeemed
    visit: str
    decision: str
    state: str
    curve: dict[str, Any]
    currency: str
    min_basket_minor: int
    max_discount_minor: int
    issued_at_ms: int
    expires_at_ms: int
    lock_at_ms: int | None
    lock_bp: int | None
    hold_until_ms: int | None
    due_at_ms: int | None  # when the hub must expire it; null once closed
    code_hash: str


@dataclass(frozen=True, slots=True)
class Push:
    """One message to one device. `body` is a `wire.messages.Push` as plain data, emptied once it is settled."""

    tenant: str
    push: str
    grant: str
    profile: str
    device: str
    channel: str
    address: str
    state: str
    reason: str
    attempts: int
    due_at_ms: int | None  # when a worker may take it (or its lease runs out); null once settled
    expires_at_ms: int
    created_at_ms: int
    settled_at_ms: int | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Redemption:
    """A grant used at a till. Unique per grant while `state` is done; reversed frees nothing, it records."""

    tenant: str
    redemption: str
    grant: str
    profile: str
    store: str
    pos: str
    state: str  # done | reversed
    basket_minor: int
    currency: str
    value_bp: int
    discount_minor: int
    t_lock_ms: int
    at_ms: int
    reversed_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A message or event that could not be used. Personal data: 24 h, capped. `fault` is theirs | ours."""

    tenant: str
    quarantine: str
    edge: str
    boot: str
    seq: int
    fault: str
    reason: str
    body: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A range of events that an edge had to drop, or that the hub found missing; counts −1 = not known."""

    tenant: str
    edge: str
    boot: str
    first_seq: int
    seq: int
    samples: int
    enters: int
    exits: int
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A scoped key, hashed. `profile` and `device` are set on keys that speak for one phone."""

    tenant: str
    key: str
    scope: str  # app | pos | staff | edge | intake
    secret_sha256: str
    label: str
    profile: str | None
    device: str | None
    store: str | None
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What an `Idempotency-Key` was answered with, so that a repeat gets the same."""

    tenant: str
    caller: str
    idempotency: str
    request_sha256: str
    status: int
    body: dict[str, Any]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Which secret the identifiers of a tenant are hashed with: its fingerprint, never the secret.

    `proved_at_ms` is when a commit was last shown to work after the store had refused some.
    """

    tenant: str
    fingerprint: str
    made_at_ms: int
    proved_at_ms: int


RECORDS: tuple[type, ...] = (
    Shop, Zone, Edge, EdgeBoot, Profile, Identity, Device, ConsentEvent, Consent, Offer, Visit, ZoneStay,
    Decision, Grant, Push, Redemption, Quarantine, Loss, ApiKey, Reply, ForeignAccount, ForeignTrack,
    EdgeClaim, EdgeCertificate, Seal,
)  # fmt: skip

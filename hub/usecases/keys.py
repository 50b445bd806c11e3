"""API keys: made once, shown once, kept as hashes, revoked for good."""

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import NamedTuple

from hub.core.model import ApiKey
from hub.ports import NewId, Tx
from wire.errors import BadRequest

SCOPES = ("app", "pos", "staff", "edge", "intake")
"""What a key may be for. A key has one scope."""

SECRET_BYTES = 32
"""Length of a key's secret: 256 random bits, so its plain SHA-256 cannot be searched."""


class KeyFor(NamedTuple):
    """Whom a key is for: `profile` and `device` on a phone's own key, `store` on a till's."""

    scope: str
    label: str
    store: str | None = None
    profile: str | None = None
    device: str | None = None


class MadeKey(NamedTuple):
    """A key's id, and its whole text, which is in the answer this once and nowhere else."""

    key: str
    text: str


def create_key(tx: Tx, tenant: str, wanted: KeyFor, secret: bytes, at_ms: int, new_id: NewId) -> MadeKey:
    """Make a key with 32 random bytes.

    Raises:
        BadRequest: no such scope, or an empty or overlong label.
    """
    if wanted.scope not in SCOPES:
        raise BadRequest(f"scope {wanted.scope[:40]!r} does not exist; choose one of {', '.join(SCOPES)}")
    if not 1 <= len(wanted.label) <= 200:
        raise BadRequest("a key needs a label of 1 to 200 characters that says who uses it")
    key = new_id()
    row = ApiKey(
        tenant=tenant,
        key=key,
        secret_sha256=_digest(secret),
        created_at_ms=at_ms,
        expires_at_ms=None,
        revoked_at_ms=None,
        **wanted._asdict(),
    )
    tx.insert([row])
    return MadeKey(key, _text(key, secret))


def renew_key(tx: Tx, tenant: str, key: str, secret: bytes) -> MadeKey | None:
    """Give an active key a new secret; the old one stops working. None when there is no such key."""
    found = tx.get(ApiKey, [(tenant, key)])
    if not found or found[0].revoked_at_ms is not None:
        return None
    tx.put([replace(found[0], secret_sha256=_digest(secret))])
    return MadeKey(key, _text(key, secret))


def find_key(tx: Tx, tenant: str, text: str, at_ms: int) -> ApiKey | None:
    """The active key with this text `dc_<id>_<secret>`, or None. A wrong secret takes as long as a right one."""
    kind, _, rest = text.partition("_")
    key, _, secret_text = rest.partition("_")
    if kind != "dc" or len(key) > 64 or len(secret_text) != 43:
        return None
    try:
        secret = base64.b64decode(secret_text + "=", altchars=b"-_", validate=True)
    except ValueError:
        return None
    found = tx.get(ApiKey, [(tenant, key)])
    if not found or not hmac.compare_digest(found[0].secret_sha256, _digest(secret)):
        return None
    row = found[0]
    ended = row.revoked_at_ms is not None or (row.expires_at_ms is not None and row.expires_at_ms <= at_ms)
    return None if ended else row


def revoke_key(tx: Tx, tenant: str, key: str, at_ms: int) -> bool:
    """Refuse a key from now on; False when there is no such active key."""
    return tx.swap(ApiKey, (tenant, key), {"revoked_at_ms": None}, {"revoked_at_ms": at_ms})


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _text(key: str, secret: bytes) -> str:
    return f"dc_{key}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"

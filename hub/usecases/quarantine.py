"""What is set aside is personal data too: it can name the beacon of somebody who asks to be forgotten."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hub.core.identity import BEACON, beacon_value, identity_hash
from hub.core.model import Identity, Quarantine
from hub.ports import Tx
from hub.usecases.arrivals import MANY
from wire.messages import BeaconKey, Presence, PresenceEvent

PAGE_ROWS = 200
"""Rows looked at together: a whole message takes up to 64 KiB, so 13 MB at most."""

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


def forget(tx: Tx, tenant: str, hmac_key: bytes, profile: str) -> int:
    """Take a person out of the quarantine, while their identities are still known; rows changed or removed.

    A whole message of ours loses their events, and can still be replayed for everybody else. Of what could not be
    read nobody can say for sure whose it is: any of it that holds a UUID loses its body. Why it was refused stays.
    """
    mine = tx.find(Identity, {"tenant": tenant, "profile": profile, "namespace": BEACON}, limit=MANY)
    hashes = {row.value_hash for row in mine}
    if not hashes:
        return 0
    known: dict[BeaconKey, bool] = {}

    def about_them(event: Any) -> bool:
        if not isinstance(event, PresenceEvent):
            return False
        beacon = event.beacon
        if beacon not in known:
            known[beacon] = identity_hash(hmac_key, BEACON, beacon_value(beacon)) in hashes
        return known[beacon]

    count = 0
    for rows in _pages(tx, tenant):
        changed, gone = [], []
        for row in rows:
            message = _whole(row)
            if message is None:
                changed += [replace(row, body="")] if _UUID.search(row.body) else []
                continue
            kept = [event for event in message.events if not about_them(event)]
            if not any(isinstance(event, PresenceEvent) for event in kept):
                gone.append(row)
            elif len(kept) < len(message.events):
                changed.append(replace(row, body=message.model_copy(update={"events": kept}).model_dump_json()))
        tx.put(changed)
        tx.delete(Quarantine, [(row.tenant, row.quarantine) for row in gone])
        count += len(changed) + len(gone)
    return count


def _pages(tx: Tx, tenant: str) -> Iterator[list[Quarantine]]:
    after = None
    while rows := tx.find(Quarantine, {"tenant": tenant}, after=after, limit=PAGE_ROWS):
        after = (tenant, rows[-1].quarantine)
        yield rows


def _whole(row: Quarantine) -> Presence | None:
    """The message that a row of ours holds; None when it holds none that can be read."""
    if row.fault != "ours":
        return None
    try:
        return Presence.model_validate_json(row.body)
    except ValueError:
        return None

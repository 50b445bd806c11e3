"""The records of foreign edges; see `hub.core.model` for what holds of every record."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ForeignAccount:
    """What became of every report of a foreign edge that reached the hub.

    `received` is the sum of committed, consent_refused, identity_refused and lost (taken, and given up by the hub).
    Such a node numbers nothing, so nobody can tell what never arrived. `at_source` is hub: reports carry no time and
    are dated on receipt.
    """

    tenant: str
    edge: str
    received: int
    committed: int
    consent_refused: int
    identity_refused: int
    lost: int
    at_source: str
    first_at_ms: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class ForeignTrack:
    """How one foreign edge hears one person, while it does: what `hub.core.foreign` decides enter and exit from.

    `recent` holds the last reports `[at_ms, rssi_dbm]`, `gaps` the pauses between reports, ms. `due_ms` is when the
    hub must look again.
    """

    tenant: str
    edge: str
    profile: str
    present: bool
    recent: list[Any]
    gaps: list[Any]
    weak_since_ms: int | None
    heard_at_ms: int
    due_ms: int

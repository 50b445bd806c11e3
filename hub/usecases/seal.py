"""Which secret the people of a database are hashed with: with another one everybody would be a stranger."""

from dataclasses import replace

from hub.core.model import Seal
from hub.ports import Tx


def fits(tx: Tx, tenant: str, fingerprint: str, at_ms: int) -> bool:
    """Whether this secret is the database's own; the first one that is ever used with it becomes that."""
    found = tx.get(Seal, [(tenant,)])
    if not found:
        tx.put([Seal(tenant, fingerprint, at_ms, at_ms)])
        return True
    return found[0].fingerprint == fingerprint


def prove(tx: Tx, tenant: str, at_ms: int) -> None:
    """Write something, so that the commit shows whether the store takes writes again."""
    tx.put([replace(row, proved_at_ms=at_ms) for row in tx.get(Seal, [(tenant,)])])

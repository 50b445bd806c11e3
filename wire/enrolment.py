"""What an edge signs to renew its certificate, spelled once for both ends."""

RENEWAL_LABEL = b"doorchime renewal v1\n"
"""Begins what is signed: that signature can mean nothing else."""


def renewal_text(edge: str, csr: str) -> bytes:
    """What the key of the present certificate signs (ECDSA, SHA-256): label, edge and request (PEM)."""
    return RENEWAL_LABEL + f"{edge}\n{csr}".encode()

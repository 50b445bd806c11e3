"""One message from an edge, as the writer takes it."""

from typing import Any, NamedTuple


class Inbound(NamedTuple):
    """A payload, where it came from and when; `token` goes back to the MQTT link after the commit (PUBACK)."""

    store: str
    edge: str
    leaf: str  # presence | status | telemetry | config/ack
    payload: bytes
    received_at_ms: int
    token: Any
